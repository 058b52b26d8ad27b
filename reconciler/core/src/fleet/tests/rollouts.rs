//! Rollouts in the loop: what a failure holds back, and what it doesn't.

use plumb_api::frame::{LedgerState, LedgerSummary};

use super::*;
use crate::plan::Refusal;

/// A loop whose hosts answer at once, each with an end of its own.
struct Story {
    fleet: Loop,
    wants: BTreeMap<&'static str, String>,
    ends: BTreeMap<&'static str, RunEnd>,
    failures: u32,
    commits: u32,
}

impl Story {
    /// A fleet whose hosts run the first commit.
    fn settled(hosts: &[&'static str]) -> Self {
        let mut story = Self {
            fleet: Loop::new(),
            wants: BTreeMap::new(),
            ends: BTreeMap::new(),
            failures: 1,
            commits: 0,
        };
        story.fleet.event(Event::Started);
        story.push(hosts, "one");
        story.rest(5);
        for host in hosts {
            assert_eq!(story.has(host), "one", "{host}");
        }
        story
    }

    /// Accepts a commit that gives these hosts another content.
    fn push(&mut self, hosts: &[&'static str], text: &str) {
        self.push_resuming(hosts, text, None);
    }

    /// Accepts such a commit with a `Rollout-Resume:` trailer.
    fn push_resuming(&mut self, hosts: &[&'static str], text: &str, rollout: Option<&str>) {
        for host in hosts {
            self.wants.insert(host, text.to_owned());
        }
        self.commits += 1;
        let commit = format!("{:040x}", self.commits);
        let names: Vec<_> = self.wants.keys().map(|host| (*host, &[][..])).collect();
        let mut resolved = resolved(&names);
        resolved.halt_failures = self.failures;
        for (host, result) in &mut resolved.hosts {
            let HostResult::Ready(intent) = result else {
                continue;
            };
            Arc::make_mut(intent).desired = desired(&self.wants[host.as_str()]);
        }
        let mut poll = accepted_poll(&commit);
        if let Verification::Branch(verdict) = &mut poll.verification {
            verdict.resumes.extend(rollout.map(|rollout| ResumeRecord {
                rollout: rollout.to_owned(),
                commit: commit.clone(),
            }));
        }
        let revision = FleetRevision::new(commit, "change".to_owned(), resolved);
        poll.accepted = Some(Arc::new(revision));
        self.fleet.event(Event::SourcePolled(Box::new(poll)));
    }

    /// The content of the last driving run that the host ended well; its ledger tells it.
    fn has(&self, host: &str) -> String {
        let host = &self.fleet.state.hosts[&name(host)];
        let held = host
            .object
            .status
            .revision
            .as_ref()
            .and(host.target.as_ref());
        let texts = ["one", "two", "three", "four"];
        let digest = held.map(|target| target.digest);
        let found = texts
            .iter()
            .find(|text| digest == Some(desired(text).digest()));
        found.map_or_else(String::new, |text| (*text).to_owned())
    }

    /// Ends every run, second by second.
    fn rest(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            while let Some(run) = self.fleet.runs.pop() {
                let host = run.fence.host.clone();
                let own = self.ends.get(host.as_str()).cloned();
                let end = match (run.mode, own) {
                    (_, Some(end)) if is_contact(&end) => end,
                    (RunMode::Look, _) => RunEnd::Looked,
                    (RunMode::Drive, Some(end)) if is_news(&run) => end,
                    (RunMode::Drive, _) => RunEnd::Settled,
                };
                let mut report = RunReport::begun(&run);
                report.end = end;
                if !is_contact(&report.end) {
                    let before = self.fleet.state.hosts[&host].revision.clone();
                    report.observed = Some(ObservedHost {
                        ledger: LedgerSummary {
                            state: LedgerState::Sound,
                            sequence: 1,
                            epoch: None,
                            controller: None,
                            revision: before.clone().map(plumb_api::frame::RevisionMark),
                            confirmed: before.map(|_| desired("one").digest()),
                            resources: 1,
                        },
                        resources: 1,
                        clock_offset: None,
                    });
                }
                self.fleet.event(Event::RunEnded(Box::new(report)));
            }
            self.fleet.now += Duration::from_millis(500);
            self.fleet.event(Event::Woke);
        }
    }

    fn alerts(&self) -> Vec<String> {
        firing(&self.fleet.state)
    }

    fn is_halted(&self) -> bool {
        self.fleet.state.view(self.fleet.now).rollout.halted
    }

    fn records(&self, reason: ConditionReason) -> usize {
        let view = self.fleet.state.view(self.fleet.now);
        let all = view.records.newest(None, usize::MAX);
        all.iter().filter(|one| one.reason == reason).count()
    }
}

#[test]
fn halt_that_nobody_waits_for_is_told_by_the_failed_host_alone() {
    let mut story = Story::settled(&["a", "b"]);
    story.ends.insert("a", fails(ConditionReason::Refused));
    story.push(&["a"], "two");
    story.rest(10);
    assert!(story.is_halted());
    assert_eq!(story.alerts(), ["PlumbHostReconcileFailing"]);
    story.push(&["b"], "two");
    story.rest(10);
    assert_eq!(story.has("b"), "two");
    assert_eq!(story.alerts(), ["PlumbHostReconcileFailing"]);
}

#[test]
fn signed_trailer_resumes_the_rollout_that_it_names() {
    let mut story = Story::settled(&["a", "b"]);
    story.ends.insert("a", fails(ConditionReason::Refused));
    story.push(&["a", "b"], "two");
    story.rest(10);
    let halted = format!("{:040x}", story.commits);
    assert!(story.is_halted() && story.has("b") == "one");
    let other = "f".repeat(40);
    for wrong in [other.as_str(), &halted[..6], ""] {
        story.push_resuming(&[], "two", Some(wrong));
        story.rest(10);
        assert!(story.is_halted() && story.has("b") == "one", "{wrong}");
    }
    assert_eq!(story.records(ConditionReason::NothingResumed), 3);
    story.push_resuming(&[], "two", Some(&halted));
    story.rest(10);
    assert_eq!(story.has("b"), "two");
    assert_eq!(
        story.alerts(),
        ["PlumbHostReconcileFailing"],
        "a still fails"
    );
    assert_eq!(story.records(ConditionReason::RolloutResumed), 1);
}

/// True if the run brings something newer than the first commit.
fn is_news(run: &StartRun) -> bool {
    run.target.digest != desired("one").digest()
}

fn desired(text: &str) -> DesiredState {
    let digest = Digest::of_bytes(text.as_bytes()).to_string();
    let spec = serde_json::json!({"file": {"content": {"sha256": digest, "size": 3}}});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let resource = Arc::new(DesiredResource::new(spec).unwrap());
    DesiredState::new([("file:/etc/motd".parse().unwrap(), resource)].into())
}

fn is_contact(end: &RunEnd) -> bool {
    matches!(end, RunEnd::Failed(failure) if failure.contact == Contact::Lost)
}

fn fails(reason: ConditionReason) -> RunEnd {
    RunEnd::Partly(RunFailure {
        failed_in: FailedIn::Change,
        ..RunFailure::of_controller(reason, "a change failed".to_owned())
    })
}

fn off() -> RunEnd {
    let host = name("any");
    let reason = "no route to host".to_owned();
    let error = HostError::Unreachable { host, reason };
    RunEnd::Failed(RunFailure::of_host(&error, FailedIn::Contact))
}

fn lost() -> RunEnd {
    let host = name("any");
    let reason = "connection reset".to_owned();
    let error = HostError::Broken { host, reason };
    RunEnd::Failed(RunFailure::of_host(&error, FailedIn::Change))
}

#[test]
fn halt_spares_hosts_that_the_halted_change_does_not_touch() {
    let mut story = Story::settled(&["a", "b", "c", "d"]);
    story
        .ends
        .insert("a", fails(ConditionReason::ValidateFailed));
    story.push(&["a", "b"], "two");
    story.rest(5);
    assert!(story.is_halted());
    assert_eq!(
        story.alerts(),
        ["PlumbHostReconcileFailing", "PlumbRolloutHalted"]
    );
    // A later commit: c and d aren't touched by the halted change, b is.
    story.push(&["b", "c", "d"], "three");
    story.rest(5);
    assert_eq!(
        (story.has("c"), story.has("d")),
        ("three".into(), "three".into())
    );
    assert_eq!(story.has("b"), "one", "it would get the halted change too");
    assert!(story.is_halted(), "a new revision alone ends no halt");
    story.ends.clear();
    story.rest(15 * 60);
    assert_eq!(
        (story.has("a"), story.has("b")),
        ("two".into(), "three".into())
    );
    assert!(story.alerts().is_empty() && !story.is_halted());
}

#[test]
fn halt_ends_when_the_failed_hosts_manifest_changes() {
    let mut story = Story::settled(&["a", "b"]);
    story
        .ends
        .insert("a", fails(ConditionReason::ValidateFailed));
    story.push(&["a", "b"], "two");
    story.rest(5);
    assert_eq!(story.has("b"), "one");
    story.ends.clear();
    story.push(&["a"], "three");
    story.rest(5);
    assert_eq!(
        (story.has("a"), story.has("b")),
        ("three".into(), "two".into())
    );
}

#[test]
fn failure_that_the_first_retry_heals_neither_halts_nor_alarms() {
    for end in [fails(ConditionReason::PreconditionFailed), lost()] {
        let mut story = Story::settled(&["a", "b"]);
        story.ends.insert("a", end);
        story.push(&["a", "b"], "two");
        let first = |story: &Story| story.fleet.state.hosts[&name("a")].failures > 0;
        while !first(&story) {
            story.fleet.event(Event::Woke);
            let run = story.fleet.runs.pop().unwrap();
            let mut report = RunReport::begun(&run);
            report.end = story.ends["a"].clone();
            story.fleet.event(Event::RunEnded(Box::new(report)));
        }
        story.fleet.now += Duration::from_millis(500);
        story.fleet.event(Event::Woke);
        assert!(!story.is_halted() && story.alerts().is_empty());
        assert_eq!(
            story.has("b"),
            "one",
            "the first host hasn't come through yet"
        );
        story.ends.clear();
        story.rest(5);
        assert_eq!(
            (story.has("a"), story.has("b")),
            ("two".into(), "two".into())
        );
        let fired = ConditionReason::AlertFires;
        assert!(!story.fleet.records.contains(&fired));
    }
}

#[test]
fn failure_that_lasts_halts_at_the_second_try() {
    for end in [fails(ConditionReason::PreconditionFailed), lost()] {
        let mut story = Story::settled(&["a", "b"]);
        story.ends.insert("a", end);
        story.push(&["a", "b"], "two");
        story.rest(3);
        assert!(story.is_halted());
        assert_eq!(story.has("b"), "one");
    }
}

#[test]
fn halts_at_the_number_of_failed_hosts() {
    let mut story = Story::settled(&["a", "b", "c", "d"]);
    story.failures = 2;
    for host in ["a", "c"] {
        story
            .ends
            .insert(host, fails(ConditionReason::ValidateFailed));
    }
    story.push(&["a"], "two");
    story.rest(5);
    assert!(!story.is_halted(), "one of two");
    story.push(&["b", "c", "d"], "three");
    story.rest(5);
    assert!(!story.is_halted(), "each rollout counts its own");
    assert_eq!(
        (story.has("b"), story.has("d")),
        ("three".into(), "three".into())
    );

    let mut story = Story::settled(&["a", "b", "c", "d"]);
    story.failures = 2;
    for host in ["a", "b"] {
        story
            .ends
            .insert(host, fails(ConditionReason::ValidateFailed));
    }
    story.push(&["a", "b", "c", "d"], "two");
    story.rest(5);
    assert!(story.is_halted());
    assert_eq!(
        (story.has("c"), story.has("d")),
        ("one".into(), "one".into())
    );
}

/// Nothing was changed on it, so the change isn't to blame.
#[test]
fn host_at_a_standstill_of_its_own_holds_up_nobody() {
    let refused = Refusal::Existing {
        addresses: vec!["file:/etc/motd".parse().unwrap()],
    };
    let locked = RunEnd::Failed(RunFailure::of_host(
        &HostError::Agent {
            host: name("a"),
            error: AgentError::new(ErrorCode::Locked, "another run is at work"),
        },
        FailedIn::Contact,
    ));
    let ends = [
        off(),
        RunEnd::Refused(refused),
        RunEnd::Refused(Refusal::Waiting("cloud-init runs".to_owned())),
        RunEnd::Refused(Refusal::LedgerLost("it was damaged".to_owned())),
        RunEnd::OffChain("f".repeat(40)),
        locked,
        fails(ConditionReason::InUse),
    ];
    for end in ends {
        let mut story = Story::settled(&["a", "b"]);
        story.ends.insert("a", end.clone());
        story.push(&["a", "b"], "two");
        story.rest(120);
        assert_eq!(story.has("b"), "two", "{end:?}");
        assert!(!story.is_halted(), "{end:?}");
        story.ends.clear();
        story.rest(15 * 60);
        assert_eq!(story.has("a"), "two", "{end:?}");
    }
}

/// A service that is still starting may yet fail, so the others wait for it; other changes go on.
#[test]
fn first_host_whose_services_still_start_holds_its_own_rollout() {
    let mut story = Story::settled(&["a", "b", "c"]);
    story.ends.insert("a", fails(ConditionReason::UnitPending));
    story.push(&["a", "b"], "two");
    story.rest(30);
    story.push(&["c"], "three");
    story.rest(5);
    assert_eq!(
        (story.has("b"), story.has("c")),
        ("one".into(), "three".into())
    );
    // Newer intent for the first host supersedes the wait.
    story.ends.clear();
    story.push(&["a"], "four");
    story.rest(5);
    assert_eq!(
        (story.has("a"), story.has("b")),
        ("four".into(), "two".into())
    );
}

#[test]
fn halted_change_starts_on_no_host_that_was_away() {
    for away in [
        off(),
        RunEnd::Refused(Refusal::Waiting("cloud-init runs".to_owned())),
    ] {
        let mut story = Story::settled(&["a", "b", "c"]);
        story.ends.insert("a", away);
        story
            .ends
            .insert("b", fails(ConditionReason::ValidateFailed));
        story.push(&["a", "b", "c"], "two");
        story.rest(30);
        assert!(story.is_halted());
        story.ends.remove("a");
        story.rest(20 * 60);
        assert_eq!(
            (story.has("a"), story.has("c")),
            ("one".into(), "one".into())
        );
        story.ends.clear();
        story.rest(20 * 60);
        assert_eq!(
            (story.has("a"), story.has("c")),
            ("two".into(), "two".into())
        );
    }
}

/// The host that held the second place in the store of an earlier version stays there.
#[test]
fn halt_of_an_earlier_version_holds_its_hosts_back() {
    let story = Story::settled(&["a", "b"]);
    let mut tables: BTreeMap<Table, Records> = BTreeMap::new();
    let one = desired("one").digest();
    let two = desired("two").digest();
    let target = |commit: u32, digest: Digest| {
        let target = crate::status::Target {
            revision: format!("{commit:040x}"),
            digest,
        };
        serde_json::to_vec(&target).unwrap()
    };
    tables.insert(
        Table::Targets,
        vec![
            ("a".to_owned(), target(2, two)),
            ("b".to_owned(), target(1, one)),
        ],
    );
    let Some(Write::Put(_, key, bytes)) = super::super::persist::put_state(&desired("one")) else {
        panic!("a state is always written");
    };
    tables.insert(Table::States, vec![(key, bytes)]);
    let rollout = serde_json::json!({
        "away": {}, "first": "a", "flying": {}, "goal": one.to_string(), "stage": "first",
        "revision": format!("{:040x}", 2),
        "failed": {"a": {"digest": two.to_string(), "reason": "a change failed",
            "since": "2025-10-09T09:10:03.07Z", "stage": "first"}},
    });
    tables.insert(
        Table::Rollouts,
        vec![("rollout".to_owned(), rollout.to_string().into_bytes())],
    );
    let persisted = Persisted::read(tables).unwrap();
    let mut fleet = Loop::new();
    fleet.state = FleetState::new(persisted, identity(), settings(), fleet.now);
    let mut story = Story {
        fleet,
        commits: 1,
        ..story
    };
    story
        .ends
        .insert("a", fails(ConditionReason::ValidateFailed));
    story.fleet.event(Event::Started);
    story.push(&["a", "b"], "two");
    story.rest(60);
    assert!(story.is_halted());
    assert_eq!(story.has_target("b"), one);
    story.ends.clear();
    story.rest(15 * 60);
    assert_eq!(story.has("b"), "two");
}

impl Story {
    fn has_target(&self, host: &str) -> Digest {
        self.fleet.state.hosts[&name(host)]
            .target
            .as_ref()
            .unwrap()
            .digest
    }
}

#[test]
fn drift_that_the_second_try_corrects_is_no_recurrence() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.end_run(RunEnd::Settled);
    let mut correct = |outcome: ChangeOutcome, end: RunEnd| {
        let hosts = vec![name("ant")];
        let request = RequestId(1);
        fleet.event(Event::ReconcileAsked { hosts, request });
        let run = fleet.runs.pop().unwrap();
        let mut report = RunReport::begun(&run);
        let change = correction();
        report.planned = Some(planned(&run, vec![change.clone()]));
        report.outcomes = vec![(change, outcome)];
        report.end = end;
        fleet.event(Event::RunEnded(Box::new(report)));
        fleet.now += Duration::from_secs(1);
        fleet.event(Event::Woke);
        let reason = condition(&fleet.state, "ant", ConditionType::Drifted).unwrap();
        (reason, firing(&fleet.state))
    };
    let fails = correct(ChangeOutcome::Failed, fails(ConditionReason::IoError));
    assert_eq!(fails, (ConditionReason::DriftCorrecting, vec![]));
    let healed = correct(ChangeOutcome::Applied, RunEnd::Settled);
    assert_eq!(healed, (ConditionReason::DriftCorrected, vec![]));
    let again = correct(ChangeOutcome::Applied, RunEnd::Settled);
    assert_eq!(again.0, ConditionReason::DriftRecurs);
}

fn correction() -> plumb_api::plan::Change {
    use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op};
    Change {
        id: ChangeId(0),
        address: "file:/etc/motd".parse().unwrap(),
        op: Op::Update,
        cause: Cause::Drift,
        certainty: Certainty::Exact,
        fields: Vec::new(),
        consequences: Vec::new(),
        precondition: None,
        after: Vec::new(),
    }
}

