use jiff::SignedDuration;

use super::*;
use crate::reason::ConditionReason;
use crate::rollout::{HostOutcome, Rollout, RolloutId};
use crate::status::{Condition, ConditionStatus, ConditionType, HostStatus};
use crate::view::CommitVerdict;
use jiff::Timestamp;
use plumb_api::Digest;
use plumb_api::report::Retry;

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
    reason: ConditionReason,
    when: i64,
) {
    status.conditions.set(Condition {
        kind,
        status: value,
        reason,
        message: format!("because {reason}").into(),
        observed_generation: None,
        last_transition_time: at(when),
    });
}

fn rules<'a>(fleet: Option<&'a str>, settings: &'a Settings, when: i64) -> Rules<'a> {
    Rules {
        fleet,
        settings,
        now: at(when),
    }
}

fn names(status: &HostStatus, when: i64) -> Vec<String> {
    let labels = BTreeMap::new();
    let host = HostSnapshot {
        status,
        labels: &labels,
    };
    let outlook = rules(None, &Settings::default(), when).of_host(host);
    outlook
        .firing
        .iter()
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
        ConditionReason::DriftHeld,
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
    let host = HostSnapshot {
        status: &status,
        labels: &labels,
    };
    let all = rules(Some("home"), &Settings::default(), 0)
        .of_host(host)
        .firing;
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
    assert!(
        !all[0].annotations.contains_key("runbook_url"),
        "nobody said where runbooks are"
    );
    let settings = Settings {
        runbooks: Some("https://runbooks.example/".to_owned()),
        ..Settings::default()
    };
    let named = rules(Some("home"), &settings, 0).of_host(host).firing;
    assert_eq!(
        named[0].annotations["runbook_url"],
        "https://runbooks.example/plumbhostdrifted"
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
        ConditionReason::Unreachable,
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
        ConditionReason::HostKeyMismatch,
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
        ConditionReason::ManifestInvalid,
        0,
    );
    assert!(names(&held, 59).is_empty());
    assert_eq!(names(&held, 60), ["PlumbHostHeld"]);

    let mut released = off.clone();
    set(
        &mut released,
        ConditionType::Synced,
        ConditionStatus::False,
        ConditionReason::Released,
        0,
    );
    assert_eq!(names(&released, 60), ["PlumbHostReleased"]);

    let mut suspended = failing.clone();
    set(
        &mut suspended,
        ConditionType::Suspended,
        ConditionStatus::True,
        ConditionReason::Suspended,
        0,
    );
    assert!(names(&suspended, 0).is_empty());
}

#[test]
fn held_commits_alert_at_once_unless_they_only_wait() {
    let held = |hold| HeldCommit {
        commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00".to_owned(),
        hold,
        verdict: CommitVerdict::Reject,
        reasons: Vec::new(),
        sentences: Vec::new(),
        codes: Vec::new(),
        because: "uncovered: no identity of the policy has signed it.".to_owned(),
        behind: 2,
        accepted: Some("5afe".repeat(10)),
        since: at(0),
    };
    let source = |hold, when| {
        let held = held(hold);
        rules(None, &Settings::default(), when).of_source(Some(&held), None)
    };
    let alarm = source(Hold::Alarm, 0).firing;
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
    let early = source(Hold::Waiting, 59);
    assert_eq!((early.firing.len(), early.next), (0, Some(at(60))));
    let waiting = source(Hold::Waiting, 60).firing;
    assert_eq!(waiting[0].labels["alertname"], "PlumbApprovalPending");
    assert_eq!(waiting[0].labels["severity"], "info");
}

#[test]
fn a_halt_says_who_failed() {
    let host: plumb_api::HostName = "a".parse().unwrap();
    let wants = Digest::of_bytes(b"2");
    let mut rollout = Rollout::new(RolloutId::default(), "r2".to_owned());
    rollout.assign(host.clone(), wants);
    let failed = HostOutcome::Failed {
        reason: "apt failed".to_owned(),
        retry: Retry::Stalled,
    };
    rollout.host_ended(&host, wants, failed, at(0));
    let all = rules(None, &Settings::default(), 0)
        .of_rollouts([&rollout])
        .firing;
    assert_eq!(all[0].labels["alertname"], "PlumbRolloutHalted");
    assert!(all[0].annotations["description"].starts_with("a: apt failed. The rollout resumes"));
}

