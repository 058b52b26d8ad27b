//! Who drives which host, and what is remembered.

use std::time::Duration;

use plumb_api::Epoch;
use plumb_api::frame::TakeOver;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_core::status::ConditionType::{Ready, Stalled};

use super::fixture::{Fleet, host, is, reason};

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
            .contains(&"PlumbHostOffVerifiedChain".to_owned())
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
        stalled.message.full_text().contains("plumb enroll a"),
        "{}",
        stalled.message
    );
    fleet.rest(1).await;
    assert_eq!(fleet.alerts(), ["PlumbHostReconcileFailing"]);

    // A commit is what a stalled host waits for: it is tried at once.
    fleet.machines.mood("a", |mood| mood.wrong_key = false);
    fleet.push(&["a"], "two");
    fleet.rest(3).await;
    assert!(is(&fleet.status("a"), Ready));
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn a_signed_rollback_leads_hosts_back_across_a_restart_and_late() {
    let mut fleet = Fleet::settled(&["a", "b"]).await;
    let first = fleet.handle().fleet().source.accepted.unwrap();
    let through = async |fleet: &Fleet, name: &str, commit: &str| {
        let at = |status: &plumb_core::status::HostStatus| {
            is(status, Ready) && status.revision.as_deref() == Some(commit)
        };
        fleet.until(name, "through", at).await;
    };
    let second = fleet.push(&["a", "b"], "two").to_string();
    for name in ["a", "b"] {
        through(&fleet, name, &second).await;
    }
    // b is away while the fleet goes back, and while it goes back once more.
    fleet.machines.mood("b", |mood| mood.off = true);
    fleet.look("a").await;
    let back = |text: &str| {
        [
            ("hosts/a.yaml", host("a", text, "")),
            ("hosts/b.yaml", host("b", text, "")),
        ]
    };
    let roll_back = |fleet: &Fleet, to: &str, text: &str| {
        let files = back(text);
        let files: Vec<_> = files.iter().map(|(p, t)| (*p, t.as_str())).collect();
        let commit = fleet.repository.roll_back(to.parse().unwrap(), &files);
        fleet.handle().notify().unwrap();
        commit.to_string()
    };
    let third = roll_back(&fleet, &first, "three");
    through(&fleet, "a", &third).await;
    assert_eq!(fleet.machines.host("a").lock().unwrap().rolled_back, 1);
    fleet.stop().await;
    fleet.start().await;
    let fourth = roll_back(&fleet, &first, "four");
    through(&fleet, "a", &fourth).await;
    assert_eq!(fleet.machines.host("a").lock().unwrap().rolled_back, 2);
    fleet.machines.mood("b", |mood| mood.off = false);
    through(&fleet, "b", &fourth).await;
    assert_eq!(fleet.motd("b").as_deref(), Some("four"));
    assert_eq!(fleet.machines.host("b").lock().unwrap().rolled_back, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_and_a_branch_that_was_set_back_hold_each_host_with_an_alarm() {
    let mut fleet = Fleet::settled(&["a", "b"]).await;
    let first = fleet.handle().fleet().source.accepted.unwrap();
    let second = fleet.push(&["a"], "two").to_string();
    fleet
        .until("a", "through", |status| {
            is(status, Ready) && status.revision.as_ref() == Some(&second)
        })
        .await;
    fleet.stop().await;
    fleet.store.wipe();
    fleet.repository.reset(first.parse().unwrap());
    fleet.settings.take_over = TakeOver::Yes;
    fleet.start().await;
    fleet
        .until("a", "held", |status| {
            reason(status, Stalled) == "WouldGoBack"
        })
        .await;
    fleet.until("b", "ready", |status| is(status, Ready)).await;
    fleet.rest(5).await;
    assert_eq!(
        fleet.handle().fleet().source.accepted,
        Some(first),
        "verified anew from the introduction"
    );
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert_eq!(fleet.alerts(), ["PlumbHostOffVerifiedChain"]);
    let alert = fleet.receiver.last("PlumbHostOffVerifiedChain").unwrap();
    assert_eq!(alert.labels["severity"], "critical");
    assert_eq!(alert.labels["host"], "a");

    // Somebody else's commit: it is on no branch that is known here.
    fleet.machines.host("b").lock().unwrap().revision =
        Some(plumb_api::frame::RevisionMark("6f1c0c9e".repeat(5)));
    fleet.look("b").await;
    assert_eq!(reason(&fleet.status("b"), Stalled), "OffVerifiedChain");
    let applies = fleet.machines.host("b").lock().unwrap().applies;
    fleet.machines.meddle("b", "/etc/motd", "by hand");
    fleet.look("b").await;
    assert_eq!(fleet.machines.host("b").lock().unwrap().applies, applies);

    // The branch comes back: what a ran is on it again.
    fleet.repository.reset(second.parse().unwrap());
    fleet.handle().notify().unwrap();
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    assert_eq!(fleet.handle().fleet().source.accepted, Some(second));
}
