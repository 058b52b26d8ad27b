//! Drift, and what corrects it.

use plumb_core::status::ConditionType::{Drifted, Ready, Synced};

use super::fixture::{Fleet, host, is, reason};

#[tokio::test(start_paused = true)]
async fn hosts_are_looked_at_again_without_being_asked() {
    let fleet = Fleet::settled(&["a"]).await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.rest(34 * 60).await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
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
    assert!(
        events
            .iter()
            .any(|event| event.reason.as_str() == "DriftCorrected")
    );

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
    assert!(resolved.ends_at >= resolved.starts_at && resolved.ends_at < alert.ends_at);
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
            .headline()
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
