//! How changes and failures spread.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_core::status::ConditionType::{Drifted, Reachable, Ready, Stalled, Synced};
use plumb_core::status::{ConditionType, HostStatus};
use tokio::time::Instant;

use super::fixture::{Fleet, is, not, reason};

#[tokio::test(start_paused = true)]
async fn a_push_comes_to_all_hosts_and_then_nothing_happens() {
    let fleet = Fleet::settled(&["a", "b", "c"]).await;
    for name in ["a", "b", "c"] {
        assert_eq!(fleet.motd(name).as_deref(), Some("one"));
    }
    let start = Instant::now();
    let commit = fleet.push(&["a", "b", "c"], "two").to_string();
    for name in ["a", "b", "c"] {
        let there = |status: &plumb_core::status::HostStatus| {
            status.revision.as_ref() == Some(&commit) && is(status, Ready)
        };
        fleet.until(name, "at the new commit", there).await;
        assert_eq!(fleet.motd(name).as_deref(), Some("two"));
        assert!(is(&fleet.status(name), Synced));
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );

    // A host in sync costs one exchange, and its state doesn't travel again.
    let (exchanges, whole) = {
        let a = fleet.machines.host("a");
        let a = a.lock().unwrap();
        (a.exchanges, a.whole_states)
    };
    fleet.look("a").await;
    let a = fleet.machines.host("a");
    let a = a.lock().unwrap();
    assert_eq!((a.exchanges, a.whole_states), (exchanges + 1, whole));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_off_holds_up_nobody_and_catches_up() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    fleet.machines.mood("a", |mood| mood.off = true);
    fleet.push(&["a", "b"], "two");
    fleet
        .until("b", "ready", |_| fleet.motd("b").as_deref() == Some("two"))
        .await;
    fleet
        .until("a", "unreachable", |status| not(status, Reachable))
        .await;
    assert!(!is(&fleet.status("a"), Ready));
    assert!(
        fleet.alerts().is_empty(),
        "an outage of a minute is nothing"
    );
    fleet.rest(16 * 60).await;
    assert_eq!(fleet.alerts(), ["PlumbHostUnreachable"]);
    fleet.machines.mood("a", |mood| mood.off = false);
    let caught_up =
        |status: &HostStatus| is(status, Ready) && fleet.motd("a").as_deref() == Some("two");
    fleet.until("a", "caught up", caught_up).await;
    fleet.rest(1).await;
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failing_host_is_tried_less_and_less_while_others_go_on() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    let error = AgentError::new(ErrorCode::NoSpace, "no room on /");
    fleet.machines.mood("b", |mood| mood.fails = Some(error));
    fleet.machines.meddle("b", "/etc/motd", "by hand");
    fleet.look("b").await;
    let applies = || fleet.machines.host("b").lock().unwrap().applies;
    let mut last = applies();
    let mut tries = Vec::new();
    for _ in 0..5 {
        fleet.rest(60).await;
        tries.push(applies() - last);
        last = applies();
    }
    assert!(tries[0] >= 4 && tries[4] <= 1, "{tries:?}");
    assert!(fleet.status("b").failures >= 4);
    assert_eq!(reason(&fleet.status("b"), Ready), "NoSpace");
    assert_eq!(reason(&fleet.status("b"), Drifted), "DriftRemains");
    assert_eq!(
        fleet.alerts(),
        ["PlumbHostDrifted", "PlumbHostReconcileFailing"]
    );

    // Being asked for again and again doesn't push it further away.
    let failures = fleet.status("b").failures;
    for _ in 0..10 {
        fleet.look("b").await;
    }
    assert!(fleet.status("b").failures <= failures + 1);
    fleet.machines.mood("b", |mood| mood.fails = None);
    fleet.look("b").await;
    fleet.until("b", "ready", |status| is(status, Ready)).await;
    assert_eq!(fleet.status("b").failures, 0);
    assert!(is(&fleet.status("a"), Ready));
}