fn planned(run: &StartRun, changes: Vec<plumb_api::plan::Change>) -> crate::plan::Planned {
    crate::plan::Planned {
        plan: plumb_api::plan::Plan {
            target: run.target.digest,
            changes,
            confirm: Vec::new(),
            forget: Vec::new(),
        },
        refusal: None,
        held_drift: Vec::new(),
        problems: Vec::new(),
        blocked: Vec::new(),
        leaving: std::collections::BTreeSet::new(),
        origins: BTreeMap::new(),
        diffs: BTreeMap::new(),
    }
}

/// What the next run mends alarms nobody, however alarming it would be if it lasted.
#[test]
fn target_that_the_host_has_outrun_alarms_nobody_if_the_next_run_mends_it() {
    let mut story = Story::settled(&["a", "b"]);
    story
        .ends
        .insert("a", fails(ConditionReason::ValidateFailed));
    story.push(&["a", "b"], "two");
    story.rest(5);
    let before = story.alerts();
    let hosts = vec![name("b")];
    let request = RequestId(1);
    story.fleet.event(Event::ReconcileAsked { hosts, request });
    let run = story.fleet.runs.pop().unwrap();
    assert_eq!(run.mode, RunMode::Drive);
    let mut report = RunReport::begun(&run);
    report.end = RunEnd::Newer(format!("{:040x}", 2));
    story.fleet.event(Event::RunEnded(Box::new(report)));
    story.fleet.now += Duration::from_millis(500);
    story.fleet.event(Event::Woke);
    assert_eq!(story.alerts(), before);
    let stalled = condition(&story.fleet.state, "b", ConditionType::Stalled);
    assert_eq!(stalled, None);
}

#[test]
fn host_that_is_taken_over_alarms_nobody() {
    let mut fleet = Loop::new();
    fleet.state.settings.take_over = TakeOver::Yes;
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.end_run(superseded());
    fleet.now += Duration::from_millis(500);
    fleet.event(Event::Woke);
    assert_eq!(firing(&fleet.state), Vec::<String>::new());
    assert_eq!(condition(&fleet.state, "ant", ConditionType::Stalled), None);
}
