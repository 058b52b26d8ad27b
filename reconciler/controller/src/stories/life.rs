//! Hosts that come, go and rest; stopping; telling.

use std::time::Duration;

use plumb_core::status::ConditionType::{Reachable, Ready, Stalled, Suspended, Synced};

use super::fixture::{Fleet, host, is, reason};

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

#[tokio::test(start_paused = true)]
async fn conditions_of_a_host_that_cant_be_worked_on_agree() {
    let mut fleet = Fleet::new(&["a", "b"]);
    fleet.machines.mood("a", |mood| mood.wrong_key = true);
    fleet.machines.mood("b", |mood| mood.off = true);
    fleet.start().await;
    fleet
        .until("a", "stalled", |status| is(status, Stalled))
        .await;
    fleet
        .until("b", "unreachable", |status| {
            reason(status, Reachable) == "Unreachable"
        })
        .await;
    fleet.rest(60).await;
    assert_eq!(reason(&fleet.status("a"), Synced), "HostKeyMismatch");
    assert_eq!(reason(&fleet.status("b"), Synced), "Unreachable");

    // Released: what was wrong when it was last tried says nothing of it any more.
    fleet.rest(1200).await;
    assert!(fleet.alerts().contains(&"PlumbHostUnreachable".to_owned()));
    fleet.repository.push(&[("hosts/b.yaml", "")]);
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    assert_eq!(reason(&fleet.status("b"), Synced), "Released");
    assert_eq!(reason(&fleet.status("b"), Reachable), "Released");
    let events = fleet.handle().events(None, 200);
    let resolved = events
        .iter()
        .find(|event| event.reason.as_str() == "AlertResolved")
        .unwrap();
    assert!(
        resolved.message.headline().contains("resolved: "),
        "{}",
        resolved.message
    );
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_run_that_the_controller_did_not_survive_are_recorded() {
    let mut fleet = Fleet::settled(&["a"]).await;
    fleet.machines.mood("a", |mood| mood.unheard = true);
    fleet.push(&["a"], "two");
    fleet.rest(1).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    fleet.kill().await;
    fleet.machines.mood("a", |mood| mood.unheard = false);
    fleet.start().await;
    fleet
        .until("a", "settled", |status| {
            is(status, Ready) && is(status, Synced)
        })
        .await;
    let events = fleet.handle().events(None, 200);
    let told = events
        .iter()
        .filter(|event| event.reason.as_str() == "Applied")
        .map(|event| event.message.headline());
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "1 change: file:/etc/motd",
            "made by an interrupted run: file:/etc/motd"
        ]
    );
}
