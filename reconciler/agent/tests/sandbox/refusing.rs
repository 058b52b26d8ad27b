//! What it refuses: other controllers, other machines, traps in paths, what changed underneath.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use plumb_api::frame::{DifferenceState, Lineage, Purpose, RevisionMark, TakeOver};
use plumb_api::report::{ErrorCode, Outcome};
use plumb_api::{Address, Epoch};
use serde_json::json;

use crate::driver::{State, plan};
use crate::{Root, everything};

#[test]
fn the_fence_knows_its_controller_host_and_fleet() {
    let root = Root::new();
    let state = everything();
    root.driver().converge(&state);
    let with = |change: &dyn Fn(&mut plumb_api::frame::Fence)| {
        let mut driver = root.driver();
        change(&mut driver.fence);
        driver
            .try_observe(&state, Purpose::Drive)
            .map_err(|error| error.code)
    };
    assert_eq!(
        with(&|fence| fence.host = "h2".parse().unwrap()).unwrap_err(),
        ErrorCode::Refused
    );
    let renamed = |fence: &mut plumb_api::frame::Fence| {
        fence.host = "h2".parse().unwrap();
        fence.formerly = vec!["h1".parse().unwrap()];
    };
    assert!(with(&renamed).is_ok(), "a rename keeps the machine");
    assert_eq!(
        with(&|_| {}).unwrap_err(),
        ErrorCode::Refused,
        "and its old name is another machine's"
    );
    let back = |fence: &mut plumb_api::frame::Fence| fence.formerly = vec!["h2".parse().unwrap()];
    assert!(with(&back).is_ok());
    assert_eq!(
        with(&|fence| fence.fleet = "work".parse().unwrap()).unwrap_err(),
        ErrorCode::Refused
    );
    assert_eq!(
        with(&|fence| fence.protocol = 99).unwrap_err(),
        ErrorCode::Protocol
    );
    assert_eq!(
        with(&|fence| fence.controller = "c2".parse().unwrap()).unwrap_err(),
        ErrorCode::Superseded
    );
    let take_over = |epoch| {
        move |fence: &mut plumb_api::frame::Fence| {
            fence.controller = "c2".parse().unwrap();
            fence.take_over = TakeOver::Yes;
            fence.epoch = Epoch(epoch);
        }
    };
    assert_eq!(
        with(&take_over(1)).unwrap_err(),
        ErrorCode::Superseded,
        "not above the highest"
    );
    assert!(with(&take_over(2)).is_ok());
    assert_eq!(
        with(&|_| {}).unwrap_err(),
        ErrorCode::Superseded,
        "the old one is out"
    );
}

#[test]
fn a_newer_controller_stops_a_run_between_two_changes() {
    let root = Root::new();
    let mut old = root.driver();
    let mut state = State::new();
    for n in 0..2000 {
        state = state.with(
            &format!("file:/srv/{n}"),
            json!({"content": format!("{n}")}),
        );
    }
    let report = old.observe(&state);
    let plan = plan(&state, &report);
    let mut new = root.driver();
    new.fence.epoch = Epoch(2);
    let other = state.clone();
    let claim = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(40));
        new.try_observe(&other, Purpose::Drive)
    });
    let report = old.try_apply(&state, plan);
    let _ = claim.join().unwrap();
    match report {
        Ok(report) => {
            let stopped = report
                .results
                .iter()
                .filter(|result| result.outcome == Outcome::Stopped)
                .count();
            assert_eq!(
                report.stopped.map(|error| error.code),
                Some(ErrorCode::Superseded)
            );
            assert!(stopped > 0, "the rest wasn't tried");
        }
        Err(error) => assert_eq!(error.code, ErrorCode::Superseded),
    }
}

#[test]
fn a_host_refuses_to_go_back() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = everything();
    driver.converge(&state);
    let next = state.clone().with("file:/etc/new", json!({"content": "x"}));
    let report = driver.observe(&next);
    let mut go = |lineage| {
        driver
            .try_apply_with(&next, plan(&next, &report), lineage)
            .map_err(|error| error.code)
    };
    let mark = |text: &str| RevisionMark(text.to_owned());
    assert_eq!(go(Lineage::First).unwrap_err(), ErrorCode::WouldGoBack);
    assert_eq!(
        go(Lineage::DescendsFrom(mark("r0"))).unwrap_err(),
        ErrorCode::WouldGoBack
    );
    assert!(!root.has("/etc/new"));
    assert!(go(Lineage::RollsBackFrom(mark("r1"))).is_ok());
}