#[tokio::test(start_paused = true)]
async fn a_failure_halts_the_rollout_until_it_heals_or_the_commit_changes() {
    let fleet = Fleet::settled(&["a", "b", "c"]).await;
    let error = AgentError::new(ErrorCode::ValidateFailed, "visudo doesn't accept it");
    fleet.machines.mood("a", |mood| mood.fails = Some(error));
    fleet.push(&["a", "b", "c"], "bad");
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    fleet.rest(60).await;
    assert_eq!(fleet.motd("b").as_deref(), Some("one"), "b is spared");
    assert_eq!(
        fleet.alerts(),
        ["PlumbHostReconcileFailing", "PlumbRolloutHalted"]
    );
    assert!(not(&fleet.status("b"), Synced) && is(&fleet.status("b"), Ready));
    for name in ["b", "c"] {
        let said = message(&fleet.status(name), Synced);
        assert!(
            said.contains("halted: a failed") && said.contains("visudo"),
            "{name} says what it waits for: {said}"
        );
    }

    // A commit that doesn't concern the failed host doesn't end the halt, drift is still corrected
    // to the last target.
    fleet.push(&["b"], "other");
    fleet.machines.meddle("c", "/etc/motd", "by hand");
    fleet.look("c").await;
    assert_eq!(fleet.motd("c").as_deref(), Some("one"));
    assert_eq!(fleet.motd("b").as_deref(), Some("one"));

    fleet.machines.mood("a", |mood| mood.fails = None);
    fleet.push(&["a"], "good");
    for (name, text) in [("a", "good"), ("b", "other"), ("c", "bad")] {
        fleet
            .until(name, "through", |status| {
                is(status, Ready) && fleet.motd(name).as_deref() == Some(text)
            })
            .await;
    }
    fleet.rest(1).await;
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_never_driven_says_by_whom_it_is_held_up() {
    let mut fleet = Fleet::new(&["a", "b"]);
    let error = AgentError::new(ErrorCode::Unsupported, "a sandbox has no packages");
    fleet.machines.mood("a", |mood| mood.fails = Some(error));
    fleet.start().await;
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    fleet.rest(5).await;
    let said = message(&fleet.status("b"), Ready);
    assert!(
        said.contains("halted: a failed") && said.contains("no packages"),
        "{said}"
    );
    fleet.machines.mood("a", |mood| mood.fails = None);
    fleet.look("a").await;
    for name in ["a", "b"] {
        fleet.until(name, "ready", |status| is(status, Ready)).await;
        assert!(!message(&fleet.status(name), Synced).contains("halted"));
    }
}

fn message(status: &HostStatus, kind: ConditionType) -> String {
    let condition = status.conditions.get(kind);
    condition.map(|c| c.message.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_host_lost_while_it_is_changed_halts() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    fleet.machines.mood("a", |mood| mood.breaks = true);
    fleet.push(&["a", "b"], "two");
    fleet
        .until("a", "lost", |status| not(status, Reachable))
        .await;
    fleet.rest(20).await;
    assert_eq!(fleet.motd("b").as_deref(), Some("one"));
    fleet.machines.mood("a", |mood| mood.breaks = false);
    fleet
        .until("b", "through", |_| {
            fleet.motd("b").as_deref() == Some("two")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_fails_one_host_and_never_the_loop() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    fleet.machines.mood("a", |mood| mood.panics = true);
    fleet.handle().reconcile(Vec::new()).await.unwrap();
    fleet
        .until("a", "crashed", |status| reason(status, Ready) == "Panicked")
        .await;
    assert!(is(&fleet.status("b"), Ready));
    fleet.machines.mood("a", |mood| mood.panics = false);
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    let panics = fleet
        .handle()
        .fleet()
        .metrics()
        .counters
        .into_iter()
        .find(|sample| {
            sample.name == "plumb_reconciles_total" && sample.labels["result"] == "panic"
        });
    assert!(panics.unwrap().value >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_newer_commit_is_taken_between_plans() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet
        .machines
        .mood("a", |mood| mood.slow = Duration::from_mins(5));
    fleet.push(&["a"], "two");
    fleet.rest(30).await;
    fleet.push(&["a"], "three");
    fleet.rest(30).await;
    assert_eq!(
        fleet.motd("a").as_deref(),
        Some("one"),
        "the plan in progress goes on"
    );
    fleet.rest(250).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    fleet.rest(310).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("three"));
}

#[tokio::test(start_paused = true)]
async fn waiting_is_no_failure() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    fleet
        .machines
        .mood("a", |mood| mood.waits = Some("cloud-init runs".to_owned()));
    fleet.push(&["a"], "two");
    fleet.rest(120).await;
    let status = fleet.status("a");
    assert_eq!(
        (reason(&status, Ready).as_str(), status.failures),
        ("Waiting", 0)
    );
    fleet.machines.mood("a", |mood| mood.waits = None);
    fleet.rest(15).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_hosts_are_no_different() {
    let names: Vec<String> = (0..400).map(|n| format!("h{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let started = std::time::Instant::now();
    let fleet = Fleet::settled(&names).await;
    let commit = fleet.push(&names, "two").to_string();
    for name in &names {
        let there = |s: &plumb_core::status::HostStatus| s.revision.as_ref() == Some(&commit);
        fleet.until(name, "through", there).await;
    }
    // Generous: what grows with the square of the hosts takes minutes here.
    let took = started.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
}
