//! The state machine, event by event.

mod rollouts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode, Retry};
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
                    Effect::LoadRevision { commit, .. } => events.push(Event::RevisionLoaded {
                        commit,
                        revision: None,
                    }),
                    _ => {}
                }
            }
        }
    }

    /// An accepted revision with these hosts, each with its former names.
    fn accept(&mut self, commit: &str, hosts: &[(&str, &[&str])]) {
        let accepted = commit.repeat(40);
        let mut poll = accepted_poll(&accepted);
        poll.accepted = Some(Arc::new(revision(&accepted, hosts)));
        self.event(Event::SourcePolled(Box::new(poll)));
    }

    fn end_run(&mut self, end: RunEnd) {
        self.end_run_with(end, ResourceReport::default());
    }

    fn end_run_with(&mut self, end: RunEnd, resources: ResourceReport) {
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
            clock_offset: None,
        });
        report.end = end;
        report.resources = resources;
        self.event(Event::RunEnded(Box::new(report)));
    }
}

/// A poll that accepted a commit, which isn't loaded.
fn accepted_poll(commit: &str) -> SourcePoll {
    SourcePoll {
        fetched: Ok(commit.to_owned()),
        took: Duration::ZERO,
        revoked: Some(Ok(Vec::new())),
        verification: Verification::Branch(Box::new(BranchVerdict {
            head: commit.to_owned(),
            accepted: commit.to_owned(),
            held: None,
            steps: Vec::new(),
            first_seen: BTreeMap::new(),
            rollbacks: Vec::new(),
            resumes: Vec::new(),
            revoked: Vec::new(),
            unbacked: None,
        })),
        accepted: None,
        fault: None,
    }
}

fn revision(commit: &str, hosts: &[(&str, &[&str])]) -> FleetRevision {
    FleetRevision::new(commit.to_owned(), "change".to_owned(), resolved(hosts))
}

fn resolved(hosts: &[(&str, &[&str])]) -> Resolved {
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
    Resolved {
        fleet: "home".parse().unwrap(),
        hosts,
        contents: Contents::default(),
        alertmanagers: Vec::new(),
        halt_failures: 1,
        confirm_within: Duration::from_mins(2),
        diagnostics: Vec::new(),
    }
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

fn unfetched(reason: ConditionReason) -> SourceFault {
    SourceFault {
        reason,
        message: "connection refused".into(),
        retry: Retry::Transient,
    }
}

fn firing(state: &FleetState) -> Vec<String> {
    let alerts = state.active_alerts.firing();
    alerts
        .map(|alert| alert.labels["alertname"].clone())
        .collect()
}

#[test]
fn alerts_when_repository_cannot_be_fetched_for_ten_minutes() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    for minutes in [0, 9] {
        fleet.now += Duration::from_mins(minutes);
        let mut poll = failed_poll(unfetched(ConditionReason::Unreachable));
        poll.took = Duration::from_secs(1);
        fleet.event(Event::SourcePolled(Box::new(poll)));
        fleet.now += Duration::from_secs(1);
        fleet.event(Event::Woke);
        assert_eq!(firing(&fleet.state), Vec::<String>::new());
    }
    fleet.now += Duration::from_mins(1);
    fleet.event(Event::Woke);
    assert_eq!(firing(&fleet.state), ["PlumbSourceFailing"]);
    fleet.accept("a", &[("ant", &[])]);
    fleet.now += Duration::from_secs(1);
    fleet.event(Event::Woke);
    assert_eq!(firing(&fleet.state), Vec::<String>::new());
}

fn failed_poll(fault: SourceFault) -> SourcePoll {
    SourcePoll {
        fetched: Err(fault),
        took: Duration::ZERO,
        revoked: Some(Ok(Vec::new())),
        verification: Verification::NotDone,
        accepted: None,
        fault: None,
    }
}

/// An accepted revision whose files can't be read: the hosts aren't green at the one before.
#[test]
fn tells_at_once_when_accepted_revision_cannot_be_loaded() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    fleet.accept("a", &[("ant", &[])]);
    fleet.end_run(RunEnd::Looked);
    fleet.end_run(RunEnd::Settled);
    assert_eq!(
        condition(&fleet.state, "ant", ConditionType::Synced),
        Some(ConditionReason::Newest)
    );
    let mut poll = accepted_poll(&"b".repeat(40));
    poll.fault = Some(unfetched(ConditionReason::FilesUnreadable));
    let records = fleet.records.len();
    for _ in 0..3 {
        fleet.event(Event::SourcePolled(Box::new(SourcePoll {
            fault: poll.fault.clone(),
            ..accepted_poll(&"b".repeat(40))
        })));
        fleet.now += Duration::from_secs(1);
        fleet.event(Event::Woke);
    }
    let synced = condition(&fleet.state, "ant", ConditionType::Synced);
    assert_eq!(synced, Some(ConditionReason::FilesUnreadable));
    assert_eq!(firing(&fleet.state), ["PlumbSourceFailing"]);
    let told = &fleet.records[records..];
    let unreadable = |reason: &&ConditionReason| **reason == ConditionReason::FilesUnreadable;
    assert_eq!(told.iter().filter(unreadable).count(), 1, "{told:?}");

    fleet.accept("c", &[("ant", &[])]);
    fleet.now += Duration::from_secs(1);
    fleet.event(Event::Woke);
    assert_ne!(
        condition(&fleet.state, "ant", ConditionType::Synced),
        Some(ConditionReason::FilesUnreadable)
    );
    assert_eq!(firing(&fleet.state), Vec::<String>::new());
}

