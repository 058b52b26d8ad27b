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

/// A fleet whose targets are given out by a rollout.
struct Story {
    rollout: Rollout,
    wants: BTreeMap<HostName, Digest>,
    targets: BTreeMap<HostName, Digest>,
    off: Vec<&'static str>,
}

impl Story {
    fn new(names: &[&str]) -> Self {
        let wants: BTreeMap<_, _> = names.iter().map(|n| (host(n), digest("1"))).collect();
        let mut rollout = Rollout::default();
        rollout.lead_to("r1", &wants);
        Self {
            rollout,
            targets: wants.clone(),
            wants,
            off: Vec::new(),
        }
    }

    fn push(&mut self, revision: &str, changed: &[&str]) {
        for name in changed {
            self.wants.insert(host(name), digest(revision));
        }
        // A restart in between changes nothing.
        let kept = serde_json::to_vec(&self.rollout).unwrap();
        self.rollout = serde_json::from_slice(&kept).unwrap();
        self.rollout.lead_to(revision, &self.wants);
    }

    fn assign(&mut self) -> Vec<String> {
        let candidates: Vec<_> = self
            .wants
            .iter()
            .filter(|(name, _)| !self.off.contains(&name.as_str()))
            .map(|(name, wants)| Candidate {
                host: name.clone(),
                wants: *wants,
                target: self.targets.get(name).copied(),
            })
            .collect();
        let assigned = self.rollout.assign(&candidates, LIMITS);
        for name in &assigned {
            self.targets.insert(name.clone(), self.wants[name]);
        }
        assigned.iter().map(ToString::to_string).collect()
    }

    fn ended(&mut self, name: &str, outcome: HostOutcome) {
        let name = host(name);
        let digest = self.targets[&name];
        self.rollout.host_ended(&name, digest, outcome, now());
    }
}

fn failed() -> HostOutcome {
    HostOutcome::Failed("a program failed".to_owned())
}

fn unreachable() -> HostOutcome {
    HostOutcome::Unreachable("no answer".to_owned())
}

#[test]
fn one_goes_alone_then_the_rest_some_at_a_time() {
    let mut story = Story::new(&["a", "b", "c", "d"]);
    assert!(story.assign().is_empty());
    story.push("r2", &["b", "c", "d"]);
    assert_eq!(story.assign(), ["b"]);
    assert!(story.assign().is_empty());
    story.ended("b", HostOutcome::UnderWay);
    assert!(story.assign().is_empty());
    story.ended("b", HostOutcome::Reached);
    assert_eq!(story.assign(), ["c", "d"]);
    story.ended("c", HostOutcome::Reached);
    story.ended("d", HostOutcome::Reached);
    assert!(story.assign().is_empty());
    story.push("r3", &["a", "c"]);
    assert_eq!(story.assign(), ["a"], "the next one begins carefully again");
}

#[test]
fn a_failure_halts_and_outlives_revisions_that_do_not_concern_it() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.push("r2", &["a", "b", "c"]);
    assert_eq!(story.assign(), ["a"]);
    story.ended("a", failed());
    assert!(story.assign().is_empty() && story.rollout.is_halted(LIMITS));
    story.push("r3", &["b"]);
    assert!(
        story.assign().is_empty(),
        "what failed on a isn't changed by this"
    );
    assert_eq!(
        story.rollout.failed()[&host("a")].reason,
        "a program failed"
    );
    story.push("r4", &["a"]);
    assert_eq!(story.assign(), ["a"]);
    story.ended("a", HostOutcome::Reached);
    assert_eq!(story.assign(), ["b", "c"]);
}

#[test]
fn a_host_that_comes_through_after_all_ends_the_halt() {
    let mut story = Story::new(&["a", "b"]);
    story.push("r2", &["a", "b"]);
    story.assign();
    story.ended("a", failed());
    story.ended("a", unreachable());
    assert!(story.assign().is_empty());
    story.ended("a", HostOutcome::Reached);
    assert_eq!(story.assign(), ["b"]);
}

#[test]
fn lost_means_failed_and_never_reached_means_left_out() {
    let mut story = Story::new(&["a", "b", "c"]);
    story.push("r2", &["a", "b", "c"]);
    assert_eq!(story.assign(), ["a"]);
    story.ended("a", unreachable());
    story.off.push("a");
    assert_eq!(story.assign(), ["b"], "another one goes first");
    story.ended("b", HostOutcome::UnderWay);
    story.ended("b", unreachable());
    assert!(story.assign().is_empty() && story.rollout.is_halted(LIMITS));
    story.ended("b", HostOutcome::Reached);
    assert_eq!(story.assign(), ["c"]);
    story.ended("c", HostOutcome::Reached);
    // The one that was left out has its target; if it fails, that counts.
    story.off.clear();
    assert!(story.assign().is_empty());
    story.ended("a", failed());
    assert!(story.rollout.is_halted(LIMITS));
}

#[test]
fn the_first_one_halts_whatever_is_allowed_to_fail() {
    let generous = Limits {
        at_once: 9,
        failures: 5,
    };
    let mut rollout = Rollout::default();
    let wants: BTreeMap<_, _> = ["a", "b", "c"]
        .iter()
        .map(|n| (host(n), digest("2")))
        .collect();
    rollout.lead_to("r", &wants);
    let candidates: Vec<_> = wants
        .iter()
        .map(|(name, wants)| Candidate {
            host: name.clone(),
            wants: *wants,
            target: None,
        })
        .collect();
    rollout.assign(&candidates, generous);
    rollout.host_ended(&host("a"), digest("2"), failed(), now());
    assert!(rollout.is_halted(generous));
}

#[test]
fn drift_that_cannot_be_corrected_halts_nothing() {
    let mut story = Story::new(&["a", "b"]);
    story.ended("a", failed());
    story.push("r2", &["b"]);
    assert_eq!(story.assign(), ["b"]);
}

#[test]
fn nothing_waits_for_a_host_that_is_not_driven() {
    let mut story = Story::new(&["a", "b"]);
    story.push("r2", &["a", "b"]);
    assert_eq!(story.assign(), ["a"]);
    story.rollout.leave_out(&host("a"));
    story.off.push("a");
    assert_eq!(story.assign(), ["b"]);
}
