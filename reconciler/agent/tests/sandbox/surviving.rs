//! What it survives: a run cut off at any byte, a damaged ledger, a clone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use plumb_api::frame::{LedgerState, Lineage, Purpose};
use plumb_api::report::ErrorCode;
use serde_json::json;

use crate::driver::{State, failures, plan};
use crate::{Root, everything};

/// Copies the agent's folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_run_cut_off_anywhere_rolls_forward() {
    let root = Root::new();
    root.write("/etc/motd", "the admin's\n");
    let first = State::new()
        .with("file:/etc/motd", json!({"content": "one\n"}))
        .with("file:/etc/b", json!({"content": "b1"}));
    let second = State::new()
        .with("file:/etc/motd", json!({"content": "two\n"}))
        .with("file:/etc/c", json!({"content": "c1"}));
    let mut driver = root.driver();
    driver.converge(&first);
    let home = root.path("/var/lib/plumb");
    let before = root.path("/before");
    let after = root.path("/after");
    copy(&home, &before);
    driver.converge(&second);
    copy(&home, &after);
    drop(driver);
    let journal = fs::read(home.join("journal")).unwrap();
    let ends: Vec<usize> = journal
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    assert!(ends.len() > 3, "a run has several records");
    // Every end of a record, and every seventh byte between: as if the power went there.
    let cuts: Vec<usize> = (ends[0]..=journal.len())
        .filter(|at| at % 7 == 0 || ends.contains(at))
        .collect();
    for cut in cuts {
        copy(&before, &home);
        // Originals are kept before the intent is written.
        copy(&after.join("originals"), &home.join("originals"));
        fs::write(home.join("journal"), &journal[..cut]).unwrap();
        let mut driver = root.driver();
        driver.revision = 3;
        let report = driver.observe(&second);
        assert_eq!(report.ledger.state, LedgerState::Sound, "cut at {cut}");
        assert_eq!(report.ledger.sequence, 2, "the journal was taken in");
        let plan = plan(&second, &report);
        if !plan.is_settled() {
            let lineage = Lineage::DescendsFrom(report.ledger.revision.clone().unwrap());
            let report = driver.try_apply_with(&second, plan, lineage).unwrap();
            assert_eq!(failures(&report), Vec::<String>::new(), "cut at {cut}");
        }
        let rest = driver.observe(&second);
        assert!(
            rest.differences.is_empty() && rest.unconfirmed.is_empty(),
            "cut at {cut}: {rest:#?}"
        );
        // The original is still the admin's, whatever was cut off.
        let dropped = second.clone().without("file:/etc/motd");
        let report = driver.observe(&dropped);
        let plan = plan_for(&dropped, &report);
        let lineage = Lineage::DescendsFrom(report.ledger.revision.clone().unwrap());
        driver.try_apply_with(&dropped, plan, lineage).unwrap();
        assert_eq!(root.read("/etc/motd"), "the admin's\n", "cut at {cut}");
        root.write("/etc/motd", "two\n");
    }
}

fn plan_for(state: &State, report: &plumb_api::frame::ObserveReport) -> plumb_api::plan::Plan {
    plan(state, report)
}

