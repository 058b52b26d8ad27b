//! enroll, with a real SSH server on the loopback.

use std::sync::Arc;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Config, Handler, run_stream};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::environment::{Environment, Run};

/// A machine that shows its host key and lets nobody in.
pub(super) struct Machine {
    /// Ends the server with the machine.
    _runtime: Runtime,
    pub(super) port: u16,
    /// As manifests have it.
    pub(super) key: String,
}

struct Closed;

impl Handler for Closed {
    type Error = russh::Error;
}

impl Machine {
    pub(super) fn new(seed: u8) -> Self {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]));
        let public = key.public_key().to_openssh().unwrap();
        let config = Arc::new(Config {
            keys: vec![key],
            ..Config::default()
        });
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(session) = run_stream(config, stream, Closed).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Self {
            _runtime: runtime,
            port,
            key: public,
        }
    }

    /// Enrols it under a name.
    pub(super) fn enroll(&self, env: &Environment, name: &str, more: &[&str]) -> Run {
        let port = self.port.to_string();
        let args = [
            "enroll",
            name,
            "--address",
            "127.0.0.1",
            "--port",
            &port,
            "--yes",
        ];
        env.plumb("fleet", &[&args[..], more].concat())
    }
}

#[test]
fn a_host_that_is_there_without_keys_gets_them_and_nothing_else() {
    let env = Environment::new();
    env.fleet();
    let before = env.read("fleet/hosts/linda.yaml");
    let machine = Machine::new(1);
    let run = machine
        .enroll(
            &env,
            "linda",
            &["--user", "me", "--labels", "role=cloud,disk=ssd"],
        )
        .exits(0)
        .stdout_has(&["wrote the keys of ./hosts/linda.yaml"])
        .stderr_has(&[
            "wrote only keys; linda is still reached at deploy@10.88.128.88 port 22",
            &format!(
                "connect: [{{user: \"me\", address: \"127.0.0.1\", port: {}}}]",
                machine.port
            ),
            "the label role is still terminal",
            "the label disk is still missing",
        ]);
    run.stderr_has(&["`arch` and `ageKey` are left out"]);
    let after = env.read("fleet/hosts/linda.yaml");
    let keys = format!("  hostKeys:\n    - \"{}\"\n", machine.key);
    assert_eq!(after.replacen(&keys, "", 1), before);
    env.plumb("fleet", &["check"]).exits(0);
    // Reinstalled, it has another key; what is as it was said isn't spoken of.
    let host = after.replace(
        "  drift: {mode: alert}\n",
        &format!(
            "  drift: {{mode: alert}}\n  connect: [{{user: me, address: 127.0.0.1, port: {}}}]\n",
            machine.port
        ),
    );
    env.write("fleet/hosts/linda.yaml", &host);
    let run = machine
        .enroll(&env, "linda", &["--labels", "role=terminal"])
        .exits(0);
    assert!(!run.stderr.contains("wrote only keys"), "{}", run.stderr);
}

#[test]
fn a_file_that_cant_be_written_in_place_is_refused_before_anybody_compares_keys() {
    let env = Environment::new();
    env.fleet();
    env.write(
        "fleet/hosts/odd.yaml",
        "kind: Host\nmetadata: {name: odd}\nspec: {arch: x86_64}\n",
    );
    let run = Machine::new(2)
        .enroll(&env, "odd", &[])
        .exits(1)
        .stderr_has(&["can't be edited in place", "`spec:` on a line of its own"]);
    assert!(!run.stderr.contains("shows:"), "{}", run.stderr);
}
