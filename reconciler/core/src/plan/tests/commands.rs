//! Commands in plans.

use plumb_api::resource::{CommandObserved, Guard};

use super::*;

fn with(text: &str, command: Value) -> HostIntent {
    intent(&[
        ("file:/etc/a", json!({"content": content(text)})),
        ("command:rebuild", command),
    ])
}

/// A host with the file, on which the command has run.
fn host(intent: &HostIntent) -> ModelHost {
    let mut host = ModelHost::default();
    host.has.insert(
        address("file:/etc/a"),
        Observed::File(FileObserved {
            file_type: FileType::File,
            content: Some(Content::of(b"1")),
            ..FileObserved::default()
        }),
    );
    for (address, resource) in intent.desired.resources() {
        host.ledger.insert(address.clone(), resource.spec().clone());
    }
    host
}

fn find(host: &mut ModelHost, guard: Guard, stale: bool) {
    host.has.insert(
        address("command:rebuild"),
        Observed::Command(CommandObserved { guard, stale }),
    );
}

#[test]
fn command_runs_after_change_of_its_input() {
    let refreshed = json!({"run": ["/bin/rebuild"], "refreshOn": ["file:/etc/a"]});
    let host = host(&with("1", refreshed.clone()));
    assert!(planned(&with("1", refreshed.clone()), &host).is_settled());
    let next = planned(&with("2", refreshed), &host);
    assert_eq!(
        lines(&next),
        [
            "update file:/etc/a intent exact",
            "run command:rebuild intent opaque"
        ]
    );
    let run = &next.plan.changes[1];
    assert_eq!(
        run.consequences,
        [Consequence::Runs("command rebuild".to_owned())]
    );
    assert_eq!((run.after.len(), run.precondition), (1, None));
}

#[test]
fn failed_command_stays_pending_and_is_no_drift() {
    let refreshed = json!({"run": ["/bin/rebuild"], "refreshOn": ["file:/etc/a"]});
    let mut intent = with("1", refreshed);
    let mut host = host(&intent);
    find(&mut host, Guard::Met, true);
    intent.drift.mode = DriftMode::Alert;
    assert_eq!(
        lines(&planned(&intent, &host)),
        ["run command:rebuild intent opaque"]
    );
}

#[test]
fn guard_that_the_host_moved_is_drift() {
    let guarded = json!({"run": ["/bin/rebuild"], "creates": "/var/lib/a"});
    let mut intent = with("1", guarded);
    let mut host = host(&intent);
    find(&mut host, Guard::Unmet, false);
    assert_eq!(
        lines(&planned(&intent, &host)),
        ["run command:rebuild drift exact"]
    );
    intent.drift.mode = DriftMode::Alert;
    let held = planned(&intent, &host);
    assert_eq!(lines(&held), Vec::<String>::new());
    assert_eq!(held.held_drift[0].fields[0].field, "guard");
}

#[test]
fn all_that_a_command_names_must_ask_for_a_run() {
    let both = json!({"run": ["/bin/x"], "creates": "/a", "refreshOn": ["file:/etc/a"]});
    let intent = with("1", both);
    let mut host = host(&intent);
    for (guard, stale, runs) in [
        (Guard::Unmet, true, 1),
        (Guard::Met, true, 0),
        (Guard::Unmet, false, 0),
    ] {
        find(&mut host, guard, stale);
        let count = planned(&intent, &host).plan.changes.len();
        assert_eq!(count, runs, "{guard:?} {stale}");
    }
}