#[test]
fn a_damaged_ledger_is_lost_unless_the_journal_explains_it() {
    let root = Root::new();
    let mut driver = root.driver();
    let mut state = everything();
    driver.converge(&state);
    for n in 0..3 {
        state = state.with("file:/etc/x", json!({"content": format!("{n}")}));
        driver.converge(&state);
    }
    drop(driver);
    let home = root.path("/var/lib/plumb");
    let kept = root.path("/kept");
    copy(&home, &kept);
    let look = || {
        let mut driver = root.driver();
        driver
            .try_observe(&state, Purpose::Look)
            .map(|report| (report.ledger.state, report.ledger.sequence))
    };
    let (sound, newest) = look().unwrap();
    assert_eq!(sound, LedgerState::Sound);
    let newest_file = if newest % 2 == 0 {
        "ledger.a"
    } else {
        "ledger.b"
    };
    let older_file = if newest % 2 == 0 {
        "ledger.b"
    } else {
        "ledger.a"
    };

    let bytes = fs::read(home.join(newest_file)).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(home.join(newest_file), &damaged).unwrap();
        match look() {
            Ok((LedgerState::Sound, sequence)) => {
                assert!(sequence == newest || sequence == newest - 1, "byte {at}")
            }
            Ok(other) => panic!("byte {at}: {other:?}"),
            Err(error) => assert_eq!(error.code, ErrorCode::NewerFormat, "byte {at}"),
        }
    }
    fs::remove_file(home.join("journal")).unwrap();
    assert!(
        matches!(look().unwrap().0, LedgerState::Lost(_)),
        "without the journal nobody knows"
    );
    let mut driver = root.driver();
    driver.revision = 9;
    let report = driver.observe(&state);
    let error = driver.try_apply(&state, plan(&state, &report)).unwrap_err();
    assert_eq!(error.code, ErrorCode::LedgerLost);

    copy(&kept, &home);
    fs::write(home.join(newest_file), b"").unwrap();
    fs::write(home.join(older_file), b"").unwrap();
    assert!(matches!(look().unwrap().0, LedgerState::Lost(_)));

    copy(&kept, &home);
    let text = String::from_utf8(fs::read(home.join(newest_file)).unwrap()).unwrap();
    fs::write(
        home.join(newest_file),
        text.replacen("plumb-ledger 1", "plumb-ledger 2", 1),
    )
    .unwrap();
    assert_eq!(look().unwrap_err().code, ErrorCode::NewerFormat);

    copy(&kept, &home);
    root.write("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    assert!(matches!(look().unwrap().0, LedgerState::Lost(why) if why.contains("clone")));
}

#[test]
fn leaves_nothing_behind_once_a_retired_host_is_given_back() {
    let root = Root::new();
    root.write("/etc/motd", "the admin's\n");
    let mut driver = root.driver();
    driver.converge(&State::new().with("file:/etc/motd", json!({"content": "ours\n"})));
    root.write("/var/lib/plumb/agents/0/plumb-agent", "program");
    driver.departure = plumb_api::frame::Departure::Leaves;
    let nothing = State::new();
    let report = driver.observe(&nothing);
    let report = driver.try_apply(&nothing, plan(&nothing, &report)).unwrap();
    assert_eq!(failures(&report), Vec::<String>::new());
    assert_eq!(root.read("/etc/motd"), "the admin's\n");
    assert!(!root.has("/var/lib/plumb"));
    assert!(root.has("/var/lib"));
}

#[test]
fn keeps_its_folder_while_something_is_not_given_back() {
    let root = Root::new();
    let mut driver = root.driver();
    let state = State::new().with("file:/etc/app/conf", json!({"content": "ours\n"}));
    driver.converge(&state);
    std::fs::remove_file(root.path("/etc/app/conf")).unwrap();
    root.write("/etc/app/conf/in-the-way", "");
    driver.departure = plumb_api::frame::Departure::Leaves;
    let nothing = State::new();
    let report = driver.observe(&nothing);
    let report = driver.try_apply(&nothing, plan(&nothing, &report)).unwrap();
    assert_eq!(failures(&report).len(), 1);
    assert!(root.has("/var/lib/plumb/holder"));
}

#[test]
fn what_a_moved_link_changes_is_told_and_put_right_by_the_next_run() {
    let root = Root::new();
    root.write("/srv/a/x", "ours\n");
    root.write("/srv/b/x", "the old release's\n");
    let state = |target: &str| {
        State::new()
            .with("link:/srv/current", json!({"target": target}))
            .with("file:/srv/current/x", json!({"content": "ours\n"}))
    };
    let mut driver = root.driver();
    driver.converge(&state("/srv/a").without("file:/srv/current/x"));
    driver.converge(&state("/srv/a"));
    let next = state("/srv/b");
    let report = driver.observe(&next);
    let report = driver.try_apply(&next, plan(&next, &report)).unwrap();
    let stopped = report.stopped.unwrap();
    assert!(stopped.message.contains("file:/srv/current/x"), "{stopped}");
    assert_eq!(driver.converge(&next), 1);
    assert_eq!(root.read("/srv/b/x"), "ours\n");
}
