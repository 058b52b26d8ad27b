//! The state machine, event by event.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Digest, Spec};

use super::*;
use crate::desired::{
    Contents, DesiredResource, DriftPolicy, Existing, HostIntent, HostResult, Lifecycle, Resolved,
};
use crate::ports::{HostError, Records, StoreError, Table, Write};
use crate::reason::ConditionReason;
use crate::status::ConditionType;

/// The store as Plumb 0.1.0 wrote it before the loop was a state machine.
fn stored() -> BTreeMap<Table, Records> {
    let text = include_str!("tests/store.json");
    let all: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_str(text).unwrap();
    let table = |table: Table| {
        let records = all.get(&format!("{table:?}")).into_iter().flatten();
        let records = records.map(|(key, value)| (key.clone(), value.to_string().into_bytes()));
        (table, records.collect())
    };
    Persisted::TABLES.into_iter().map(table).collect()
}

fn settings() -> LoopSettings {
    LoopSettings {
        version: "0".to_owned(),
        source_url: String::new(),
        source_ref: String::new(),
        source_description: String::new(),
        introduction: "a".repeat(40),
        poll: Duration::from_mins(1),
        resync: Duration::from_mins(30),
        concurrency: 4,
        take_over: TakeOver::No,
        waits: Waits::default(),
        alerting: alerting::Settings::default(),
        generator_url: String::new(),
    }
}

fn identity() -> Identity {
    Identity {
        id: "controller".parse().unwrap(),
        epoch: plumb_api::Epoch(1),
    }
}

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn condition(state: &FleetState, host: &str, kind: ConditionType) -> Option<ConditionReason> {
    let host = state.hosts.get(&name(host)).unwrap();
    let condition = host.object.status.conditions.get(kind)?;
    Some(condition.reason)
}

#[test]
fn reads_a_store_of_an_earlier_version() {
    let persisted = Persisted::read(stored()).unwrap();
    assert_eq!(persisted.unreadable(), []);
    let now = "2025-10-09T09:20:00Z".parse().unwrap();
    let state = FleetState::new(persisted, identity(), settings(), now);
    for (host, kind, reason) in [
        (
            "ant",
            ConditionType::Stalled,
            ConditionReason::ValidateFailed,
        ),
        ("bee", ConditionType::Ready, ConditionReason::Settled),
        ("cat", ConditionType::Drifted, ConditionReason::DriftHeld),
        ("dog", ConditionType::Suspended, ConditionReason::Suspended),
        ("elk", ConditionType::Synced, ConditionReason::Released),
        (
            "fox",
            ConditionType::Reachable,
            ConditionReason::Unreachable,
        ),
    ] {
        assert_eq!(condition(&state, host, kind), Some(reason), "{host}");
        // What is derived from the record is what the record says, but for messages that were reworded.
        let host = &state.hosts[&name(host)];
        let derived = conditions(host, now);
        for old in host.object.status.conditions.iter() {
            let new = derived.get(old.kind).unwrap();
            let same = |c: &crate::status::Condition| (c.status, c.reason, c.last_transition_time);
            assert_eq!(same(new), same(old), "{}", host.name);
        }
    }
    assert!(state.rollouts[0].is_halted(state.limits));
    assert_eq!(state.rollouts[0].failed().len(), 1);
    assert_eq!(state.states.len(), 2);
    assert_eq!(state.active_alerts.firing().count(), 6);
    assert!(state.records.newest(None, 100).len() > 10);
    let target = state.hosts[&name("ant")].target.as_ref().unwrap();
    assert!(target.revision.starts_with("d5319952509b"));
    let source = &state.source.record;
    assert_eq!(source.floor.as_ref(), Some(&target.revision));
    assert_eq!(source.revisions.len(), 4);
}

#[test]
fn refuses_a_source_record_that_it_cannot_read() {
    let mut tables = stored();
    tables.insert(Table::Sources, vec![("source".to_owned(), b"{".to_vec())]);
    assert_eq!(Persisted::read(tables).unwrap_err().key, "source");
}

/// A controller whose writes are acknowledged at once, and the effects of its last event.
struct Loop {
    state: FleetState,
    now: Timestamp,
    runs: Vec<StartRun>,
    records: Vec<ConditionReason>,
    answers: Vec<Result<Vec<HostName>, CommandError>>,
    store: Result<(), StoreError>,
}

impl Loop {
    fn new() -> Self {
        let now = Timestamp::from_second(1_760_000_000).unwrap();
        let persisted = Persisted::read(BTreeMap::new()).unwrap();
        Self {
            state: FleetState::new(persisted, identity(), settings(), now),
            now,
            runs: Vec::new(),
            records: Vec::new(),
            answers: Vec::new(),
            store: Ok(()),
        }
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in step(&mut self.state, event, self.now) {
                match effect {
                    Effect::Persist { id, .. } => events.push(Event::Persisted {
                        id,
                        result: self.store.clone(),
                    }),
                    Effect::StartRun(run) => self.runs.push(*run),
                    Effect::Record(record) => self.records.push(record.reason),
                    Effect::Answer { answer, .. } => self.answers.push(answer),
                    _ => {}
                }
            }
        }
    }

    /// An accepted revision with these hosts, each with its former names.
    fn accept(&mut self, commit: &str, hosts: &[(&str, &[&str])]) {
        let accepted = commit.repeat(40);
        let poll = SourcePoll {
            fetched: Ok(accepted.clone()),
            took: Duration::ZERO,
            revoked: Some(Ok(Vec::new())),
            verification: Verification::Branch(Box::new(BranchVerdict {
                head: accepted.clone(),
                accepted: accepted.clone(),
                held: None,
                steps: Vec::new(),
                first_seen: BTreeMap::new(),
                rollbacks: Vec::new(),
                revoked: Vec::new(),
                unbacked: None,
            })),
            accepted: Some(Arc::new(revision(&accepted, hosts))),
            fault: None,
        };
        self.event(Event::SourcePolled(Box::new(poll)));
    }

    fn end_run(&mut self, end: RunEnd) {
        let run = self.runs.pop().unwrap();
        let mut report = RunReport::begun(&run);
        report.observed = Some(ObservedHost {
            ledger: plumb_api::frame::LedgerSummary {
                state: plumb_api::frame::LedgerState::Fresh,
                sequence: 0,
                epoch: None,
                controller: None,
                revision: None,
                confirmed: None,
                resources: 0,
            },
            resources: 1,
        });
        report.end = end;
        self.event(Event::RunEnded(Box::new(report)));
    }
}

