use std::time::Duration;

use plumb_api::Epoch;
use plumb_api::frame::TakeOver;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_core::status::ConditionType::{Drifted, Reachable, Ready, Stalled, Suspended, Synced};
use tokio::time::Instant;

use super::fixture::{Fleet, host, is, not, reason};

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
async fn hosts_are_looked_at_again_without_being_asked() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.rest(34 * 60).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
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
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
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
async fn drift_is_corrected_and_alerts_only_if_it_comes_again() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    assert_eq!(reason(&fleet.status("a"), Drifted), "DriftCorrected");
    assert!(fleet.alerts().is_empty() && is(&fleet.status("a"), Ready));
    let events = fleet.handle().events(Some(&"a".parse().unwrap()), 10);
    assert!(events.iter().any(|event| event.reason == "DriftCorrected"));

    fleet.machines.meddle("a", "/etc/motd", "again");
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    assert_eq!(fleet.alerts(), ["PlumbHostDrifted"]);
    let alert = fleet.receiver.last("PlumbHostDrifted").unwrap();
    assert_eq!(alert.labels["host"], "a");
    assert_eq!(alert.labels["site"], "home");
    fleet.look("a").await;
    assert!(fleet.alerts().is_empty());
    let resolved = fleet.receiver.last("PlumbHostDrifted").unwrap();
    assert!(resolved.ends_at > resolved.starts_at && resolved.ends_at < alert.ends_at);
}

