//! `sysctl` on the running kernel: each test is a host of its own, in namespaces of network, users and mounts.
//!
//! Where unprivileged user namespaces are forbidden, these tests need root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

#[path = "../driver/mod.rs"]
mod driver;

mod giving_back;
mod missing;
mod order;
mod values;

use std::fs;
use std::process::{Command, Stdio};

use driver::{Driver, State};
use plumb_api::frame::{DifferenceState, ObserveReport};
use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, Outcome};
use serde_json::json;

/// Set in the process of a test's own host.
const INSIDE: &str = "PLUMB_TEST_KERNEL";

/// The files of a host that has nothing but accounts, and interfaces with dots in their names.
const HOST: &str = "mount -t tmpfs none /etc && mount -t tmpfs none /var/lib && mkdir /etc/sysctl.d \
    && echo root:x:0:0:root:/root:/bin/sh >/etc/passwd && echo root:x:0: >/etc/group \
    && echo 0123456789abcdef0123456789abcdef >/etc/machine-id \
    && ip link add ve.100 type veth peer name ve.100.200 && exec \"$@\"";

/// Runs a test on a host of its own: this program again, in new namespaces.
fn on_a_host(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let done = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--",
            "sh",
            "-c",
            HOST,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare(1) makes the namespaces of these tests");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Returns the kernel's value of a path below `/proc/sys`.
fn kernel(path: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Sets a value by hand.
fn by_hand(path: &str, value: &str) {
    fs::write(format!("/proc/sys/{path}"), format!("{value}\n")).unwrap();
}

/// A state of these keys and values.
fn keys(values: &[(&str, &str)]) -> State {
    let greeting = State::new().with("file:/etc/motd", json!({"content": "hello\n"}));
    values.iter().fold(greeting, |state, (key, value)| {
        state.with(&format!("sysctl:{key}"), json!({"value": value}))
    })
}

/// Returns the differing fields of a key.
fn fields(report: &ObserveReport, key: &str) -> Vec<FieldChange> {
    let address = format!("sysctl:{key}").parse().unwrap();
    let mut all = report.differences.iter();
    all.find(|difference| difference.address == address)
        .map(|difference| difference.fields.clone())
        .unwrap_or_default()
}

/// Returns the error of a key that can't be observed.
fn trouble(report: &ObserveReport, key: &str) -> AgentError {
    let address = format!("sysctl:{key}").parse().unwrap();
    let mut all = report.differences.iter();
    match all.find(|difference| difference.address == address) {
        Some(difference) => match &difference.state {
            DifferenceState::Unobservable(error) => error.clone(),
            other => panic!("{key}: {other:?}"),
        },
        None => panic!("{key} is in sync"),
    }
}

/// Applies every difference and returns the errors by address.
fn apply(driver: &mut Driver, state: &State) -> Vec<(String, AgentError)> {
    let report = driver.observe(state);
    let plan = driver::plan(state, &report);
    let report = driver.try_apply(state, plan).unwrap();
    let failed = |result: plumb_api::report::ChangeResult| match result.outcome {
        Outcome::Failed(error) => Some((result.address.to_string(), error)),
        _ => None,
    };
    report.results.into_iter().filter_map(failed).collect()
}
