//! Formats on disk: the state that earlier agents left is read.
//!
//! `fixtures/state-v1` was written by the agent of version 0.1.0: `finished` after two runs,
//! `interrupted` with the second one cut off after its first confirmation, and `failed` with a user whose
//! home couldn't be made and a group whose original has a stale member. `service` was made from it by hand: a
//! run enabled a service and failed to start it, before ledgers had the specs of failed runs.

use std::path::Path;

use plumb_api::frame::{LedgerState, Lineage};
use serde_json::json;

use crate::Root;
use crate::driver::{Driver, State, failures, plan};
use crate::surviving::copy;

fn base() -> State {
    State::new()
        .with("group:web", json!({"gid": 800}))
        .with(
            "user:www",
            json!({"uid": 801, "group": "web", "home": "/srv/www", "createHome": false}),
        )
        .with(
            "directory:/srv/www",
            json!({"owner": "www", "group": "web", "mode": "2750"}),
        )
        .with("link:/etc/localtime", json!({"target": "/usr/share/zoneinfo/UTC"}))
        .with(
            "unit:app.service",
            json!({"content": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"}),
        )
        .with(
            "unit:app.service.d/limits.conf",
            json!({"content": "[Service]\nLimitNOFILE=4096\n"}),
        )
        .with("service:app", json!({"enabled": true, "restartOn": ["file:/etc/b"]}))
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}))
}

/// The state of the fixture's second run.
fn second() -> State {
    base()
        .with("file:/etc/b", json!({"content": "b2\n", "owner": "www"}))
        .with("file:/etc/c", json!({"content": "c\n"}))
        .with(
            "file:/etc/motd",
            json!({"content": "second\n", "mode": "0600"}),
        )
}

/// A host as the second run leaves it, with the agent's folder of a fixture.
fn host(fixture: &str) -> Root {
    let root = Root::new();
    root.write("/etc/motd", "the admin's\n");
    root.driver().converge(&second());
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1");
    copy(&fixtures.join(fixture), &root.path("/var/lib/plumb"));
    root
}

fn apply(driver: &mut Driver, state: &State) {
    let report = driver.observe(state);
    let lineage = Lineage::DescendsFrom(report.ledger.revision.clone().unwrap());
    let report = driver
        .try_apply_with(state, plan(state, &report), lineage)
        .unwrap();
    assert_eq!(failures(&report), Vec::<String>::new());
}

#[test]
fn reads_state_of_finished_run() {
    let root = host("finished");
    let mut driver = root.driver();
    let report = driver.observe(&second());
    assert_eq!(
        (
            report.ledger.state,
            report.ledger.sequence,
            report.ledger.resources
        ),
        (LedgerState::Sound, 2, 11)
    );
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
    assert!(report.unconfirmed.is_empty(), "{:?}", report.unconfirmed);
    apply(&mut driver, &second().without("file:/etc/motd"));
    assert_eq!(root.read("/etc/motd"), "the admin's\n");
}

#[test]
fn rolls_interrupted_run_forward_from_its_journal() {
    let root = host("interrupted");
    let mut driver = root.driver();
    let report = driver.observe(&second());
    assert_eq!(
        (report.ledger.state, report.ledger.sequence),
        (LedgerState::Sound, 2)
    );
    let unconfirmed: Vec<String> = report.unconfirmed.iter().map(ToString::to_string).collect();
    assert_eq!(unconfirmed, ["file:/etc/c", "file:/etc/motd"]);
    apply(&mut driver, &second());
    apply(
        &mut driver,
        &second().without("file:/etc/motd").without("file:/etc/c"),
    );
    assert_eq!(root.read("/etc/motd"), "the admin's\n");
    assert!(!root.has("/etc/c"));
}

/// The state of the fixture `failed`: the home of carol couldn't be made.
fn failed() -> State {
    State::new()
        .with(
            "group:app",
            json!({"members": ["alice"], "membership": "inclusive"}),
        )
        .with("user:alice", json!({"shell": "/bin/zsh"}))
        .with(
            "user:carol",
            json!({"home": "/srv/homes/carol", "uid": 4400, "createHome": true}),
        )
}