fn revision(commit: &str, hosts: &[(&str, &[&str])]) -> FleetRevision {
    let digest = Digest::of_bytes(b"one").to_string();
    let spec = serde_json::json!({"file": {"content": {"sha256": digest, "size": 3}}});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let resource = Arc::new(DesiredResource::new(spec).unwrap());
    let desired = DesiredState::new([("file:/etc/motd".parse().unwrap(), resource)].into());
    let intent = |host: &str, formerly: &[&str]| HostIntent {
        name: name(host),
        uid: None,
        labels: BTreeMap::new(),
        formerly: formerly.iter().map(|old| name(old)).collect(),
        lifecycle: Lifecycle::Active,
        arch: None,
        connect: Vec::new(),
        host_keys: Vec::new(),
        drift: DriftPolicy::default(),
        existing: Existing::default(),
        suspend: None,
        desired: desired.clone(),
    };
    let hosts = hosts
        .iter()
        .map(|(host, formerly)| {
            let result = HostResult::Ready(Arc::new(intent(host, formerly)));
            (name(host), result)
        })
        .collect();
    let resolved = Resolved {
        fleet: "home".parse().unwrap(),
        hosts,
        contents: Contents::default(),
        alertmanagers: Vec::new(),
        halt_failures: 1,
        diagnostics: Vec::new(),
    };
    FleetRevision::new(commit.to_owned(), "change".to_owned(), resolved)
}

fn superseded() -> RunEnd {
    let error = HostError::Agent {
        host: name("ant"),
        error: AgentError::new(ErrorCode::Superseded, "another controller drives it"),
    };
    RunEnd::Failed(RunFailure::of_host(&error, FailedIn::Contact))
}

#[test]
fn starts_no_run_before_the_target_is_durable() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    assert_eq!(fleet.runs[0].mode, RunMode::Look);
    fleet.store = Err(StoreError::Failed("no space left on device".to_owned()));
    fleet.end_run(RunEnd::Looked);
    assert!(fleet.runs.is_empty() && fleet.state.hosts[&name("ant")].target.is_none());
    assert_eq!(fleet.records.last(), Some(&ConditionReason::StoreFailed));

    fleet.store = Ok(());
    fleet.now += Duration::from_mins(2);
    fleet.event(Event::Woke);
    assert_eq!(fleet.runs[0].mode, RunMode::Drive);
}

#[test]
fn a_renamed_host_stays_superseded() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.end_run(superseded());
    fleet.accept("b", &[("bee", &["ant"])]);
    let host = &fleet.state.hosts[&name("bee")];
    assert!(host.superseded && host.progress.is_stalled());
    fleet.now += Duration::from_hours(1);
    fleet.event(Event::Woke);
    assert_eq!(
        fleet.runs[0].mode,
        RunMode::Look,
        "another controller drives it"
    );
}

#[test]
fn a_host_that_is_renamed_during_its_run_has_no_second_run() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    assert_eq!(fleet.runs.len(), 1);
    fleet.accept("b", &[("bee", &["ant"])]);
    assert_eq!(fleet.runs.len(), 1);
    fleet.end_run(RunEnd::Looked);
    assert_eq!(fleet.runs[0].fence.host, name("bee"));
}

#[test]
fn forgetting_fails_when_the_store_does() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.end_run(RunEnd::Settled);
    fleet.store = Err(StoreError::Failed("no space left on device".to_owned()));
    let ask = |request| Event::ForgetAsked {
        host: name("ant"),
        request: RequestId(request),
    };
    fleet.event(ask(1));
    let answer = fleet.answers.pop().unwrap().unwrap_err();
    assert!(matches!(answer, CommandError::Store(_)), "{answer}");
    assert!(fleet.state.hosts[&name("ant")].target.is_some());
    fleet.store = Ok(());
    fleet.event(ask(2));
    assert_eq!(fleet.answers.pop(), Some(Ok(vec![name("ant")])));
    assert!(
        fleet.state.hosts[&name("ant")].target.is_none(),
        "it is met anew"
    );
}

#[test]
fn writes_that_failed_are_repeated_once_the_store_works() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.store = Err(StoreError::Failed("no space left on device".to_owned()));
    fleet.end_run(RunEnd::Settled);
    fleet.now += Duration::from_mins(2);
    let effects = step(&mut fleet.state, Event::Woke, fleet.now);
    let written = effects.iter().any(|effect| {
        let Effect::Persist { writes, .. } = effect else {
            return false;
        };
        let host =
            |write: &Write| matches!(write, Write::Put(Table::Hosts, key, _) if key == "ant");
        writes.iter().any(host)
    });
    assert!(written, "{effects:?}");
}
