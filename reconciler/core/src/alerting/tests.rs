use jiff::SignedDuration;

use super::*;
use crate::rollout::{Candidate, Ended, Limits, Rollout};
use crate::status::{Condition, ConditionStatus, ConditionType, HostStatus};
use jiff::Timestamp;
use plumb_api::Digest;

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
}

fn status() -> HostStatus {
    HostStatus::new("linda".parse().unwrap())
}

fn set(
    status: &mut HostStatus,
    kind: ConditionType,
    value: ConditionStatus,
    reason: &str,
    when: i64,
) {
    status.conditions.set(Condition {
        kind,
        status: value,
        reason: reason.to_owned(),
        message: format!("because {reason}"),
        observed_generation: None,
        last_transition_time: at(when),
    });
}

fn names(status: &HostStatus, when: i64) -> Vec<String> {
    let labels = BTreeMap::new();
    let facts = Facts {
        fleet: None,
        hosts: vec![HostFacts {
            status,
            labels: &labels,
        }],
        held: None,
        unfounded: None,
        rollout: None,
    };
    let all = firing(&facts, &Settings::default(), at(when));
    all.iter()
        .map(|firing| firing.labels["alertname"].clone())
        .collect()
}

#[test]
fn labels_are_the_identity_and_fit_for_prometheus() {
    let mut status = status();
    set(
        &mut status,
        ConditionType::Drifted,
        ConditionStatus::True,
        "DriftHeld",
        0,
    );
    let labels = BTreeMap::from([
        ("site".to_owned(), "home".to_owned()),
        ("example.org/team-name".to_owned(), "infra".to_owned()),
        ("9lives".to_owned(), "yes".to_owned()),
        ("__name__".to_owned(), "x".to_owned()),
        ("severity".to_owned(), "mine".to_owned()),
        ("empty".to_owned(), String::new()),
    ]);
    let facts = Facts {
        fleet: Some("home"),
        hosts: vec![HostFacts {
            status: &status,
            labels: &labels,
        }],
        held: None,
        unfounded: None,
        rollout: None,
    };
    let all = firing(&facts, &Settings::default(), at(0));
    let shown: Vec<_> = all[0]
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        shown,
        [
            "_9lives=yes",
            "_name__=x",
            "alertname=PlumbHostDrifted",
            "example_org_team_name=infra",
            "fleet=home",
            "host=linda",
            "severity=warning",
            "site=home",
        ]
    );
    assert_eq!(
        all[0].annotations["runbook_url"],
        "https://plumb.dev/runbooks/plumbhostdrifted"
    );
    assert_eq!(all[0].annotations["description"], "because DriftHeld");
}

#[test]
fn hosts_alert_by_condition_and_time() {
    let mut off = status();
    set(
        &mut off,
        ConditionType::Reachable,
        ConditionStatus::False,
        "Unreachable",
        0,
    );
    off.failures = 9;
    assert!(names(&off, 14).is_empty());
    assert_eq!(names(&off, 15), ["PlumbHostUnreachable"]);

    let mut failing = status();
    failing.failures = 2;
    assert!(names(&failing, 0).is_empty());
    failing.failures = 3;
    assert_eq!(names(&failing, 0), ["PlumbHostReconcileFailing"]);

    let mut stalled = off.clone();
    set(
        &mut stalled,
        ConditionType::Stalled,
        ConditionStatus::True,
        "HostKeyMismatch",
        0,
    );
    assert_eq!(
        names(&stalled, 20),
        ["PlumbHostReconcileFailing"],
        "one alert, and at once"
    );

    let mut held = status();
    set(
        &mut held,
        ConditionType::Synced,
        ConditionStatus::False,
        "ManifestInvalid",
        0,
    );
    assert!(names(&held, 59).is_empty());
    assert_eq!(names(&held, 60), ["PlumbHostHeld"]);

    let mut released = off.clone();
    set(
        &mut released,
        ConditionType::Synced,
        ConditionStatus::False,
        "Released",
        0,
    );
    assert_eq!(names(&released, 60), ["PlumbHostReleased"]);

    let mut suspended = failing.clone();
    set(
        &mut suspended,
        ConditionType::Suspended,
        ConditionStatus::True,
        "Suspended",
        0,
    );
    assert!(names(&suspended, 0).is_empty());
}

