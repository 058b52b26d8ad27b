//! A real SSH server in this process, whose commands run for real in a folder.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use plumb_api::frame::{self, Facts, Response};
use plumb_api::report::Retry;
use plumb_core::ports::{Hosts, Route};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, Msg, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::hosts::{Connector, Program};

/// A key that is the same each time.
pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

const HOST: u8 = 1;
const OURS: u8 = 2;

/// What the server does with commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Runs them.
    Runs,
    /// Refuses them.
    RefusesCommands,
    /// Hangs up in the middle.
    HangsUp,
}

#[derive(Clone)]
struct Sshd {
    manner: Manner,
    connections: Arc<AtomicUsize>,
    commands: Arc<AtomicUsize>,
    inputs: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
}

impl server::Handler for Sshd {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        shown: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let ours = key(OURS);
        let same = shown.public_key.key_data() == ours.public_key().key_data();
        Ok(if same && user == "root" {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        if self.manner == Manner::HangsUp {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Err(russh::Error::Disconnect);
        }
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.commands.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::RefusesCommands {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        let (input, stdin) = mpsc::unbounded_channel();
        self.inputs.insert(id, input);
        let command = String::from_utf8(command.to_vec()).unwrap();
        tokio::spawn(serve(command, stdin, session.handle(), id));
        Ok(())
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        if let Some(input) = self.inputs.get(&id) {
            let _ = input.send(data.to_vec());
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        id: ChannelId,
        _session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.inputs.remove(&id);
        Ok(())
    }
}

/// Runs a command as a server does.
async fn serve(
    command: String,
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    handle: server::Handle,
    id: ChannelId,
) {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::spawn(async move {
        while let Some(bytes) = input.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
        if handle.data(id, buffer[..count].to_vec()).await.is_err() {
            return;
        }
    }
    let mut said = Vec::new();
    let _ = stderr.read_to_end(&mut said).await;
    let _ = handle.extended_data(id, 1, said).await;
    let status = child.wait().await.unwrap().code().unwrap_or(255);
    let _ = handle.exit_status_request(id, status.unsigned_abs()).await;
    let _ = handle.eof(id).await;
    let _ = handle.close(id).await;
}

struct Stage {
    folder: TempDir,
    port: u16,
    sshd: Sshd,
}

impl Stage {
    async fn new(manner: Manner) -> Self {
        let sshd = Sshd {
            manner,
            connections: Arc::default(),
            commands: Arc::default(),
            inputs: HashMap::new(),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(server::Config {
            keys: vec![key(HOST)],
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        });
        let handler = sshd.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                handler.connections.fetch_add(1, Ordering::Relaxed);
                let running = server::run_stream(Arc::clone(&config), stream, handler.clone());
                tokio::spawn(async move {
                    if let Ok(session) = running.await {
                        let _ = session.await;
                    }
                });
            }
        });
        Self {
            folder: tempfile::tempdir().unwrap(),
            port,
            sshd,
        }
    }

    /// An agent that greets with facts, and then says no more.
    fn agent(&self) -> String {
        let answer = self.folder.path().join("answer");
        let mut bytes = Vec::new();
        let facts = Facts {
            hostname: "web1".to_owned(),
            ..Facts::default()
        };
        frame::write_message(&mut bytes, &Response::Facts(facts)).unwrap();
        std::fs::write(&answer, bytes).unwrap();
        // It answers once for each 16 bytes or so that come: enough for questions this short.
        format!(
            "#!/bin/sh\nwhile head -c 12 >/dev/null; do cat {} || exit; done\n",
            answer.display()
        )
    }

    fn settings(&self, seed: u8) -> Settings {
        let path = self.folder.path().join(format!("key{seed}"));
        let text = key(seed).to_openssh(LineEnding::LF).unwrap();
        std::fs::write(&path, text.as_bytes()).unwrap();
        Settings {
            identities: vec![Identity::KeyFile(path)],
            state_folder: self.folder.path().join("plumb").display().to_string(),
            ..Settings::default()
        }
    }

    fn target(&self, pinned: &PublicKey) -> HostTarget {
        self.target_of("root", &[pinned.to_openssh().unwrap()])
    }

    fn target_of(&self, user: &str, host_keys: &[String]) -> HostTarget {
        HostTarget {
            name: "web1".parse().unwrap(),
            arch: None,
            route: Route::Ssh {
                endpoints: vec![Endpoint {
                    address: "127.0.0.1".to_owned(),
                    port: self.port,
                    user: user.to_owned(),
                }],
                host_keys: host_keys.to_vec(),
            },
        }
    }

    fn connections(&self) -> usize {
        self.sshd.connections.load(Ordering::Relaxed)
    }

    fn commands(&self) -> usize {
        self.sshd.commands.load(Ordering::Relaxed)
    }
}

/// A connector that places this agent.
fn reaching(agent: &str, settings: Settings) -> Connector {
    let arch = std::env::consts::ARCH;
    let agents = Agents::none().embed(arch, agent.as_bytes());
    Connector::new(Program::agent("/nonexistent"), agents, settings)
}

async fn facts(connector: &Connector, target: &HostTarget) -> Result<Facts, HostError> {
    let mut session = connector.connect(target).await?;
    session.facts().await
}

#[tokio::test]
async fn an_agent_is_placed_once_and_a_warm_session_costs_nothing() {
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let target = stage.target(key(HOST).public_key());
    assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
    assert_eq!(stage.connections(), 1, "one connection, upload and all");
    assert_eq!(stage.commands(), 3, "try, upload, try");
    assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
    assert_eq!((stage.connections(), stage.commands()), (1, 3), "warm");
    let cold = reaching(&stage.agent(), stage.settings(OURS));
    assert_eq!(facts(&cold, &target).await.unwrap().hostname, "web1");
    assert_eq!(
        (stage.connections(), stage.commands()),
        (2, 4),
        "the agent is there"
    );
}

#[tokio::test]
async fn a_warm_session_ends_by_itself_and_a_dead_one_is_made_anew() {
    let stage = Stage::new(Manner::Runs).await;
    let settings = Settings {
        keep_warm: Duration::from_millis(150),
        ..stage.settings(OURS)
    };
    let connector = reaching(&stage.agent(), settings);
    let target = stage.target(key(HOST).public_key());
    facts(&connector, &target).await.unwrap();
    assert_eq!(connector.ssh.pool.len(), 1);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(connector.ssh.pool.len(), 0);
    facts(&connector, &target).await.unwrap();
    assert_eq!(stage.connections(), 2);

    // The agent dies while it is at rest.
    let settings = stage.settings(OURS);
    let brief = format!(
        "#!/bin/sh\n{}",
        stage
            .agent()
            .replace("while", "for once in 1; do")
            .replace("; do cat", "; cat")
    );
    let connector = reaching(&brief, settings);
    facts(&connector, &target).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
}

#[tokio::test]
async fn another_host_key_is_refused_and_shown() {
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target(key(9).public_key()))
        .await
        .unwrap_err();
    let shown = key(HOST)
        .public_key()
        .fingerprint(russh::keys::HashAlg::Sha256);
    assert_eq!(
        error,
        HostError::HostKeyMismatch {
            host: "web1".parse().unwrap(),
            shown: format!("ssh-ed25519 {shown} at 127.0.0.1:{}", stage.port),
        }
    );
    assert_eq!(error.retry(), Retry::Stalled);
    assert_eq!(stage.commands(), 0);
    // A pinned key of a type that the server doesn't have.
    let other = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=".to_owned();
    let error = facts(&connector, &stage.target_of("root", &[other]))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HostError::HostKeyMismatch { shown, .. } if shown.contains("ssh-ed25519")),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_pinned_is_no_connection_at_all() {
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target_of("root", &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, HostError::NoHostKey { .. }));
    assert_eq!(stage.connections(), 0);
}

