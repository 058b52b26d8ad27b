//! Checks in plans.

use plumb_api::resource::{CheckObserved, CheckResult};

use super::*;

fn with(text: &str) -> HostIntent {
    intent(&[
        ("file:/etc/a", json!({"content": content(text)})),
        ("service:a", json!({"state": "started"})),
        ("check:web", json!({"tcp": "localhost:80"})),
    ])
}

#[test]
fn check_runs_last_after_any_change() {
    let host = settled(&with("1"));
    assert!(planned(&with("1"), &host).is_settled());
    let next = planned(&with("2"), &host);
    assert_eq!(
        lines(&next),
        [
            "update file:/etc/a intent exact",
            "run check:web intent predicted"
        ]
    );
    let run = &next.plan.changes[1];
    assert_eq!(
        run.consequences,
        [Consequence::Runs("check web".to_owned())]
    );
    assert!(run.after.is_empty(), "it runs though others fail");
}

#[test]
fn failing_check_runs_again_whatever_drift_mode_says() {
    let mut intent = with("1");
    let mut host = settled(&intent);
    host.has.insert(
        address("check:web"),
        Observed::Check(CheckObserved {
            result: CheckResult::Failed,
        }),
    );
    for mode in [DriftMode::Correct, DriftMode::Alert, DriftMode::Ignore] {
        intent.drift.mode = mode;
        let next = planned(&intent, &host);
        assert_eq!(lines(&next), ["run check:web intent exact"], "{mode:?}");
        assert_eq!(next.corrections().count(), 0);
    }
}