#[test]
fn source_that_fails_in_turns_is_recorded_once_for_each_reason() {
    let mut fleet = Loop::new();
    fleet.accept("a", &[("ant", &[])]);
    let fetched = |fleet: &mut Loop, fault: Option<ConditionReason>| {
        let mut poll = accepted_poll(&"a".repeat(40));
        if let Some(reason) = fault {
            poll.fetched = Err(unfetched(reason));
            poll.verification = Verification::NotDone;
        }
        fleet.event(Event::SourcePolled(Box::new(poll)));
        fleet.now += Duration::from_mins(10);
        fleet.event(Event::Woke);
    };
    let records = fleet.records.len();
    for _ in 0..5 {
        fetched(&mut fleet, Some(ConditionReason::Unreachable));
        fetched(&mut fleet, Some(ConditionReason::Timeout));
    }
    fetched(&mut fleet, None);
    fetched(&mut fleet, Some(ConditionReason::Timeout));
    let told = fleet.records[records..].iter();
    let of_fetches = |reason: &&ConditionReason| {
        let all = [
            ConditionReason::FetchFailed,
            ConditionReason::FetchRecovered,
        ];
        all.contains(reason)
    };
    let told: Vec<_> = told.filter(of_fetches).copied().collect();
    assert_eq!(
        told,
        [
            ConditionReason::FetchFailed,
            ConditionReason::FetchFailed,
            ConditionReason::FetchRecovered,
            ConditionReason::FetchFailed,
        ]
    );
}

#[test]
fn retries_soon_a_give_back_that_only_waits() {
    for (code, soon) in [(ErrorCode::UnitPending, true), (ErrorCode::NotFound, false)] {
        let mut fleet = Loop::new();
        fleet.event(Event::Started);
        fleet.accept("a", &[("ant", &[])]);
        fleet.end_run(RunEnd::Looked);
        let error = AgentError::new(code, "slow.service is deactivating");
        let resources = ResourceReport {
            give_backs: vec![("service:slow".parse().unwrap(), error)],
            ..ResourceReport::default()
        };
        fleet.end_run_with(RunEnd::Settled, resources);
        let next = fleet.state.hosts[&name("ant")].next_run.unwrap();
        let wait = next.duration_since(fleet.now);
        assert_eq!(
            wait < jiff::SignedDuration::from_mins(1),
            soon,
            "{code:?}: {wait}"
        );
    }
}

#[test]
fn skewed_clocks_are_a_condition_while_they_last() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    let skewed = |fleet: &Loop| {
        let conditions = &fleet.state.source.conditions;
        conditions
            .get(ConditionType::ClockSkewed)
            .map(|c| c.message.headline().to_owned())
    };
    for (minutes, wanted) in [
        (
            8,
            Some("the clock of http://alerts:9093 is 8 min ahead of the controller's"),
        ),
        (0, None),
    ] {
        let offset = jiff::SignedDuration::from_mins(minutes);
        fleet.event(Event::AlertsPosted {
            sink: plumb_api::AlertmanagerUrl::new("http://alerts:9093"),
            result: Ok(crate::ports::Posted {
                clock_offset: Some(offset),
            }),
        });
        assert_eq!(skewed(&fleet).as_deref(), wanted);
    }
    let told: Vec<_> = fleet.records.iter().rev().take(2).copied().collect();
    assert_eq!(
        told,
        [
            ConditionReason::ClockCorrected,
            ConditionReason::ClockSkewed
        ]
    );
}

/// No answer of theirs comes any more that could end the condition.
#[test]
fn forgets_clock_of_alertmanager_that_left() {
    let mut fleet = Loop::new();
    fleet.event(Event::Started);
    let accept = |fleet: &mut Loop, commit: &str, alertmanagers: &[&str]| {
        let commit = commit.repeat(40);
        let mut resolved = resolved(&[("ant", &[])]);
        let addresses = alertmanagers.iter().copied();
        resolved.alertmanagers = addresses.map(plumb_api::AlertmanagerUrl::new).collect();
        let mut poll = accepted_poll(&commit);
        let revision = FleetRevision::new(commit, "change".to_owned(), resolved);
        poll.accepted = Some(Arc::new(revision));
        fleet.event(Event::SourcePolled(Box::new(poll)));
    };
    accept(&mut fleet, "a", &["http://bob:pw@alerts:9093/"]);
    let offset = jiff::SignedDuration::from_mins(8);
    fleet.event(Event::AlertsPosted {
        sink: plumb_api::AlertmanagerUrl::new("http://alerts:9093"),
        result: Ok(crate::ports::Posted {
            clock_offset: Some(offset),
        }),
    });
    let skewed = |fleet: &Loop| {
        fleet
            .state
            .source
            .conditions
            .is_true(ConditionType::ClockSkewed)
    };
    assert!(skewed(&fleet));
    accept(&mut fleet, "b", &[]);
    assert!(!skewed(&fleet));
}