#[tokio::test]
async fn a_login_that_fails_says_what_was_tried() {
    let stage = Stage::new(Manner::Runs).await;
    let target = stage.target(key(HOST).public_key());
    let connector = reaching(&stage.agent(), stage.settings(3));
    let error = facts(&connector, &target).await.unwrap_err();
    let HostError::Denied { user, reason, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(user, "root");
    assert!(
        reason.contains("key3 (SHA256:") && reason.contains("isn't taken"),
        "{reason}"
    );
    assert_eq!(error.retry(), Retry::Stalled);

    let mut settings = stage.settings(OURS);
    settings.identities = vec![
        Identity::KeyFile("/nonexistent/key".into()),
        Identity::Agent("/nonexistent/agent".into()),
    ];
    let error = facts(&reaching("x", settings), &target).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("the key file /nonexistent/key can't be read")
            && text.contains("the ssh-agent at"),
        "{text}"
    );
}

/// Made with `ssh-keygen -N secret`.
const ENCRYPTED: &str = include_str!("testdata/encrypted");

#[tokio::test]
async fn a_key_with_a_passphrase_says_what_to_do() {
    let stage = Stage::new(Manner::Runs).await;
    let mut settings = stage.settings(OURS);
    let path = stage.folder.path().join("encrypted");
    std::fs::write(&path, ENCRYPTED).unwrap();
    settings.identities = vec![Identity::KeyFile(path)];
    let target = stage.target(key(HOST).public_key());
    let error = facts(&reaching("x", settings), &target).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has a passphrase: put it into an ssh-agent"),
        "{error}"
    );
}