#[test]
fn gives_back_from_the_ledger_of_a_failed_run() {
    let root = Root::new();
    root.write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/zsh\ncarol:x:4400:4400::/srv/homes/carol:/bin/sh\n",
    );
    root.write(
        "/etc/group",
        "root:x:0:\nalice:x:1000:\nsudo:x:27:alice\napp:x:4300:alice\ncarol:x:4400:\n",
    );
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1");
    copy(&fixtures.join("failed"), &root.path("/var/lib/plumb"));
    let mut driver = root.driver();
    let report = driver.observe(&failed());
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
    let unconfirmed: Vec<String> = report.unconfirmed.iter().map(ToString::to_string).collect();
    assert_eq!(unconfirmed, ["user:carol"]);
    apply(
        &mut driver,
        &State::new().with("file:/etc/hostname", json!({"content": "h1\n"})),
    );
    assert!(
        root.read("/etc/passwd")
            .contains("alice:x:1000:1000::/home/alice:/bin/sh\n")
    );
    assert!(!root.read("/etc/passwd").contains("carol"));
    assert!(root.read("/etc/group").contains("app:x:4300:ghost\n"));
}

/// A host on which an earlier agent enabled a service and failed before it could confirm that.
fn host_with_failed_service() -> Root {
    let root = Root::new();
    let unit = "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n";
    root.write("/lib/systemd/system/bad.service", unit);
    let state = State::new().with("service:bad", json!({"enabled": true}));
    root.driver().converge(&state);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1");
    std::fs::remove_dir_all(root.path("/var/lib/plumb")).unwrap();
    copy(&fixtures.join("service"), &root.path("/var/lib/plumb"));
    assert!(root.has(ENABLED));
    root
}

const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/bad.service";

#[test]
fn service_that_failed_before_it_was_confirmed_is_given_back() {
    let root = host_with_failed_service();
    let mut driver = root.driver();
    let dropped = State::new().with("file:/etc/hostname", json!({"content": "h1\n"}));
    let report = driver.observe(&dropped);
    assert_eq!(report.ledger.state, LedgerState::Sound);
    apply(&mut driver, &dropped);
    assert!(!root.has(ENABLED));
    assert_eq!(driver.observe(&dropped).ledger.resources, 1);
}

#[test]
fn service_that_failed_before_it_was_confirmed_keeps_its_original() {
    let root = host_with_failed_service();
    let mut driver = root.driver();
    let wanted = State::new().with("service:bad", json!({"enabled": true}));
    let report = driver.observe(&wanted);
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
    assert_eq!(report.unconfirmed.len(), 1);
    apply(&mut driver, &wanted);
    assert!(root.has(ENABLED));
    apply(
        &mut driver,
        &State::new().with("file:/etc/hostname", json!({"content": "h1\n"})),
    );
    assert!(
        !root.has(ENABLED),
        "the original is from before the failed run"
    );
}

#[test]
fn moves_sysctl_file_of_earlier_name() {
    let earlier = "/etc/sysctl.d/80-plumb-net.ipv4.conf.eth0.rp_filter.conf";
    let now = "/etc/sysctl.d/81-plumb-net.ipv4.conf.eth0.rp_filter.conf";
    let without = State::new().with("file:/etc/motd", json!({"content": "hello\n"}));
    let state = without
        .clone()
        .with("sysctl:net.ipv4.conf.eth0.rp_filter", json!({"value": "2"}));
    for next in [&state, &without] {
        let root = Root::new();
        let mut driver = root.driver();
        driver.converge(&state);
        std::fs::rename(root.path(now), root.path(earlier)).unwrap();
        assert_eq!(driver.converge(next), 1);
        assert!(!root.has(earlier));
        driver.converge(&without);
        assert!(!root.has(now) && !root.has("/etc/sysctl.d"));
    }
}