fn scope() -> AlertScope {
    AlertScope::Source
}

fn drifted(message: &str) -> Vec<Firing> {
    vec![Firing {
        labels: BTreeMap::from([("alertname".to_owned(), "PlumbHostDrifted".to_owned())]),
        annotations: BTreeMap::from([("description".to_owned(), message.to_owned())]),
    }]
}

#[test]
fn active_alerts_keep_their_beginning_and_resolve_for_real() {
    let mut active = ActiveAlerts::default();
    let moved = active.update(&scope(), drifted("one file"), at(0));
    assert!(moved.is_news() && moved.began.len() == 1);
    let first = active.to_send("", at(0)).remove(0);
    assert_eq!((first.starts_at, first.ends_at), (at(0), at(4)));

    // Nothing new a minute later, but for how long it holds.
    assert!(
        active
            .update(&scope(), drifted("one file"), at(1))
            .is_empty()
    );
    let again = active.to_send("", at(1)).remove(0);
    assert_eq!((again.starts_at, again.ends_at), (at(0), at(5)));

    let moved = active.update(&scope(), drifted("two files"), at(2));
    assert!(!moved.is_news() && moved.changed.len() == 1);

    // A restart: the alerts are read back as they were stored.
    let key = moved.changed[0].clone();
    let kept = serde_json::to_string(active.get(&key).unwrap()).unwrap();
    let mut active = ActiveAlerts::load([(key, serde_json::from_str(&kept).unwrap())]);
    assert!(
        active
            .update(&scope(), drifted("two files"), at(30))
            .is_empty()
    );
    assert_eq!(active.to_send("", at(30))[0].starts_at, at(0));

    let moved = active.update(&scope(), Vec::new(), at(31));
    assert!(moved.is_news() && moved.resolved.len() == 1);
    for minute in 31..=46 {
        active.update(&scope(), Vec::new(), at(minute));
        let repeated = active.to_send("", at(minute));
        let ends_at = at(31) - SignedDuration::from_secs(5);
        assert_eq!(
            repeated[0].ends_at, ends_at,
            "in the past of a receiver whose clock is a little behind"
        );
    }
    assert_eq!(active.expire(at(46)).len(), 0);
    assert_eq!(active.expire(at(47)).len(), 1);
    assert!(active.to_send("", at(47)).is_empty());
}

#[test]
fn what_fires_again_begins_again() {
    let mut active = ActiveAlerts::default();
    active.update(&scope(), drifted("a"), at(0));
    active.update(&scope(), Vec::new(), at(5));
    active.update(&scope(), drifted("a"), at(6));
    let alert = active.to_send("", at(6)).remove(0);
    assert_eq!((alert.starts_at, alert.ends_at), (at(6), at(10)));
}

#[test]
fn alert_of_a_clock_that_was_ahead_begins_now() {
    let mut active = ActiveAlerts::default();
    active.update(&scope(), drifted("a"), at(8));
    let key = active.iter().next().unwrap().0.clone();
    // The clock is put right, and the controller starts again.
    let stored = active.get(&key).unwrap().clone();
    let mut active = ActiveAlerts::load([(key, stored)]);
    assert_eq!(active.to_send("", at(0))[0].starts_at, at(0));
    let moved = active.update(&scope(), drifted("a"), at(1));
    assert!(!moved.is_news() && moved.changed.len() == 1, "it is stored");
    assert_eq!(
        active.to_send("", at(2))[0].starts_at,
        at(1),
        "once for all"
    );
    active.update(&scope(), Vec::new(), at(3));
    let alert = active.to_send("", at(3)).remove(0);
    let ends_at = at(3) - SignedDuration::from_secs(5);
    assert_eq!((alert.starts_at, alert.ends_at), (at(1), ends_at));
}

#[test]
fn alert_that_is_resolved_at_once_does_not_end_before_it_begins() {
    let mut active = ActiveAlerts::default();
    active.update(&scope(), drifted("a"), at(1));
    active.update(&scope(), Vec::new(), at(1));
    let alert = active.to_send("", at(2)).remove(0);
    assert_eq!((alert.starts_at, alert.ends_at), (at(1), at(1)));
}
