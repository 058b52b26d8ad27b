use super::*;

const LIMITS: Limits = Limits {
    at_once: 2,
    failures: 1,
};

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of_bytes(text.as_bytes())
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// A fleet whose targets are given out by one rollout.
struct Story {
    rollout: Rollout,
    pending: Vec<&'static str>,
    off: Vec<&'static str>,
    limits: Limits,
}

impl Story {
    fn new(pending: &[&'static str]) -> Self {
        Self {
            rollout: Rollout::new(RolloutId(1), "r2".to_owned()),
            pending: pending.to_vec(),
            off: Vec::new(),
            limits: LIMITS,
        }
    }

    fn assign(&mut self) -> Vec<&'static str> {
        // A restart in between changes nothing.
        let kept = serde_json::to_vec(&self.rollout).unwrap();
        let kept: Rollout = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept, self.rollout);
        let mut openings = self.rollout.openings(self.limits);
        let mut assigned = Vec::new();
        for name in self.pending.clone() {
            if openings > 0 && !self.off.contains(&name) {
                openings -= 1;
                self.pending.retain(|one| *one != name);
                self.rollout.assign(host(name), digest("2"));
                assigned.push(name);
            }
        }
        assigned
    }

    fn ended(&mut self, name: &str, outcome: HostOutcome) {
        let name = host(name);
        self.rollout.host_ended(&name, digest("2"), outcome, now());
    }

    fn is_halted(&self) -> bool {
        self.rollout.is_halted(self.limits)
    }

    fn withdrawable(&self) -> Vec<String> {
        let hosts = self.rollout.withdrawable(self.limits);
        hosts.map(ToString::to_string).collect()
    }
}

fn failed(retry: Retry) -> HostOutcome {
    HostOutcome::Failed {
        reason: "a program failed".to_owned(),
        retry,
    }
}

fn unreachable() -> HostOutcome {
    HostOutcome::Unreachable("no answer".to_owned())
}

#[test]
fn one_goes_alone_then_the_rest_some_at_a_time() {
    let mut story = Story::new(&["b", "c", "d", "e"]);
    assert_eq!(story.assign(), ["b"]);
    assert!(story.assign().is_empty());
    story.ended("b", HostOutcome::UnderWay);
    assert!(story.assign().is_empty());
    story.ended("b", HostOutcome::Reached);
    assert_eq!(story.assign(), ["c", "d"]);
    story.ended("c", HostOutcome::Reached);
    assert_eq!(story.assign(), ["e"]);
    assert!(!story.rollout.is_idle());
    story.ended("d", HostOutcome::Reached);
    story.ended("e", HostOutcome::Reached);
    assert!(story.rollout.is_idle());
}

#[test]
fn lasting_failure_halts_at_once_and_any_other_at_the_second_try() {
    let mut story = Story::new(&["a", "b"]);
    story.assign();
    story.ended("a", failed(Retry::Transient));
    assert!(!story.is_halted() && story.assign().is_empty());
    story.ended("a", failed(Retry::Transient));
    assert!(story.is_halted() && story.assign().is_empty());
    assert_eq!(
        story.rollout.failed()[&host("a")].reason,
        "a program failed"
    );
    let mut story = Story::new(&["a", "b"]);
    story.assign();
    story.ended("a", failed(Retry::Stalled));
    assert!(story.is_halted());
}

#[test]
fn failure_is_dropped_when_its_host_wants_something_else() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.assign();
    story.ended("a", HostOutcome::Reached);
    story.assign();
    story.ended("b", failed(Retry::Stalled));
    story.rollout.supersede(|_, _| true, |_, _| true);
    assert!(story.is_halted(), "a new revision alone ends no halt");
    story
        .rollout
        .supersede(|name, _| *name != host("b"), |_, _| true);
    assert!(!story.is_halted());
    assert_eq!(
        story.rollout.openings(LIMITS),
        0,
        "c is on its way, and the change begins carefully again"
    );
}

#[test]
fn host_that_comes_through_after_all_ends_the_halt() {
    let mut story = Story::new(&["a", "b"]);
    story.assign();
    story.ended("a", failed(Retry::Stalled));
    story.ended("a", unreachable());
    assert!(story.assign().is_empty());
    story.ended("a", HostOutcome::Reached);
    assert_eq!(story.assign(), ["b"]);
}

#[test]
fn lost_means_failed_and_never_reached_means_left_out() {
    let mut story = Story::new(&["a", "b", "c"]);
    assert_eq!(story.assign(), ["a"]);
    story.ended("a", unreachable());
    assert_eq!(story.withdrawable(), ["a"]);
    assert!(story.rollout.withdraw(&host("a")));
    assert_eq!(story.assign(), ["b"], "another one goes first");
    story.ended("b", HostOutcome::UnderWay);
    story.ended("b", unreachable());
    assert!(!story.is_halted(), "the retry may reach it");
    story.ended("b", unreachable());
    assert!(story.is_halted());
}

#[test]
fn nobody_waits_for_a_host_at_a_standstill_of_its_own() {
    for outcome in [HostOutcome::Refused, HostOutcome::Waits, HostOutcome::Busy] {
        let mut story = Story::new(&["a", "b", "c"]);
        story.assign();
        story.ended("a", outcome.clone());
        assert_eq!(story.assign(), ["b"], "{outcome:?}");
        assert!(story.assign().is_empty(), "one host alone");
        story.ended("a", failed(Retry::Stalled));
        assert!(story.is_halted(), "its failure counts when it begins");
    }
}

#[test]
fn halt_withdraws_targets_of_hosts_on_which_nothing_was_changed() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    story.limits.at_once = 3;
    story.assign();
    story.ended("a", HostOutcome::Reached);
    assert_eq!(story.assign(), ["b", "c", "d"]);
    story.ended("b", HostOutcome::UnderWay);
    story.ended("c", HostOutcome::Refused);
    assert!(story.withdrawable().is_empty());
    story.ended("d", failed(Retry::Stalled));
    assert_eq!(story.withdrawable(), ["c"]);
}

#[test]
fn failures_count_the_first_host_too() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.limits.failures = 2;
    story.assign();
    story.ended("a", failed(Retry::Stalled));
    assert_eq!(story.assign(), ["b"], "alone, as no host came through");
    story.ended("b", failed(Retry::Stalled));
    assert!(story.is_halted());
}

#[test]
fn drift_that_cannot_be_corrected_halts_nothing() {
    let mut story = Story::new(&["b"]);
    story.ended("a", failed(Retry::Stalled));
    assert_eq!(story.assign(), ["b"]);
}

#[test]
fn nothing_waits_for_a_host_that_is_not_driven() {
    let mut story = Story::new(&["a", "b"]);
    assert_eq!(story.assign(), ["a"]);
    assert!(story.rollout.is_untouched(&host("a")));
    story.rollout.leave_out(&host("a"));
    assert_eq!(story.assign(), ["b"]);
}

#[test]
fn renamed_host_keeps_its_failure() {
    let mut story = Story::new(&["a", "b"]);
    story.assign();
    story.ended("a", failed(Retry::Stalled));
    assert!(story.rollout.rename(&host("a"), &host("z")));
    story.ended("z", HostOutcome::Reached);
    assert!(!story.is_halted());
}
