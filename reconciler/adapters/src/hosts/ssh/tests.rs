//! Against a real SSH server in this process.

mod identities;
mod sshd;
mod turns;

use std::borrow::Cow;

use plumb_api::frame::Facts;
use plumb_api::report::Retry;
use plumb_core::ports::{Hosts, Route};
use plumb_core::reason::ConditionReason;
use russh::Preferred;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

pub(super) use sshd::key;
use sshd::{HOST, Manner, OURS, Stage, reaching};

use super::*;
use crate::hosts::{Connector, Program};

pub(super) async fn facts(connector: &Connector, target: &HostTarget) -> Result<Facts, HostError> {
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
    assert_eq!(error.reason().retry(), Some(Retry::Stalled));
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

/// Baselines that leave NIST curves or AES-128 alone.
#[tokio::test]
async fn talks_to_servers_of_hardening_baselines() {
    let nist = Preferred {
        kex: Cow::Borrowed(&[russh::kex::ECDH_SHA2_NISTP384]),
        ..Preferred::DEFAULT
    };
    let aes = Preferred {
        cipher: Cow::Borrowed(&[russh::cipher::AES_128_GCM]),
        ..Preferred::DEFAULT
    };
    for preferred in [nist, aes] {
        let stage = Stage::offering(Manner::Runs, preferred).await;
        let connector = reaching(&stage.agent(), stage.settings(OURS));
        let told = facts(&connector, &stage.target(key(HOST).public_key())).await;
        assert_eq!(told.unwrap().hostname, "web1");
    }
}

#[tokio::test]
async fn disagreement_is_told_with_both_lists_and_lasts() {
    let preferred = Preferred {
        kex: Cow::Borrowed(&[russh::kex::DH_G14_SHA1]),
        ..Preferred::DEFAULT
    };
    let stage = Stage::offering(Manner::Runs, preferred).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let target = stage.target(key(HOST).public_key());
    let error = facts(&connector, &target).await.unwrap_err();
    let HostError::NoCommonAlgorithm { reason, .. } = &error else {
        panic!("{error}");
    };
    for part in [
        "no common key exchange: the server offers diffie-hellman-group14-sha1; Plumb offers",
        "ecdh-sha2-nistp256",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(!reason.contains("kex-strict"), "{reason}");
    assert_eq!(error.reason().retry(), Some(Retry::Stalled));
    let scanned = connector
        .scan_host_keys("127.0.0.1", stage.port)
        .await
        .unwrap_err();
    assert!(
        scanned.to_string().contains("no common key exchange"),
        "{scanned}"
    );
}

/// The agent has to be placed first, which takes a session after another.
#[tokio::test]
async fn one_session_at_a_time_is_enough() {
    for _ in 0..5 {
        let stage = Stage::new(Manner::OneSession).await;
        let connector = reaching(&stage.agent(), stage.settings(OURS));
        let told = facts(&connector, &stage.target(key(HOST).public_key())).await;
        assert_eq!(told.unwrap().hostname, "web1");
        assert_eq!(stage.connections(), 1);
    }
}

#[tokio::test]
async fn no_session_at_all_is_told_and_lasts() {
    let stage = Stage::new(Manner::NoSession).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target(key(HOST).public_key()))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        HostError::NoSession {
            host: "web1".parse().unwrap()
        }
    );
    assert_eq!(error.reason().retry(), Some(Retry::Stalled));
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
            "web1 can't be reached: 127.0.0.1:{closed}: connection refused; no-such-host.invalid:{}: the name can't be resolved",
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
        "the agent doesn't start on web1: the server doesn't let this login run programs"
    );
    let stage = Stage::new(Manner::HangsUp).await;
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    let error = facts(&connector, &stage.target(key(HOST).public_key()))
        .await
        .unwrap_err();
    assert_eq!(error.reason().retry(), Some(Retry::Transient));
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
        "the agent doesn't start on web1: the agent was uploaded but doesn't start: it ended with status 3: no room"
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
        "127.0.0.1:1 presents no host key: connection refused"
    );
}
