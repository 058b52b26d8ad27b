//! Logging in.

use plumb_api::report::Retry;
use russh::keys::agent::client::AgentClient;
use russh::keys::agent::server::serve;
use tokio::net::{UnixListener, UnixStream};

use super::sshd::{HOST, Manner, OURS, Stage, key, reaching};
use super::*;

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
    assert!(error.hint().unwrap().contains("authorized_keys"));
    assert!(
        reason.contains("key3 (SHA256:") && reason.contains("was rejected"),
        "{reason}"
    );
    assert_eq!(error.reason().retry(), Some(Retry::Stalled));

    let mut settings = stage.settings(OURS);
    settings.identities = vec![
        Identity::KeyFile("/nonexistent/key".into()),
        Identity::Agent("/nonexistent/agent".into()),
    ];
    let error = facts(&reaching("x", settings), &target).await.unwrap_err();
    // The host isn't told to change its authorized_keys for it.
    assert_eq!(error.hint(), None);
    let text = error.to_string();
    assert!(
        text.contains("the key file /nonexistent/key can't be read")
            && text.contains("the ssh-agent at"),
        "{text}"
    );
}

/// Made with `ssh-keygen -N secret`.
const ENCRYPTED: &str = include_str!("../testdata/encrypted");

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
async fn an_ssh_agents_keys_are_offered_and_the_right_one_is_remembered() {
    let stage = Stage::new(Manner::Runs).await;
    let socket = stage.folder.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let incoming = futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(serve(Box::pin(incoming), ()));
    let mut agent = AgentClient::connect(UnixStream::connect(&socket).await.unwrap());
    for seed in [11, 12, OURS] {
        agent.add_identity(&key(seed), &[]).await.unwrap();
    }
    let mut settings = stage.settings(OURS);
    settings.identities = vec![Identity::Agent(socket)];
    settings.keep_warm = Duration::ZERO;
    let connector = reaching(&stage.agent(), settings);
    let target = stage.target(key(HOST).public_key());
    for _ in 0..2 {
        assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
    }
    let Route::Ssh { endpoints, .. } = &target.route else {
        panic!();
    };
    let right = key(OURS)
        .public_key()
        .fingerprint(russh::keys::HashAlg::Sha256);
    let known = connector.ssh.known.login(&endpoints[0]);
    assert_eq!(known, Some(right.to_string()));
}

#[tokio::test]
async fn sudo_makes_another_login_root_or_says_why_not() {
    let stage = Stage::new(Manner::Runs).await;
    let bin = stage.folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let sudo = |script: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = bin.join("sudo");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let target = stage.target_of("deploy", &[key(HOST).public_key().to_openssh().unwrap()]);
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    sudo("echo sudo: a password is required >&2; exit 1");
    let error = facts(&connector, &target).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "web1 accepts the login of deploy, but sudo doesn't let deploy run commands as root: a password is required, because no rule of its sudoers allows /bin/sh without one"
    );
    assert_eq!(error.reason(), ConditionReason::SudoDenied);
    assert_eq!(error.reason().retry(), Some(Retry::Stalled));
    assert!(!error.hint().unwrap().contains("authorized_keys"));
    sudo("[ \"$1 $2\" = \"-n --\" ] || exit 9; shift 2; exec \"$@\"");
    assert_eq!(facts(&connector, &target).await.unwrap().hostname, "web1");
}

#[test]
fn a_key_file_is_looked_at_before_any_host_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("key");
    let wrong = crate::hosts::check_key_file(&at).unwrap_err();
    assert!(wrong.contains("can't be read"), "{wrong}");
    std::fs::write(&at, "ssh-ed25519 AAAA nobody\n").unwrap();
    let wrong = crate::hosts::check_key_file(&at).unwrap_err();
    assert!(wrong.contains("isn't a private key"), "{wrong}");
    std::fs::write(&at, ENCRYPTED).unwrap();
    let wrong = crate::hosts::check_key_file(&at).unwrap_err();
    assert!(wrong.contains("has a passphrase"), "{wrong}");
}
