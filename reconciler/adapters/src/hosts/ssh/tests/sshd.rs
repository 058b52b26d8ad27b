//! A real SSH server in this process, whose commands run for real in a folder.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use plumb_api::frame::{self, Facts, Response};
use plumb_core::desired::Endpoint;
use plumb_core::ports::{HostTarget, Route};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{self, Auth, Msg, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Preferred};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::hosts::{Agents, Connector, Identity, Program, Settings};

/// A key that is the same each time.
pub(in crate::hosts::ssh) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

pub(super) const HOST: u8 = 1;
pub(super) const OURS: u8 = 2;

/// What the server does with commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Runs them.
    Runs,
    /// Refuses them.
    RefusesCommands,
    /// Hangs up in the middle.
    HangsUp,
    /// Allows one session at a time, and counts the last one for a moment after its end, as OpenSSH does.
    OneSession,
    /// Allows no session.
    NoSession,
}

#[derive(Clone)]
pub(super) struct Sshd {
    manner: Manner,
    connections: Arc<AtomicUsize>,
    commands: Arc<AtomicUsize>,
    /// True while a session counts, for a server that allows one.
    session: Arc<AtomicBool>,
    inputs: HashMap<ChannelId, mpsc::UnboundedSender<Vec<u8>>>,
    /// Where its programs are looked for first: a `sudo` of the test's own.
    programs: String,
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
        Ok(if same && matches!(user, "root" | "deploy") {
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
        let busy = self.manner == Manner::OneSession && self.session.swap(true, Ordering::Relaxed);
        if busy || self.manner == Manner::NoSession {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
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
        let path = format!("{}:/usr/bin:/bin", self.programs);
        let (handle, open) = (session.handle(), Arc::clone(&self.session));
        tokio::spawn(async move {
            serve(command, path, stdin, handle, id).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            open.store(false, Ordering::Relaxed);
        });
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
    path: String,
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    handle: server::Handle,
    id: ChannelId,
) {
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &command])
        .env("PATH", path)
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

pub(super) struct Stage {
    pub(super) folder: TempDir,
    pub(super) port: u16,
    sshd: Sshd,
}

impl Stage {
    pub(super) async fn new(manner: Manner) -> Self {
        Self::offering(manner, Preferred::DEFAULT).await
    }

    /// A server that offers these algorithms alone.
    pub(super) async fn offering(manner: Manner, preferred: Preferred) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sshd = Sshd {
            manner,
            programs: folder.path().join("bin").display().to_string(),
            connections: Arc::default(),
            commands: Arc::default(),
            session: Arc::default(),
            inputs: HashMap::new(),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(server::Config {
            keys: vec![key(HOST)],
            auth_rejection_time: Duration::ZERO,
            preferred,
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
        Self { folder, port, sshd }
    }

    /// An agent that greets with facts, and then says no more.
    pub(super) fn agent(&self) -> String {
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

    pub(super) fn settings(&self, seed: u8) -> Settings {
        let path = self.folder.path().join(format!("key{seed}"));
        let text = key(seed).to_openssh(LineEnding::LF).unwrap();
        std::fs::write(&path, text.as_bytes()).unwrap();
        Settings {
            identities: vec![Identity::KeyFile(path)],
            state_folder: self.folder.path().join("plumb").display().to_string(),
            ..Settings::default()
        }
    }

    pub(super) fn target(&self, pinned: &PublicKey) -> HostTarget {
        self.target_of("root", &[pinned.to_openssh().unwrap()])
    }

    pub(super) fn target_of(&self, user: &str, host_keys: &[String]) -> HostTarget {
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

    pub(super) fn connections(&self) -> usize {
        self.sshd.connections.load(Ordering::Relaxed)
    }

    pub(super) fn commands(&self) -> usize {
        self.sshd.commands.load(Ordering::Relaxed)
    }
}

/// A connector that places this agent.
pub(super) fn reaching(agent: &str, settings: Settings) -> Connector {
    let arch = std::env::consts::ARCH;
    let agents = Agents::none().embed(arch, agent.as_bytes());
    Connector::new(Program::agent("/nonexistent"), agents, settings)
}
