use std::time::Duration;

use plumb_core::ports::SourceError;
use plumb_core::status::ConditionType::{Ready, SourceVerified};
use plumb_trust::{KeyName, Revocations};

use super::fixture::{Fleet, host, is};

#[tokio::test(start_paused = true)]
async fn an_unsigned_commit_is_held_and_alerts_at_once() {
    let fleet = Fleet::settled(&["a"]).await;
    let accepted = fleet.handle().fleet().source.accepted.unwrap();
    let bad = fleet
        .repository
        .commit(&[("hosts/a.yaml", &host("a", "evil", ""))]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    let source = fleet.handle().fleet().source;
    assert_eq!(source.accepted.as_ref(), Some(&accepted));
    assert_eq!(source.held.as_ref().unwrap().commit, bad.to_string());
    let told = fleet.handle().fleet().revisions;
    let told = told.iter().find(|view| view.commit == bad.to_string());
    let summary = &told.unwrap().summary;
    assert!(
        summary.starts_with("change "),
        "it is to be recognised: {summary:?}"
    );
    assert!(!source.conditions.is_true(SourceVerified) && source.conditions.is_true(Ready));
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    let alert = fleet
        .receiver
        .last("PlumbCommitVerificationFailed")
        .unwrap();
    assert_eq!(alert.labels["severity"], "critical");
    assert_eq!(alert.annotations["revision"], bad.to_string());
    assert!(!alert.annotations["description"].contains("evil"));
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));

    // A good commit on top doesn't launder it, and drift is still corrected to what is accepted.
    fleet.push(&["a"], "good");
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.rest(1).await;
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    assert_eq!(
        fleet.handle().fleet().source.held.unwrap().commit,
        bad.to_string()
    );
    assert_eq!(fleet.handle().fleet().source.held.unwrap().behind, 1);

    // Approved after all: both are driven, and the alert is resolved for real.
    fleet.repository.bless(bad);
    fleet.handle().notify().unwrap();
    fleet
        .until("a", "through", |status| {
            is(status, Ready) && fleet.motd("a").as_deref() == Some("good")
        })
        .await;
    fleet.rest(1).await;
    assert!(fleet.alerts().is_empty());
    let resolved = fleet
        .receiver
        .last("PlumbCommitVerificationFailed")
        .unwrap();
    assert!(resolved.ends_at < alert.ends_at);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_set_back_is_refused_across_a_restart() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let first = fleet.handle().fleet().source.accepted.unwrap();
    let second = fleet.push(&["a"], "two").to_string();
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second)
        })
        .await;
    fleet.repository.reset(first.parse().unwrap());
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    assert_eq!(
        fleet.handle().fleet().source.accepted.as_ref(),
        Some(&second)
    );
    fleet.stop().await;
    fleet.start().await;
    fleet.rest(5).await;
    assert_eq!(
        fleet.handle().fleet().source.accepted.as_ref(),
        Some(&second)
    );
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_off_is_a_condition_and_hosts_are_driven_on() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let down = SourceError::Unreachable {
        source_url: "ssh://git.fleet.example/fleet.git".to_owned(),
        reason: "connection refused".to_owned(),
    };
    fleet.repository.go_down(Some(down));
    fleet.rest(300).await;
    let source = fleet.handle().fleet().source;
    let ready = source.conditions.get(Ready).unwrap();
    assert_eq!(ready.reason.as_str(), "Unreachable");
    let fetches = fleet.repository.fetches();
    fleet.rest(600).await;
    assert!(
        fleet.repository.fetches() - fetches <= 6,
        "less and less often"
    );

    // A restart without the repository drives on from what was accepted.
    fleet.stop().await;
    fleet.start().await;
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.rest(5).await;
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));

    fleet.repository.go_down(None);
    fleet.push(&["a"], "two");
    fleet
        .until("a", "through", |_| {
            fleet.motd("a").as_deref() == Some("two")
        })
        .await;
    assert!(fleet.handle().fleet().source.conditions.is_true(Ready));
    let reasons: Vec<_> = fleet
        .handle()
        .events(None, 100)
        .into_iter()
        .map(|e| e.reason.to_string())
        .collect();
    assert!(reasons.contains(&"FetchFailed".to_owned()), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_does_not_move_is_not_loaded_again() {
    let fleet = Fleet::settled(&["a"]).await;
    let loads = fleet.repository.loads();
    fleet.rest(1800).await;
    assert_eq!(fleet.repository.loads(), loads);
    let fetches = fleet.repository.fetches();
    assert!(
        (28..=36).contains(&fetches),
        "{fetches} polls in half an hour"
    );
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        fleet.handle().notify().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        fleet.repository.fetches() - fetches <= 3,
        "a burst of hooks is one look or two"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_hold_goes_on_firing_while_the_branch_cannot_be_seen() {
    let mut fleet = Fleet::settled(&["a"]).await;
    fleet
        .repository
        .commit(&[("hosts/a.yaml", &host("a", "evil", ""))]);
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    let before = fleet
        .receiver
        .last("PlumbCommitVerificationFailed")
        .unwrap();
    fleet.stop().await;
    fleet.repository.go_down(Some(SourceError::Closed));
    fleet.start().await;
    fleet.rest(120).await;
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    let after = fleet
        .receiver
        .last("PlumbCommitVerificationFailed")
        .unwrap();
    assert_eq!(after.starts_at, before.starts_at);
    assert!(after.ends_at > before.ends_at);
    fleet.repository.go_down(None);
    fleet.repository.reset(
        fleet
            .handle()
            .fleet()
            .source
            .accepted
            .unwrap()
            .parse()
            .unwrap(),
    );
    // The wait between looks has grown meanwhile; the longest is a quarter of an hour.
    fleet.rest(1200).await;
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_driven_from_a_floor_that_cannot_be_kept() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let first = fleet.handle().fleet().source.accepted.unwrap();
    fleet.store.fill();
    let second = fleet.push(&["a"], "two");
    fleet.rest(300).await;
    let source = fleet.handle().fleet().source;
    assert_eq!(source.accepted.as_ref(), Some(&first));
    let verified = source.conditions.get(SourceVerified).unwrap();
    assert_eq!(verified.reason.as_str(), "NotKept");
    assert!(
        verified.message.contains("no space left"),
        "{}",
        verified.message
    );
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    let told = |fleet: &Fleet| {
        let events = fleet.handle().events(None, 100);
        events
            .iter()
            .filter(|e| e.reason.as_str() == "StoreFailed")
            .count()
    };
    assert_eq!(
        told(&fleet),
        1,
        "it is told once, however often it is tried"
    );
    // Drift is still corrected to what was accepted before.
    fleet.machines.meddle("a", "/etc/motd", "by hand");
    fleet.look("a").await;
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));
    fleet.store.clear_up();
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second.to_string())
        })
        .await;
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert!(
        fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    fleet.kill().await;
    fleet.repository.reset(first.parse().unwrap());
    fleet.start().await;
    fleet.rest(5).await;
    assert_eq!(
        fleet.handle().fleet().source.accepted,
        Some(second.to_string()),
        "it was kept before it was driven"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_revoked_on_this_machine_without_a_restart() {
    let fleet = Fleet::settled(&["a"]).await;
    let key = "SHA256:uNiVztksCsDhcc0u9e8BrrSB1pC1FRPnY3U2VW3e0c8";
    let mut revoked = Revocations::default();
    revoked.insert(key.parse().unwrap());
    *fleet.revoked.lock().unwrap() = Ok(revoked.clone());
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    assert_eq!(fleet.handle().fleet().source.revoked, [key]);
    assert_eq!(
        fleet.repository.told_revoked(),
        revoked,
        "whoever judges is told"
    );
    let events = fleet.handle().events(None, 100);
    assert!(
        events
            .iter()
            .any(|e| e.reason.as_str() == "KeyRevoked" && e.message.contains(key))
    );

    // A file that can't be read may name the key that signed the next commit.
    *fleet.revoked.lock().unwrap() = Err("the file thief.asc can't be read".to_owned());
    let second = fleet.push(&["a"], "two");
    fleet.rest(200).await;
    let source = fleet.handle().fleet().source;
    let verified = source.conditions.get(SourceVerified).unwrap().clone();
    assert_eq!(verified.reason.as_str(), "RevocationsUnreadable");
    assert!(
        verified.message.contains("thief.asc"),
        "{}",
        verified.message
    );
    assert_ne!(source.accepted, Some(second.to_string()));
    assert_eq!(source.revoked, [key], "what was revoked stays so");
    assert_eq!(fleet.motd("a").as_deref(), Some("one"));

    *fleet.revoked.lock().unwrap() = Ok(revoked);
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second.to_string())
        })
        .await;
    assert!(
        fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_revoked_when_its_tag_goes_while_nobody_looks() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let key: KeyName = "SHA256:I+V3AoHAkCS9K+icDSXFKTl4Lv+LXRtvARNmHdmerWg"
        .parse()
        .unwrap();
    let told = |fleet: &Fleet, reason: &str| {
        let events = fleet.handle().events(None, 100);
        let about = |e: &&plumb_core::view::EventRecord| {
            e.reason.as_str() == reason && e.message.contains(&key.to_string())
        };
        events.iter().filter(about).count()
    };
    fleet.repository.revoke(std::slice::from_ref(&key));
    fleet.handle().notify().unwrap();
    fleet.rest(1).await;
    assert_eq!(told(&fleet, "KeyRevoked"), 1);
    assert_eq!(told(&fleet, "RevokeTagGone"), 0);

    // The tag is still there after a restart: nothing is new.
    fleet.stop().await;
    fleet.start().await;
    fleet.rest(5).await;
    assert_eq!(told(&fleet, "KeyRevoked"), 1);
    assert_eq!(told(&fleet, "RevokeTagGone"), 0);
    let before = fleet.repository.told_revoked_before();
    assert!(before.contains(&key), "whoever judges is told");

    fleet.stop().await;
    fleet.repository.revoke(&[]);
    fleet.start().await;
    fleet.rest(5).await;
    assert_eq!(told(&fleet, "RevokeTagGone"), 1);
    assert!(fleet.repository.told_revoked_before().contains(&key));
    assert_eq!(
        fleet.handle().fleet().source.revoked_by_tags,
        [key.to_string()]
    );
    // While it runs it isn't said again, nor where a branch that was set back lets no tag be looked at.
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    let accepted = fleet.handle().fleet().source.accepted.unwrap();
    let second = fleet.push(&["a"], "two");
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second.to_string())
        })
        .await;
    fleet.repository.reset(accepted.parse().unwrap());
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    assert!(
        !fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    assert_eq!(told(&fleet, "RevokeTagGone"), 1);

    // Where this machine's configuration takes it away, no tag has to.
    fleet.repository.reset(second);
    fleet.stop().await;
    *fleet.revoked.lock().unwrap() = Ok(std::iter::once(key.clone()).collect());
    fleet.start().await;
    fleet.rest(5).await;
    assert_eq!(told(&fleet, "RevokeTagGone"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_set_back_says_nothing_of_tags_at_a_start() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let first = fleet.handle().fleet().source.accepted.unwrap();
    let key: KeyName = "SHA256:I+V3AoHAkCS9K+icDSXFKTl4Lv+LXRtvARNmHdmerWg"
        .parse()
        .unwrap();
    fleet.repository.revoke(std::slice::from_ref(&key));
    let second = fleet.push(&["a"], "two");
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second.to_string())
        })
        .await;
    fleet.stop().await;
    fleet.repository.reset(first.parse().unwrap());
    fleet.start().await;
    fleet.rest(5).await;
    assert!(
        !fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    let events = fleet.handle().events(None, 100);
    assert!(
        !events.iter().any(|e| e.reason.as_str() == "RevokeTagGone"),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_revoked_though_that_cant_be_kept() {
    let fleet = Fleet::settled(&["a"]).await;
    let key: KeyName = "SHA256:I+V3AoHAkCS9K+icDSXFKTl4Lv+LXRtvARNmHdmerWg"
        .parse()
        .unwrap();
    fleet.store.fill();
    fleet.repository.revoke(std::slice::from_ref(&key));
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    // Whoever deletes the tag before there is room again gives nothing back.
    fleet.repository.revoke(&[]);
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    assert!(fleet.repository.told_revoked_before().contains(&key));
    let events = fleet.handle().events(None, 100);
    let revoked = events
        .iter()
        .filter(|e| e.reason.as_str() == "KeyRevoked")
        .count();
    assert_eq!(revoked, 1, "it is told once");
}