#[test]
fn hostile_links_are_not_followed() {
    let root = Root::new();
    fs::create_dir_all(root.path("/tmp")).unwrap();
    fs::set_permissions(root.path("/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir_all(root.path("/data")).unwrap();
    symlink("/etc", root.path("/tmp/trap")).unwrap();
    symlink("/data", root.path("/etc/good")).unwrap();
    symlink("../../../../../../etc", root.path("/etc/up")).unwrap();
    symlink("loop", root.path("/etc/loop")).unwrap();
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/tmp/trap/passwd", json!({"content": "evil\n"}))
        .with("file:/etc/good/file", json!({"content": "fine\n"}))
        .with("file:/etc/up/inside", json!({"content": "inside\n"}))
        .with("file:/etc/loop/x", json!({"content": "x"}));
    let report = driver.observe(&state);
    let codes: Vec<(String, Option<ErrorCode>)> = report
        .differences
        .iter()
        .map(|difference| {
            let code = match &difference.state {
                DifferenceState::Unobservable(error) => Some(error.code),
                _ => None,
            };
            (difference.address.to_string(), code)
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("file:/etc/good/file".to_owned(), None),
            ("file:/etc/loop/x".to_owned(), Some(ErrorCode::UnsafePath)),
            ("file:/etc/up/inside".to_owned(), None),
            (
                "file:/tmp/trap/passwd".to_owned(),
                Some(ErrorCode::UnsafePath)
            ),
        ]
    );
    let good = state
        .without("file:/tmp/trap/passwd")
        .without("file:/etc/loop/x");
    driver.converge(&good);
    assert_eq!(root.read("/data/file"), "fine\n");
    assert_eq!(
        root.read("/etc/inside"),
        "inside\n",
        "`..` ends at the root"
    );
    assert!(root.read("/etc/passwd").starts_with("root:"));
}

#[test]
fn what_is_in_the_way_is_refused_and_stops_only_its_dependents() {
    let root = Root::new();
    fs::create_dir_all(root.path("/etc/conf")).unwrap();
    root.write("/etc/shared", "x");
    fs::hard_link(root.path("/etc/shared"), root.path("/etc/other-name")).unwrap();
    symlink("/etc/passwd", root.path("/etc/linked")).unwrap();
    let mut driver = root.driver();
    let state = State::new()
        .with("file:/etc/conf", json!({"content": "a"}))
        .with(
            "file:/etc/dependent",
            json!({"content": "b", "after": ["file:/etc/conf"]}),
        )
        .with("file:/etc/shared", json!({"content": "c"}))
        .with("file:/etc/linked", json!({"content": "d"}))
        .with("file:/etc/free", json!({"content": "e"}));
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    let report = driver.try_apply(&state, plan).unwrap();
    let outcome = |address: &str| {
        let address: Address = address.parse().unwrap();
        &report
            .results
            .iter()
            .find(|result| result.address == address)
            .unwrap()
            .outcome
    };
    for refused in ["file:/etc/conf", "file:/etc/shared", "file:/etc/linked"] {
        assert!(
            matches!(outcome(refused), Outcome::Failed(error) if error.code == ErrorCode::Refused),
            "{refused}: {:?}",
            outcome(refused)
        );
    }
    assert!(matches!(
        outcome("file:/etc/dependent"),
        Outcome::Skipped(_)
    ));
    assert_eq!(*outcome("file:/etc/free"), Outcome::Applied);
    assert_eq!(root.read("/etc/shared"), "x");
    assert!(root.read("/etc/passwd").starts_with("root:"));
}

#[test]
fn a_change_underneath_fails_its_precondition() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new().with("file:/etc/x", json!({"content": "wanted"}));
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    root.write("/etc/x", "somebody was faster");
    let report = driver.try_apply(&state, plan).unwrap();
    assert!(
        matches!(&report.results[0].outcome, Outcome::Failed(error) if error.code == ErrorCode::PreconditionFailed)
    );
    assert_eq!(root.read("/etc/x"), "somebody was faster");
}

#[test]
fn a_missing_content_and_an_unknown_owner_change_nothing() {
    let root = Root::new();
    let mut driver = root.driver();
    let mut state = State::new()
        .with("file:/etc/x", json!({"content": "never sent"}))
        .with(
            "file:/etc/y",
            json!({"content": "sent", "owner": "nobody-here"}),
        );
    let missing = plumb_api::Digest::of_bytes(b"never sent");
    state.contents.remove(&missing);
    let report = driver.observe(&state);
    let plan = plan(&state, &report);
    let report = driver.try_apply(&state, plan).unwrap();
    let codes: Vec<_> = report
        .results
        .iter()
        .map(|result| match &result.outcome {
            Outcome::Failed(error) => Some(error.code),
            _ => None,
        })
        .collect();
    assert_eq!(
        codes,
        [Some(ErrorCode::MissingContent), Some(ErrorCode::NotFound)]
    );
    assert!(!root.has("/etc/x") && !root.has("/etc/y"));
    assert_eq!(
        report.ledger.resources, 0,
        "nothing was made, so nothing is remembered"
    );
}

#[test]
fn a_sandbox_has_no_packages_and_runs_nothing() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new()
        .with("package:btop", json!({}))
        .with("service:app", json!({"state": "started"}))
        .with(
            "file:/etc/sudoers.d/x",
            json!({"content": "x", "validate": ["false", "%s"]}),
        );
    let report = driver.observe(&state);
    let unsupported = report
        .differences
        .iter()
        .filter(|difference| matches!(difference.state, DifferenceState::Unsupported(_)))
        .count();
    assert_eq!(unsupported, 2);
}

