//! Changes that could cut the controller off are put back unless it confirms them.

use std::process::Command;

use plumb_api::frame::{Confirm, DeadMan, Nonce, Request, Response};
use plumb_api::report::ErrorCode;
use plumb_api::secret::placeholder;
use serde_json::json;

use crate::Root;
use crate::driver::{Driver, State, plan};
use crate::secrets;

const RULE: &str = "/etc/sudoers.d/alice";

/// Applies a rule of sudo under a timer of one second, beside a greeting that can't cut anybody off.
fn changed(root: &Root) -> (Driver, State) {
    root.write(RULE, "alice ALL=(ALL) NOPASSWD: ALL\n");
    let state = State::new()
        .with("file:/etc/motd", json!({"content": "hello\n"}))
        .with(&format!("file:{RULE}"), json!({"content": "# nobody\n"}));
    let mut driver = root.driver();
    driver.dead_man = Some(dead_man());
    let report = driver.observe(&state);
    let report = driver.try_apply(&state, plan(&state, &report)).unwrap();
    assert_eq!(
        report.unconfirmed,
        [format!("file:{RULE}").parse().unwrap()]
    );
    assert_eq!(root.read(RULE), "# nobody\n");
    (driver, state)
}

fn dead_man() -> DeadMan {
    DeadMan {
        nonce: Nonce("c1/1/1".to_owned()),
        confirm: 1,
        users: vec!["alice".to_owned()],
    }
}

fn watch(root: &Root) {
    let agent = Command::new(env!("CARGO_BIN_EXE_plumb-agent"))
        .args(["--root", root.0.to_str().unwrap(), "dead-man"])
        .status();
    assert!(agent.unwrap().success());
}

#[test]
fn unconfirmed_change_is_put_back_and_not_tried_again() {
    let root = Root::new();
    let (mut driver, state) = changed(&root);
    assert!(driver.observe(&state).waiting.is_some());
    watch(&root);
    assert_eq!(root.read(RULE), "alice ALL=(ALL) NOPASSWD: ALL\n");
    assert_eq!(root.read("/etc/motd"), "hello\n");
    let report = driver.observe(&state);
    let refusal = report.differences[0].refusal.as_ref().unwrap();
    assert_eq!(refusal.code, ErrorCode::Reverted);
    let corrected = state.with(&format!("file:{RULE}"), json!({"content": "# other\n"}));
    let report = driver.observe(&corrected);
    assert_eq!(report.differences[0].refusal, None);
}

#[test]
fn confirmed_change_stays() {
    let root = Root::new();
    let (mut driver, state) = changed(&root);
    let confirm = |driver: &mut Driver, nonce: &str| {
        let request = Request::Confirm(Confirm {
            fence: driver.fence.clone(),
            nonce: Nonce(nonce.to_owned()),
        });
        driver.ask(&request)
    };
    assert!(matches!(confirm(&mut driver, "c1/1/2"), Response::Error(_)));
    assert_eq!(confirm(&mut driver, "c1/1/1"), Response::Confirmed);
    watch(&root);
    assert_eq!(root.read(RULE), "# nobody\n");
    assert!(driver.observe(&state).differences.is_empty());
}

#[test]
fn file_with_a_secret_is_put_back_with_its_content() {
    let root = Root::new();
    let mut driver = root.driver();
    let key = secrets::host_key(&mut driver);
    let content = format!("# {}\n", placeholder("app/token"));
    let state = |version: u64, value: &str| {
        let binding = secrets::binding(version);
        let secret = secrets::spec(version, &secrets::seal(binding, value, key));
        let file = json!({"content": content, "mode": "0440", "secrets": ["secret:app/token"]});
        secrets::state(Some(secret)).with(&format!("file:{RULE}"), file)
    };
    driver.converge(&state(1, "good"));
    assert_eq!(root.read(RULE), "# good\n");
    driver.dead_man = Some(dead_man());
    let next = state(2, "bad");
    let report = driver.observe(&next);
    driver.try_apply(&next, plan(&next, &report)).unwrap();
    assert_eq!(root.read(RULE), "# bad\n");
    watch(&root);
    assert_eq!(root.read(RULE), "# good\n");
}
