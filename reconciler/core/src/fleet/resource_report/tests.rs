use std::collections::{BTreeMap, BTreeSet};

use plumb_api::frame::Delta;
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::report::{ErrorCode, Retry};

use super::*;
use crate::fleet::RunEnd;

fn planned(addresses: &[&str], leaving: &[&str]) -> Planned {
    let change = |(id, address): (u32, &&str)| Change {
        id: ChangeId(id),
        address: address.parse().unwrap(),
        op: Op::Update,
        cause: Cause::Intent,
        certainty: Certainty::Exact,
        fields: Vec::new(),
        consequences: Vec::new(),
        precondition: None,
        after: Vec::new(),
    };
    Planned {
        diffs: BTreeMap::new(),
        plan: Plan {
            target: Delta::digest_of([]),
            changes: (0..).zip(addresses).map(change).collect(),
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        refusal: None,
        held_drift: Vec::new(),
        problems: Vec::new(),
        blocked: Vec::new(),
        leaving: leaving
            .iter()
            .map(|a| a.parse().unwrap())
            .collect::<BTreeSet<_>>(),
        origins: BTreeMap::new(),
    }
}

fn results(planned: &Planned, outcomes: Vec<Outcome>) -> Vec<ChangeResult> {
    let changes = planned.plan.changes.iter();
    changes
        .zip(outcomes)
        .map(|(change, outcome)| ChangeResult {
            id: change.id,
            address: change.address.clone(),
            outcome,
        })
        .collect()
}

fn failed(code: ErrorCode, message: &str) -> Outcome {
    Outcome::Failed(AgentError::new(code, message).hint("mend it"))
}

#[test]
fn tells_each_failure_with_its_own_cause_and_what_waits() {
    let planned = planned(&["user:carol", "group:app", "file:/srv/homes/carol/x"], &[]);
    let results = results(
        &planned,
        vec![
            failed(ErrorCode::NoSpace, "the home can't be made"),
            failed(ErrorCode::NotFound, "no such member"),
            Outcome::Skipped(ChangeId(0)),
        ],
    );
    let report = ResourceReport::of(&planned, &results);
    let causes: Vec<_> = report
        .failing
        .iter()
        .map(|one| (one.resources.join(" "), one.reason, one.message.headline()))
        .collect();
    assert_eq!(
        causes,
        [
            (
                "user:carol".to_owned(),
                ConditionReason::NoSpace,
                "the home can't be made"
            ),
            (
                "group:app".to_owned(),
                ConditionReason::NotFound,
                "no such member"
            ),
        ]
    );
    assert_eq!(report.waiting[0].on, "user:carol");
    let RunEnd::Partly(failure) = RunEnd::of_changes(&planned, &results) else {
        panic!("two changes failed");
    };
    assert_eq!(
        failure.message.full_text(),
        "user:carol: the home can't be made\n1 more fails: group:app\nfile:/srv/homes/carol/x waits for user:carol\nmend it"
    );
}

#[test]
fn groups_hundreds_of_failures_that_are_alike() {
    let names: Vec<String> = (0..300).map(|n| format!("file:/srv/{n}.txt")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let planned = planned(&names, &[]);
    let outcomes = (0..300).map(|n| {
        failed(
            ErrorCode::NotFound,
            &format!("/srv/{n}.txt is to belong to the user `www`, which this host doesn't know"),
        )
    });
    let report = ResourceReport::of(&planned, &results(&planned, outcomes.collect()));
    assert_eq!(report.failing.len(), 1);
    assert_eq!(
        (report.failing[0].count, report.failing[0].resources.len()),
        (300, NAMED)
    );
    assert_eq!(
        report.message(&report.failing[0]).detail().unwrap(),
        "299 more fail: file:/srv/1.txt, file:/srv/2.txt, file:/srv/3.txt and 296 more"
    );
}

#[test]
fn settles_a_host_whose_only_failure_is_a_give_back() {
    let planned = planned(&["service:gone", "file:/etc/motd"], &["service:gone"]);
    let results = results(
        &planned,
        vec![
            failed(ErrorCode::NotFound, "systemd knows no unit gone.service"),
            Outcome::Applied,
        ],
    );
    assert_eq!(RunEnd::of_changes(&planned, &results), RunEnd::Settled);
    let report = ResourceReport::of(&planned, &results);
    assert!(report.failing.is_empty() && report.waiting.is_empty());
    assert_eq!(report.give_backs[0].0.to_string(), "service:gone");
}

#[test]
fn retries_soon_if_one_of_several_failures_only_waits() {
    let planned = planned(&["user:zed", "file:/etc/x"], &[]);
    let results = results(
        &planned,
        vec![
            failed(ErrorCode::Refused, "in the way"),
            failed(ErrorCode::InUse, "logged in"),
        ],
    );
    let RunEnd::Partly(failure) = RunEnd::of_changes(&planned, &results) else {
        panic!("two changes failed");
    };
    assert_eq!(failure.retry, Retry::Waiting);
    // Reason and message are of one failure.
    assert_eq!(failure.reason, ConditionReason::InUse);
    assert!(
        failure
            .message
            .headline()
            .starts_with("file:/etc/x: logged in")
            && failure.message.full_text().contains("user:zed"),
        "{}",
        failure.message
    );
}
