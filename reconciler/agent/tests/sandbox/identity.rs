//! Two names of one thing: a conflict while both are desired, an heir when one of them goes.

use plumb_api::frame::{DifferenceState, ObserveReport};
use plumb_api::report::{AgentError, ErrorCode};
use serde_json::json;

use crate::Root;
use crate::driver::State;

fn file(key: &str) -> String {
    format!("/etc/sysctl.d/80-plumb-{key}.conf")
}

fn conflicts(report: &ObserveReport) -> Vec<(String, AgentError)> {
    report
        .differences
        .iter()
        .filter_map(|difference| match &difference.state {
            DifferenceState::Unobservable(error) => {
                Some((difference.address.to_string(), error.clone()))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn two_names_of_one_value_are_a_conflict_that_names_both() {
    let root = Root::new();
    let pairs = [
        ["net.ipv4.conf.all.forwarding", "net.ipv4.ip_forward"],
        ["net.ipv4.ip_forward", "net/ipv4/ip_forward"],
        ["net.netfilter.nf_conntrack_max", "net.nf_conntrack_max"],
        [
            "net.ipv4.neigh.default.retrans_time_ms",
            "net.ipv4.neigh.default.retrans_time",
        ],
        ["vm.dirty_bytes", "vm.dirty_ratio"],
    ];
    for pair in pairs {
        let state = pair.iter().fold(State::new(), |state, key| {
            state.with(&format!("sysctl:{key}"), json!({"value": "9000"}))
        });
        let state = state.with("sysctl:net.core.somaxconn", json!({"value": "512"}));
        let report = root.driver().observe(&state);
        let found = conflicts(&report);
        assert_eq!(found.len(), 2, "{pair:?}: {report:#?}");
        for (_, error) in found {
            assert_eq!(error.code, ErrorCode::Refused);
            for key in pair {
                let address = format!("sysctl:{key}");
                assert!(
                    error.message.contains(&address),
                    "{error:?} lacks {address}"
                );
            }
        }
        assert_eq!(report.differences.len(), 3, "the other key goes on");
    }
}

#[test]
fn a_limit_of_zero_leaves_the_other_unit_alone() {
    let root = Root::new();
    let state = State::new()
        .with("sysctl:vm.dirty_bytes", json!({"value": "0"}))
        .with("sysctl:vm.dirty_ratio", json!({"value": "10"}))
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}))
        .with(
            "sysctl:net.ipv4.conf.default.forwarding",
            json!({"value": "1"}),
        );
    assert_eq!(root.driver().converge(&state), 4);
}

#[test]
fn another_name_of_the_same_thing_inherits_its_original() {
    let root = Root::new();
    let old = file("net.ipv4.ip_forward");
    let new = file("net.ipv4.conf.all.forwarding");
    let other = State::new().with("file:/etc/motd", json!({"content": "hello\n"}));
    let before = other
        .clone()
        .with("sysctl:net.ipv4.ip_forward", json!({"value": "1"}));
    let after = other
        .clone()
        .with("sysctl:net.ipv4.conf.all.forwarding", json!({"value": "1"}));
    let mut driver = root.driver();
    driver.converge(&before);
    assert!(root.has(&old));
    driver.converge(&after);
    assert!(
        !root.has(&old) && root.has(&new),
        "the file goes with its name"
    );
    let report = driver.observe(&other);
    assert_eq!(report.differences.len(), 1);
    driver.converge(&other);
    assert!(!root.has(&new), "nothing was there before Plumb");
}

/// Their originals are taken by specs that ask for every field, the same number among them.
#[test]
fn two_new_accounts_without_numbers_are_two_things() {
    let root = Root::new();
    let state = State::new()
        .with("group:one", json!({"system": true}))
        .with("group:two", json!({"gid": 4200}))
        .with("user:one", json!({"system": true, "home": "/nonexistent"}))
        .with("user:two", json!({"uid": 4242, "home": "/nonexistent"}));
    let mut driver = root.driver();
    driver.converge(&state);
    assert_eq!(conflicts(&driver.observe(&state)), []);
}

#[test]
fn two_paths_of_one_file_are_a_conflict_that_names_both() {
    let root = Root::new();
    root.write("/srv/releases/one/conf", "old\n");
    std::os::unix::fs::symlink("releases/one", root.path("/srv/current")).unwrap();
    let state = State::new()
        .with("file:/srv/current/conf", json!({"content": "a\n"}))
        .with("file:/srv/releases/one/conf", json!({"content": "b\n"}))
        .with("file:/srv/releases/conf", json!({"content": "c\n"}));
    let found = conflicts(&root.driver().observe(&state));
    let named: Vec<&str> = found.iter().map(|(address, _)| address.as_str()).collect();
    assert_eq!(
        named,
        ["file:/srv/current/conf", "file:/srv/releases/one/conf"]
    );
    for (_, error) in &found {
        assert!(
            named.iter().all(|address| error.message.contains(address)),
            "{error}"
        );
    }
}