#[tokio::test(start_paused = true)]
async fn drift_is_told_and_left_or_ignored_as_the_manifest_says() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    let told = host("a", "one", "  drift: {mode: alert}\n");
    let ignored = host("b", "one", "  drift: {mode: ignore}\n");
    fleet
        .repository
        .push(&[("hosts/a.yaml", &told), ("hosts/b.yaml", &ignored)]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    for name in ["a", "b"] {
        fleet.machines.meddle(name, "/etc/motd", "by hand");
        fleet.look(name).await;
        assert_eq!(fleet.motd(name).as_deref(), Some("by hand"));
    }
    assert_eq!(fleet.alerts(), ["PlumbHostDrifted"]);
    let a = fleet.status("a");
    assert_eq!(
        (reason(&a, Drifted), reason(&a, Ready)),
        ("DriftHeld".to_owned(), "Drifted".to_owned())
    );
    assert_eq!(a.differing, ["file:/etc/motd"]);
    assert!(is(&fleet.status("b"), Ready) && !is(&fleet.status("b"), Drifted));

    // New intent is applied in every mode.
    let told = host("a", "two", "  drift: {mode: alert}\n");
    fleet.repository.push(&[("hosts/a.yaml", &told)]);
    fleet.handle().notify().unwrap();
    fleet
        .until("a", "as desired", |status| is(status, Ready))
        .await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    fleet.rest(1).await;
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_targets_and_the_beginnings_of_alerts() {
    let mut fleet = Fleet::settled(&["a", "b"]).await;
    let told = host("a", "one", "  drift: {mode: alert}\n");
    fleet.repository.push(&[("hosts/a.yaml", &told)]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.look("a").await;
    let before = fleet.receiver.last("PlumbHostDrifted").unwrap();
    let epoch = fleet.handle().fleet().epoch;
    fleet.stop().await;
    let posts = fleet.receiver.count();
    fleet.rest(120).await;
    assert_eq!(
        fleet.receiver.count(),
        posts,
        "nothing is said by a controller that is off"
    );

    fleet.start().await;
    fleet.rest(5).await;
    let after = fleet.receiver.last("PlumbHostDrifted").unwrap();
    assert_eq!(after.starts_at, before.starts_at);
    assert!(after.ends_at > before.ends_at);
    assert_eq!(fleet.handle().fleet().epoch, epoch + 1);
    assert_eq!(
        fleet.machines.host("a").lock().unwrap().whole_states,
        2,
        "once to look, once to drive"
    );
    fleet.machines.meddle("a", "/etc/motd", "one");
    fleet.look("a").await;
    assert!(fleet.alerts().is_empty());
    let resolved = fleet.receiver.last("PlumbHostDrifted").unwrap();
    assert!(resolved.ends_at < after.ends_at);
}

#[tokio::test(start_paused = true)]
async fn a_killed_controller_goes_on_where_it_was() {
    let mut fleet = Fleet::settled(&["a", "b", "c"]).await;
    fleet
        .machines
        .mood("a", |mood| mood.slow = Duration::from_mins(1));
    let commit = fleet.push(&["a", "b", "c"], "two").to_string();
    fleet.rest(10).await;
    fleet.kill().await;
    fleet.start().await;
    for name in ["a", "b", "c"] {
        fleet
            .until(name, "through", |status| {
                is(status, Ready) && status.revision.as_ref() == Some(&commit)
            })
            .await;
        assert_eq!(fleet.motd(name).as_deref(), Some("two"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_changes_nothing_before_hosts_were_asked() {
    let mut fleet = Fleet::settled(&["a", "b"]).await;
    // The rollout of the second commit halts at a; b stays at the first.
    let error = AgentError::new(ErrorCode::ValidateFailed, "no");
    fleet.machines.mood("a", |mood| mood.fails = Some(error));
    fleet.push(&["a", "b"], "two");
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    fleet.stop().await;
    fleet.store.wipe();
    fleet.machines.meddle("b", "/etc/motd", "by hand");
    fleet
        .machines
        .mood("b", |mood| mood.waits = Some("cloud-init runs".to_owned()));
    let holder = fleet
        .machines
        .host("b")
        .lock()
        .unwrap()
        .holder
        .clone()
        .unwrap();
    fleet.settings.take_over = TakeOver::Yes;
    fleet.start().await;
    fleet.rest(5).await;
    let b = fleet.status("b");
    assert_eq!(reason(&b, Ready), "Waiting");
    assert_eq!(
        fleet
            .machines
            .host("b")
            .lock()
            .unwrap()
            .holder
            .clone()
            .unwrap()
            .0,
        holder.0,
        "it was only looked at"
    );
    fleet.machines.mood("b", |mood| mood.waits = None);
    fleet
        .until("b", "taken over", |_| {
            fleet
                .machines
                .host("b")
                .lock()
                .unwrap()
                .holder
                .clone()
                .unwrap()
                .0
                != holder.0
        })
        .await;
    fleet
        .until("b", "as it was", |_| {
            fleet.motd("b").is_some_and(|motd| motd != "by hand")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_host_of_a_newer_controller_is_left_alone() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    {
        let a = fleet.machines.host("a");
        let mut a = a.lock().unwrap();
        a.holder = Some(("somebody".parse().unwrap(), Epoch(9)));
    }
    let applies = fleet.machines.host("a").lock().unwrap().applies;
    let commit = fleet.push(&["a", "b"], "two").to_string();
    fleet
        .until("a", "superseded", |status| {
            reason(status, Stalled) == "Superseded"
        })
        .await;
    fleet
        .until("b", "through", |status| {
            status.revision.as_ref() == Some(&commit)
        })
        .await;
    fleet.rest(3600).await;
    assert_eq!(fleet.machines.host("a").lock().unwrap().applies, applies);
    assert_eq!(fleet.alerts(), ["PlumbHostReconcileFailing"]);
}

#[tokio::test(start_paused = true)]
async fn taking_over_surpasses_the_highest_epoch() {
    let mut fleet = Fleet::new(&["a"]);
    {
        let a = fleet.machines.host("a");
        let mut a = a.lock().unwrap();
        a.holder = Some(("somebody".parse().unwrap(), Epoch(9)));
    }
    fleet.settings.take_over = TakeOver::Yes;
    fleet.start().await;
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    let holder = fleet
        .machines
        .host("a")
        .lock()
        .unwrap()
        .holder
        .clone()
        .unwrap();
    assert_eq!(holder.1, Epoch(10));
    assert_eq!(fleet.handle().fleet().epoch, 10);
}

#[tokio::test(start_paused = true)]
async fn a_lost_ledger_and_a_rewound_one_change_nothing() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    fleet.machines.host("a").lock().unwrap().lost = Some("it is of another machine".to_owned());
    fleet.machines.host("b").lock().unwrap().sequence = 0;
    for name in ["a", "b"] {
        fleet.machines.meddle(name, "/etc/motd", "by hand");
    }
    fleet.machines.host("b").lock().unwrap().sequence += 1;
    fleet.push(&["a", "b"], "two");
    fleet
        .until("a", "stalled", |status| {
            reason(status, Stalled) == "LedgerLost"
        })
        .await;
    assert_eq!(fleet.motd("a").as_deref(), Some("by hand"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_put_back_to_an_earlier_state_is_left_until_that_is_accepted() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.push(&["a"], "two");
    fleet
        .until("a", "through", |status| {
            is(status, Ready) && fleet.motd("a").as_deref() == Some("two")
        })
        .await;
    fleet.machines.host("a").lock().unwrap().sequence = 1;
    fleet.machines.meddle("a", "/etc/motd", "one");
    fleet.look("a").await;
    assert_eq!(reason(&fleet.status("a"), Stalled), "LedgerRewound");
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    fleet.handle().forget("a".parse().unwrap()).await.unwrap();
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_ran_what_nobody_accepted_is_left_alone() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.host("a").lock().unwrap().revision =
        Some(plumb_api::frame::RevisionMark("f".repeat(40)));
    fleet.push(&["a"], "two");
    fleet
        .until("a", "stalled", |status| {
            reason(status, Stalled) == "OffVerifiedChain"
        })
        .await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    fleet.rest(1).await;
    assert!(
        fleet
            .alerts()
            .contains(&"PlumbHostReconcileFailing".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_stalls_and_says_what_to_do() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.mood("a", |mood| mood.wrong_key = true);
    fleet.handle().reconcile(Vec::new()).await.unwrap();
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    let status = fleet.status("a");
    let stalled = status.conditions.get(Stalled).unwrap();
    assert!(
        stalled.message.contains("plumb enroll a"),
        "{}",
        stalled.message
    );
    fleet.rest(1).await;
    assert_eq!(fleet.alerts(), ["PlumbHostReconcileFailing"]);
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
async fn hosts_come_and_go() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    // Gone from git: released, untouched, spoken of until it is forgotten.
    fleet.repository.push(&[("hosts/b.yaml", "")]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    assert_eq!(reason(&fleet.status("b"), Synced), "Released");
    assert_eq!(fleet.alerts(), ["PlumbHostReleased"]);
    assert_eq!(fleet.motd("b").as_deref(), Some("one"));
    fleet.handle().forget("b".parse().unwrap()).await.unwrap();
    fleet.rest(1).await;
    assert!(fleet.handle().host(&"b".parse().unwrap()).is_none() && fleet.alerts().is_empty());
    let unknown = fleet.handle().reconcile(vec!["b".parse().unwrap()]).await;
    assert_eq!(unknown.unwrap_err().to_string(), "the fleet has no host b");

    // Retired: what was made is taken back.
    let retired = host("a", "one", "  state: retired\n");
    fleet.repository.push(&[("hosts/a.yaml", &retired)]);
    fleet.handle().notify().unwrap();
    fleet
        .until("a", "taken back", |status| {
            is(status, Ready) && fleet.motd("a").is_none()
        })
        .await;

    // A new one.
    let new = host("c", "new", "");
    fleet.repository.push(&[("hosts/c.yaml", &new)]);
    fleet.handle().notify().unwrap();
    fleet.until("c", "there", |status| is(status, Ready)).await;
    assert_eq!(fleet.motd("c").as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_kept_and_ends() {
    let fleet = Fleet::settled(&["a", "b"]).await;
    let paused = host(
        "a",
        "two",
        "  suspend: {reason: moving house, until: 2025-10-09T10:00:00Z}\n",
    );
    fleet.repository.push(&[("hosts/a.yaml", &paused)]);
    fleet.handle().notify().unwrap();
    fleet
        .until("a", "paused", |status| is(status, Suspended))
        .await;
    fleet.rest(600).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    // The story begins on 2025-10-09 at 08:53:20.
    fleet.rest(4000).await;
    fleet
        .until("a", "driven again", |status| is(status, Ready))
        .await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert!(!is(&fleet.status("a"), Suspended));
}

#[tokio::test(start_paused = true)]
async fn a_bad_manifest_holds_its_host_at_what_it_was_and_nobody_else() {
    let mut fleet = Fleet::settled(&["a", "b"]).await;
    let bad = host("a", "two", "  nonsense: true\n");
    let good = host("b", "two", "");
    fleet
        .repository
        .push(&[("hosts/a.yaml", &bad), ("hosts/b.yaml", &good)]);
    fleet.handle().notify().unwrap();
    fleet
        .until("b", "through", |status| {
            is(status, Ready) && fleet.motd("b").as_deref() == Some("two")
        })
        .await;
    let a = fleet.status("a");
    assert_eq!(reason(&a, Synced), "ManifestInvalid");
    assert!(
        a.conditions
            .get(Synced)
            .unwrap()
            .message
            .contains("hosts/a.yaml:")
    );
    assert!(is(&a, Ready));

    // A restarted controller still corrects drift on it.
    fleet.stop().await;
    fleet.start().await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.rest(5).await;
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    assert!(fleet.alerts().is_empty());
    fleet.rest(3700).await;
    assert_eq!(fleet.alerts(), ["PlumbHostHeld"]);
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_bounded_and_draining_waits() {
    let names: Vec<String> = (0..20).map(|n| format!("h{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fleet = Fleet::new(&names);
    fleet.settings.concurrency = 4;
    for name in &names {
        fleet
            .machines
            .mood(name, |mood| mood.slow = Duration::from_secs(5));
    }
    fleet.start().await;
    for name in &names {
        fleet.until(name, "ready", |status| is(status, Ready)).await;
    }
    assert_eq!(fleet.machines.most(), 4);
    fleet.push(&names, "two");
    fleet.rest(8).await;
    fleet.stop().await;
    let done = names
        .iter()
        .filter(|name| fleet.motd(name).as_deref() == Some("two"))
        .count();
    assert!(
        (2..=8).contains(&done),
        "what ran came to its end, nothing new began: {done}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_that_is_off_gets_everything_later() {
    let fleet = Fleet::settled(&["a"]).await;
    *fleet.receiver.down.lock().unwrap() = true;
    fleet.machines.mood("a", |mood| mood.wrong_key = true);
    fleet.handle().reconcile(Vec::new()).await.unwrap();
    fleet.rest(180).await;
    assert_eq!(fleet.receiver.count(), 0);
    *fleet.receiver.down.lock().unwrap() = false;
    fleet.rest(10).await;
    let first = fleet.receiver.last("PlumbHostReconcileFailing").unwrap();
    fleet.rest(120).await;
    assert!(fleet.receiver.count() >= 3, "it is sent again each minute");
    let again = fleet.receiver.last("PlumbHostReconcileFailing").unwrap();
    assert_eq!(again.starts_at, first.starts_at);
    assert_eq!(again.labels, first.labels);
}