#[tokio::test]
async fn endpoints_are_tried_in_order_and_all_are_told() {
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let mut target = stage.target(key(HOST).public_key());
    // A port that was just free: nothing listens there.
    let closed = TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let Route::Ssh { endpoints, .. } = &mut target.route else {
        panic!();
    };
    let good = endpoints.remove(0);
    let dead = |port| Endpoint {
        port,
        ..good.clone()
    };
    *endpoints = vec![
        dead(closed),
        Endpoint {
            address: "no-such-host.invalid".to_owned(),
            ..good.clone()
        },
    ];
    let error = facts(&connector, &target).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "web1 can't be reached: 127.0.0.1:{closed}: connection refused; no-such-host.invalid:{}: the name isn't known",
            stage.port
        )
    );
    let Route::Ssh { endpoints, .. } = &mut target.route else {
        panic!();
    };
    endpoints.push(good);
    assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
}

#[tokio::test]
async fn what_answers_must_be_ssh() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching("x", stage.settings(OURS));
    let mut target = stage.target(key(HOST).public_key());
    if let Route::Ssh { endpoints, .. } = &mut target.route {
        endpoints[0].port = port;
    }
    let error = facts(&connector, &target).await.unwrap_err();
    assert!(matches!(error, HostError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_runs_nothing_or_hangs_up_is_told_apart() {
    let stage = Stage::new(Manner::RefusesCommands).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target(key(HOST).public_key()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the agent doesn't start on web1: the server runs no programs for this login"
    );
    let stage = Stage::new(Manner::HangsUp).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target(key(HOST).public_key()))
        .await
        .unwrap_err();
    assert_eq!(error.retry(), Retry::Transient);
}

#[tokio::test]
async fn an_agent_that_cannot_run_says_why() {
    let stage = Stage::new(Manner::Runs).await;
    let target = stage.target(key(HOST).public_key());
    let connector = reaching(
        "#!/bin/sh\necho no room >&2; exit 3\n",
        stage.settings(OURS),
    );
    let error = facts(&connector, &target).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the agent doesn't start on web1: it was placed and still, it ended with status 3: no room"
    );
    let connector = reaching(
        "#!/bin/sh\necho Welcome to web1; sleep 1\n",
        stage.settings(OURS),
    );
    let error = facts(&connector, &target).await.unwrap_err();
    assert!(error.to_string().contains("`Welcome to web1`"), "{error}");

    let none = Connector::new(
        Program::agent("/nonexistent"),
        Agents::none(),
        stage.settings(OURS),
    );
    let error = facts(&none, &target).await.unwrap_err();
    assert!(
        matches!(&error, HostError::NoAgent { arch, .. } if arch == std::env::consts::ARCH),
        "{error}"
    );
    let mut wrong = target;
    wrong.arch = Some("riscv64".to_owned());
    let connector = Connector::new(
        Program::agent("/nonexistent"),
        Agents::none().embed("riscv64", b"x"),
        stage.settings(OURS),
    );
    let error = facts(&connector, &wrong).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its manifest says riscv64, the machine is"),
        "{error}"
    );
}

#[tokio::test]
async fn host_keys_are_shown_without_logging_in() {
    let stage = Stage::new(Manner::Runs).await;
    let connector = reaching("x", stage.settings(3));
    let keys = connector
        .scan_host_keys("127.0.0.1", stage.port)
        .await
        .unwrap();
    let public = key(HOST).public_key().clone();
    assert_eq!(
        keys,
        [ShownKey {
            line: public.to_openssh().unwrap(),
            kind: "ssh-ed25519".to_owned(),
            fingerprint: public.fingerprint(russh::keys::HashAlg::Sha256).to_string(),
        }]
    );
    let error = connector.scan_host_keys("127.0.0.1", 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "127.0.0.1:1 shows no host key: connection refused"
    );
}