#[test]
fn held_commits_alert_at_once_unless_they_only_wait() {
    let held = |hold| HeldCommit {
        commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00".to_owned(),
        hold,
        because: "uncovered: no identity of the policy has signed it.".to_owned(),
        behind: 2,
        accepted: Some("5afe".repeat(10)),
        since: at(0),
    };
    let facts = |hold| Facts {
        fleet: None,
        hosts: Vec::new(),
        held: Some(held(hold)),
        unfounded: None,
        rollout: None,
    };
    let alarm = firing(&facts(Hold::Alarm), &Settings::default(), at(0));
    assert_eq!(
        alarm[0].labels["alertname"],
        "PlumbCommitVerificationFailed"
    );
    assert_eq!(alarm[0].labels["severity"], "critical");
    assert_eq!(
        alarm[0].labels.len(),
        2,
        "another commit is still the same alert"
    );
    assert_eq!(
        alarm[0].annotations["description"],
        "uncovered: no identity of the policy has signed it. The fleet stays at 5afe5afe5afe. 2 more commits wait behind it."
    );
    assert!(firing(&facts(Hold::Waiting), &Settings::default(), at(59)).is_empty());
    let waiting = firing(&facts(Hold::Waiting), &Settings::default(), at(60));
    assert_eq!(waiting[0].labels["alertname"], "PlumbApprovalPending");
    assert_eq!(waiting[0].labels["severity"], "info");
}

#[test]
fn a_halt_says_who_failed() {
    let host: plumb_api::HostName = "a".parse().unwrap();
    let wants = Digest::of_bytes(b"2");
    let mut rollout = Rollout::default();
    rollout.lead_to("r2", &BTreeMap::from([(host.clone(), wants)]));
    let candidate = Candidate {
        host: host.clone(),
        wants,
        target: None,
    };
    rollout.assign(
        &[candidate],
        Limits {
            at_once: 1,
            failures: 1,
        },
    );
    rollout.ended(&host, wants, Ended::Failed("apt failed".to_owned()), at(0));
    let facts = Facts {
        fleet: None,
        hosts: Vec::new(),
        held: None,
        unfounded: None,
        rollout: Some(&rollout),
    };
    let all = firing(&facts, &Settings::default(), at(0));
    assert_eq!(all[0].labels["alertname"], "PlumbRolloutHalted");
    assert!(all[0].annotations["description"].starts_with("a: apt failed. It goes on"));
}

fn drifted(message: &str) -> Vec<Firing> {
    vec![Firing {
        labels: BTreeMap::from([("alertname".to_owned(), "PlumbHostDrifted".to_owned())]),
        annotations: BTreeMap::from([("description".to_owned(), message.to_owned())]),
    }]
}

#[test]
fn the_book_keeps_beginnings_and_resolves_for_real() {
    let mut book = Book::default();
    let moved = book.update(drifted("one file"), at(0));
    assert!(moved.is_news() && moved.began.len() == 1);
    let first = book.alerts("", at(0)).remove(0);
    assert_eq!((first.starts_at, first.ends_at), (at(0), at(4)));

    // Nothing new a minute later, but for how long it holds.
    assert!(book.update(drifted("one file"), at(1)).is_empty());
    let again = book.alerts("", at(1)).remove(0);
    assert_eq!((again.starts_at, again.ends_at), (at(0), at(5)));

    let moved = book.update(drifted("two files"), at(2));
    assert!(!moved.is_news() && moved.changed.len() == 1);

    // A restart of ours: the book is read back as it was kept.
    let key = moved.changed[0].clone();
    let kept = serde_json::to_string(book.get(&key).unwrap()).unwrap();
    let mut book = Book::load([(key, serde_json::from_str(&kept).unwrap())]);
    assert!(book.update(drifted("two files"), at(30)).is_empty());
    assert_eq!(book.alerts("", at(30))[0].starts_at, at(0));

    let moved = book.update(Vec::new(), at(31));
    assert!(moved.is_news() && moved.resolved.len() == 1);
    for minute in 31..=46 {
        book.update(Vec::new(), at(minute));
        let repeated = book.alerts("", at(minute));
        assert_eq!(repeated[0].ends_at, at(31), "resolved for real");
    }
    let moved = book.update(Vec::new(), at(47));
    assert_eq!(moved.dropped.len(), 1);
    assert!(book.alerts("", at(47)).is_empty());
}

#[test]
fn what_fires_again_begins_again() {
    let mut book = Book::default();
    book.update(drifted("a"), at(0));
    book.update(Vec::new(), at(5));
    book.update(drifted("a"), at(6));
    let alert = book.alerts("", at(6)).remove(0);
    assert_eq!((alert.starts_at, alert.ends_at), (at(6), at(10)));
}