#[test]
fn garbage_on_the_wire_ends_the_session_with_a_reason() {
    use plumb_agent::{End, Sys, serve};
    let root = Root::new();
    let sys = Sys::sandbox(&root.0).unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 9, 0, b'{'],
        &[0, 0, 0, 3, 0, b'x', b'y'],
    ] {
        assert_eq!(serve(&sys, garbage, std::io::sink()), End::Broken);
    }
    assert_eq!(serve(&sys, &b""[..], std::io::sink()), End::Closed);
}

#[test]
fn sandbox_has_no_types_that_run_programs() {
    let root = Root::new();
    let state = State::new()
        .with("command:x", json!({"run": ["/bin/true"], "creates": "/a"}))
        .with("check:x", json!({"tcp": "localhost:1"}))
        .with("package:btop", json!({}));
    let report = root.driver().observe(&state);
    assert_eq!(report.differences.len(), 3);
    for difference in &report.differences {
        let DifferenceState::Unsupported(error) = &difference.state else {
            panic!("{difference:?}");
        };
        let kind = difference.address.kind();
        assert_eq!(
            error.message,
            format!("a sandbox has no `{kind}` resources")
        );
    }
}

#[test]
fn a_sysctl_that_another_file_overrides_at_boot_is_refused_by_name() {
    let root = Root::new();
    root.write("/etc/sysctl.conf", "net.ipv4.ip_forward=0\n");
    root.write("/etc/sysctl.d/zz-last.conf", "net.core.somaxconn = 512\n");
    root.write("/etc/sysctl.d/10-early.conf", "vm.swappiness = 1\n");
    root.write(
        "/usr/lib/sysctl.d/99-vendor.conf",
        "fs.protected_fifos = 1\n",
    );
    root.write("/etc/sysctl.d/99-vendor.conf", "");
    symlink("../sysctl.conf", root.path("/etc/sysctl.d/99-sysctl.conf")).unwrap();
    let state = [
        ("net.ipv4.ip_forward", "1"),
        ("net.core.somaxconn", "512"),
        ("vm.swappiness", "10"),
        ("fs.protected_fifos", "2"),
    ];
    let state = state.iter().fold(State::new(), |state, (key, value)| {
        state.with(&format!("sysctl:{key}"), json!({"value": value}))
    });
    let mut driver = root.driver();
    for _ in 0..2 {
        let report = driver.observe(&state);
        let report = driver.try_apply(&state, plan(&state, &report)).unwrap();
        let failed: Vec<_> = report
            .results
            .iter()
            .filter_map(|result| match &result.outcome {
                Outcome::Failed(error) => Some((result.address.to_string(), error.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        assert_eq!(failed[0].0, "sysctl:net.ipv4.ip_forward");
        assert_eq!(failed[0].1.code, ErrorCode::Refused);
        assert!(
            failed[0].1.message.contains("/etc/sysctl.d/99-sysctl.conf"),
            "{failed:#?}"
        );
    }
    let report = driver.observe(&state);
    assert!(report.differences[0].refusal.is_some(), "{report:#?}");
    root.write("/etc/sysctl.conf", "");
    driver.converge(&state);
}
