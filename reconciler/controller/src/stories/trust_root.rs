//! What judging begins with is wrong, or was corrected.

use plumb_core::status::ConditionType::{Ready, SourceVerified};

use super::fixture::{Fleet, is};

const ELSEWHERE: &str = "a111111111111111111111111111111111111111";

fn verified(fleet: &Fleet) -> (String, String) {
    let source = fleet.handle().fleet().source;
    let condition = source.conditions.get(SourceVerified).unwrap();
    (condition.reason.to_string(), condition.message.full_text())
}

fn told(fleet: &Fleet, reason: &str) -> usize {
    let events = fleet.handle().events(None, 100);
    events
        .iter()
        .filter(|e| e.reason.as_str() == reason)
        .count()
}

#[tokio::test(start_paused = true)]
async fn an_introduction_that_isnt_there_is_named_kept_nowhere_and_mended_by_correcting_it() {
    let mut fleet = Fleet::new(&["a"]);
    let right = fleet.settings.introduction;
    fleet.settings.introduction = ELSEWHERE.parse().unwrap();
    fleet.start().await;
    fleet.rest(120).await;
    let (reason, message) = verified(&fleet);
    assert_eq!(reason, "IntroductionMissing");
    assert!(
        message.contains(ELSEWHERE) && message.contains("memory refs/heads/main"),
        "{message}"
    );
    let source = fleet.handle().fleet().source;
    assert_eq!(
        (source.accepted, source.held.map(|held| held.commit)),
        (None, None),
        "nothing is accepted, and the head isn't to blame"
    );
    assert_eq!(told(&fleet, "RevisionAccepted"), 0);
    assert_eq!(told(&fleet, "IntroductionMissing"), 1);
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    let alert = fleet
        .receiver
        .last("PlumbCommitVerificationFailed")
        .unwrap();
    assert!(alert.annotations["description"].contains(ELSEWHERE));
    fleet.stop().await;

    fleet.settings.introduction = right;
    fleet.start().await;
    fleet.until("a", "ready", |status| is(status, Ready)).await;
    fleet.rest(5).await;
    assert_eq!(
        fleet.handle().fleet().source.accepted,
        Some(right.to_string())
    );
    assert!(
        fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_introduction_off_the_branch_is_neither_kept_nor_driven() {
    let mut fleet = Fleet::new(&["a"]);
    let right = fleet.settings.introduction;
    let side = fleet.repository.push(&[("README", "side")]);
    fleet.repository.reset(right);
    fleet.repository.push(&[("README", "main")]);
    fleet.settings.introduction = side;
    fleet.start().await;
    fleet.rest(60).await;
    assert_eq!(verified(&fleet).0, "IntroductionUnusable");
    assert_eq!(fleet.handle().fleet().source.accepted, None);
    assert_eq!(fleet.motd("a"), None);
    fleet.stop().await;

    fleet.settings.introduction = right;
    fleet.start().await;
    fleet.until("a", "ready", |status| is(status, Ready)).await;
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
async fn a_changed_introduction_is_judged_from_anew_and_never_leads_below_what_was_accepted() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let first = fleet.settings.introduction;
    let second = fleet.push(&["a"], "two");
    let through = |status: &plumb_core::status::HostStatus| {
        status.revision.as_ref() == Some(&second.to_string())
    };
    fleet.until("a", "through", through).await;
    fleet.stop().await;

    // Forward on the branch: what was accepted is on it.
    fleet.settings.introduction = second;
    fleet.start().await;
    fleet.rest(5).await;
    assert!(
        fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    fleet.stop().await;

    // The branch is set back, and an introduction that allows it is no way below the floor.
    fleet.settings.introduction = first;
    fleet.repository.reset(first);
    fleet.start().await;
    fleet.rest(60).await;
    let (reason, message) = verified(&fleet);
    assert_eq!(reason, "FloorOffChain");
    assert!(
        message.contains(&second.to_string()) && message.contains("--take-over"),
        "{message}"
    );
    let accepted = fleet.handle().fleet().source.accepted;
    assert_eq!(accepted, Some(second.to_string()));
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    // Another start doesn't make it right by itself.
    fleet.stop().await;
    fleet.start().await;
    fleet.rest(60).await;
    assert_eq!(verified(&fleet).0, "FloorOffChain");

    fleet.repository.reset(second);
    fleet.handle().notify().unwrap();
    fleet.rest(5).await;
    assert!(
        fleet
            .handle()
            .fleet()
            .source
            .conditions
            .is_true(SourceVerified)
    );
    assert!(fleet.alerts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_and_isnt_in_the_repository_is_named() {
    let mut fleet = Fleet::settled(&["a"]).await;
    let second = fleet.push(&["a"], "two");
    fleet
        .until("a", "through", |status| {
            status.revision.as_ref() == Some(&second.to_string())
        })
        .await;
    fleet.stop().await;
    fleet.repository.lose(second);
    fleet.start().await;
    fleet.rest(60).await;
    let (reason, message) = verified(&fleet);
    assert_eq!(reason, "FloorMissing");
    assert!(message.contains(&second.to_string()), "{message}");
    assert_eq!(fleet.handle().fleet().source.held, None);
    assert_eq!(fleet.alerts(), ["PlumbCommitVerificationFailed"]);
    assert_eq!(fleet.motd("a").as_deref(), Some("two"));
}
