//! Changes that could cut the controller off are confirmed over a new connection, or put back.

use plumb_core::status::ConditionType::{Ready, Stalled};

use super::fixture::{Fleet, host, is, reason};

const RULE: &str = "/etc/sudoers.d/deploy";

/// Pushes a rule of sudo for the host a.
async fn rule(fleet: &Fleet, text: &str) {
    let more = format!("{{{RULE}: {{content: \"{text}\"}}, /etc/motd");
    let manifest = host("a", "one", "").replace("{/etc/motd", &more);
    fleet.repository.push(&[("hosts/a.yaml", &manifest)]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
}

#[tokio::test(start_paused = true)]
async fn new_connection_confirms_a_change() {
    let fleet = Fleet::settled(&["a"]).await;
    rule(&fleet, "all").await;
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    fleet.rest(3600).await;
    assert_eq!(fleet.machines.file("a", RULE).as_deref(), Some("all"));
    assert!(fleet.machines.host("a").lock().unwrap().armed.is_none());
}

#[tokio::test(start_paused = true)]
async fn change_that_cuts_off_is_not_tried_again_unattended() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.mood("a", |mood| mood.cuts_off = true);
    rule(&fleet, "none").await;
    fleet
        .until("a", "put back", |status| {
            reason(status, Ready) == "Reverted"
        })
        .await;
    assert!(is(&fleet.status("a"), Stalled));
    let status = fleet.status("a");
    let said = status.conditions.get(Ready).unwrap().message.full_text();
    assert!(
        said.contains("sudo doesn't let deploy run commands"),
        "{said}"
    );
    assert_eq!(fleet.machines.file("a", RULE), None);
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    let applies = || fleet.machines.host("a").lock().unwrap().applies;
    let tried = applies();
    fleet.rest(4 * 3600).await;
    assert_eq!(applies(), tried);
    assert_eq!(reason(&fleet.status("a"), Ready), "Reverted");

    // A person tries it again.
    fleet
        .handle()
        .reconcile(vec!["a".parse().unwrap()])
        .await
        .unwrap();
    fleet.rest(300).await;
    assert_eq!(applies(), tried + 1);
    assert_eq!(fleet.machines.file("a", RULE), None);

    // Another commit is another change.
    fleet.machines.mood("a", |mood| mood.cuts_off = false);
    rule(&fleet, "all").await;
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    assert_eq!(fleet.machines.file("a", RULE).as_deref(), Some("all"));
}
