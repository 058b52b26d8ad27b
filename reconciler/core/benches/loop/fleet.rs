//! A fleet in memory under virtual time: hosts that answer, a branch, and a store that is always durable.
//! It performs effects as the shell does; only the loop's own work is timed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use plumb_api::frame::{LedgerState, LedgerSummary, RevisionMark, TakeOver};
use plumb_api::plan::{Cause, Certainty, Change, ChangeId, Op, Plan};
use plumb_api::{ControllerId, Digest, Epoch, HostName, Spec};
use plumb_core::alerting;
use plumb_core::desired::{
    Contents, DesiredResource, DesiredState, DriftPolicy, Endpoint, Existing, HostIntent,
    HostResult, Lifecycle, Resolved,
};
use plumb_core::fleet::{
    BranchVerdict, ChangeOutcome, Effect, Event, FailedIn, FleetRevision, FleetState, Identity,
    LoopSettings, ObservedHost, PersistId, Persisted, RunEnd, RunFailure, RunMode, RunPhase,
    RunReport, SourcePoll, StartRun, StepVerdict, Verification, Waits, step,
};
use plumb_core::plan::Planned;
use plumb_core::ports::{HostError, Posted};
use plumb_core::view::{CommitHeader, CommitVerdict, FleetView};

/// The shortest time between two views, as in the shell.
const PUBLISH_INTERVAL: SignedDuration = SignedDuration::from_millis(100);

/// Every so many hosts, one is off.
const OFF: usize = 50;

/// Every so many runs of a host in sync, one finds drift.
const DRIFT: u64 = 40;

/// The time spent on events, or on views, and their number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub number: u64,
    pub spent: Duration,
}

impl Cost {
    fn add(&mut self, begun: Instant) {
        self.number += 1;
        self.spent += begun.elapsed();
    }

    /// The mean, in microseconds.
    pub fn each(self) -> f64 {
        let count = f64::from(u32::try_from(self.number.max(1)).unwrap());
        self.spent.as_secs_f64() * 1e6 / count
    }
}

#[derive(Debug, Default, Clone)]
struct Machine {
    has: Option<Digest>,
    revision: Option<String>,
    sequence: u64,
    runs: u64,
}

enum Answer {
    Wake,
    Persisted(PersistId),
    Run(Box<StartRun>),
    Poll,
    Posted,
    Publish,
}

/// The loop and everything around it.
pub struct SimulatedFleet {
    pub state: FleetState,
    pub now: Timestamp,
    /// The costs of all events since they were last taken, by their kind.
    pub events: BTreeMap<&'static str, Cost>,
    pub views: Cost,
    pub revisions: Vec<Arc<FleetRevision>>,
    loaded: Option<usize>,
    machines: BTreeMap<HostName, (usize, Machine)>,
    answers: BTreeMap<(Timestamp, u64), Answer>,
    wake: Option<(Timestamp, u64)>,
    order: u64,
    view: Arc<FleetView>,
    published: Timestamp,
    publishing: bool,
}

fn name(number: usize) -> HostName {
    format!("host-{number:05}").parse().unwrap()
}

fn desired(number: usize) -> DesiredState {
    let digest = Digest::of_bytes(number.to_string().as_bytes()).to_string();
    let spec = serde_json::json!({"file": {"content": {"sha256": digest, "size": 1}}});
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let resource = Arc::new(DesiredResource::new(spec).unwrap());
    DesiredState::new([("file:/etc/motd".parse().unwrap(), resource)].into())
}

/// A revision that wants one of eight states of each host.
fn revision(number: usize, hosts: usize) -> Arc<FleetRevision> {
    let states: Vec<_> = (0..8).map(|n| desired(number * 8 + n)).collect();
    let intent = |at: usize| HostIntent {
        name: name(at),
        uid: None,
        labels: BTreeMap::from([
            ("site".to_owned(), format!("site-{}", at % 7)),
            ("role".to_owned(), "web".to_owned()),
            ("env".to_owned(), "production".to_owned()),
        ]),
        formerly: Vec::new(),
        lifecycle: Lifecycle::Active,
        arch: Some("x86_64".to_owned()),
        connect: vec![Endpoint {
            address: format!("{}.example", name(at)),
            port: 22,
            user: "deploy".to_owned(),
        }],
        host_keys: Vec::new(),
        drift: DriftPolicy::default(),
        existing: Existing::default(),
        suspend: None,
        desired: states[at % states.len()].clone(),
    };
    let ready = |at| (name(at), HostResult::Ready(Arc::new(intent(at))));
    let resolved = Resolved {
        fleet: "bench".parse().unwrap(),
        hosts: (0..hosts).map(ready).collect(),
        contents: Contents::default(),
        alertmanagers: Vec::new(),
        halt_failures: 1,
        confirm_within: Duration::from_mins(2),
        diagnostics: Vec::new(),
    };
    let commit = format!("{:040x}", number + 1);
    Arc::new(FleetRevision::new(commit, "change".to_owned(), resolved))
}

fn settings() -> LoopSettings {
    LoopSettings {
        version: "0".to_owned(),
        source_url: "https://git.example/fleet.git".to_owned(),
        source_ref: "refs/heads/main".to_owned(),
        source_description: "https://git.example/fleet.git refs/heads/main".to_owned(),
        introduction: format!("{:040x}", 1),
        poll: Duration::from_mins(3),
        resync: Duration::from_mins(30),
        concurrency: 64,
        take_over: TakeOver::No,
        waits: Waits::default(),
        alerting: alerting::Settings::default(),
        generator_url: "https://plumb.example/".to_owned(),
    }
}

impl SimulatedFleet {
    /// Creates a fleet of so many hosts whose controller hasn't started yet.
    pub fn new(hosts: usize, revisions: usize) -> Self {
        let now = Timestamp::from_second(1_760_000_000).unwrap();
        let revisions = (0..revisions).map(|n| revision(n, hosts)).collect();
        let machines = (0..hosts).map(|at| (name(at), (at, Machine::default())));
        let persisted = Persisted::read(BTreeMap::new()).unwrap();
        let identity = Identity {
            id: "controller".parse::<ControllerId>().unwrap(),
            epoch: Epoch(1),
        };
        let state = FleetState::new(persisted, identity, settings(), now);
        Self {
            view: Arc::new(state.view(now)),
            state,
            now,
            events: BTreeMap::new(),
            views: Cost::default(),
            revisions,
            loaded: None,
            machines: machines.collect(),
            answers: BTreeMap::new(),
            wake: None,
            order: 0,
            published: now,
            publishing: false,
        }
    }

    /// Takes the costs since the last call.
    pub fn take_costs(&mut self) -> (BTreeMap<&'static str, Cost>, Cost) {
        (
            std::mem::take(&mut self.events),
            std::mem::take(&mut self.views),
        )
    }

    /// Starts the controller and lets time pass until every host that answers is as the newest revision says.
    pub fn start(&mut self) {
        self.event("started", Event::Started);
        self.settle();
    }

    /// Pushes a revision that changes all hosts, and lets time pass until they have it.
    pub fn roll_out(&mut self, number: usize) {
        self.loaded = Some(number - 1);
        self.event("notified", Event::Notified);
        self.settle();
    }

    fn settle(&mut self) {
        let goal = self.loaded.map_or(0, |loaded| loaded + 1);
        let head = self.revisions[goal].clone();
        let behind = |fleet: &Self| {
            let mut machines = fleet.machines.values();
            machines.any(|(at, machine)| {
                !is_off(*at) && machine.revision.as_deref() != Some(head.commit())
            })
        };
        for _ in 0..3_600 {
            self.advance(1);
            if !behind(self) {
                return;
            }
        }
        panic!("the fleet doesn't settle within an hour");
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        while let Some((key, answer)) = self.answers.pop_first() {
            if key.0 > end {
                self.answers.insert(key, answer);
                break;
            }
            self.now = self.now.max(key.0);
            self.answer(answer);
        }
        self.now = end;
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Wake => {
                self.wake = None;
                self.event("woke", Event::Woke);
            }
            Answer::Persisted(id) => {
                let result = Ok(());
                self.event("persisted", Event::Persisted { id, result });
            }
            Answer::Run(run) => {
                let report = self.run(&run);
                self.event("run ended", Event::RunEnded(Box::new(report)));
            }
            Answer::Poll => {
                let poll = self.poll();
                self.event("source polled", Event::SourcePolled(Box::new(poll)));
            }
            Answer::Posted => {
                let sink = plumb_api::AlertmanagerUrl::new("http://alertmanager");
                let result = Ok(Posted::default());
                self.event("alerts posted", Event::AlertsPosted { sink, result });
            }
            Answer::Publish => {
                self.publishing = false;
                self.published = self.now;
                let begun = Instant::now();
                self.view = Arc::new(self.state.view(self.now));
                self.views.add(begun);
            }
        }
    }

    fn event(&mut self, kind: &'static str, event: Event) {
        let begun = Instant::now();
        let effects = step(&mut self.state, event, self.now);
        self.events.entry(kind).or_default().add(begun);
        for effect in effects {
            self.perform(effect);
        }
        if !self.publishing {
            self.publishing = true;
            let at = self.now.max(self.published + PUBLISH_INTERVAL);
            self.schedule(at, Answer::Publish);
        }
    }

    fn schedule(&mut self, at: Timestamp, answer: Answer) -> (Timestamp, u64) {
        self.order += 1;
        let key = (at, self.order);
        self.answers.insert(key, answer);
        key
    }

    fn perform(&mut self, effect: Effect) {
        let after = |millis| self.now + SignedDuration::from_millis(millis);
        match effect {
            Effect::Persist { id, .. } => {
                self.schedule(after(3), Answer::Persisted(id));
            }
            Effect::StartRun(run) => {
                let jitter = i64::try_from(self.order % 100).unwrap();
                self.schedule(after(50 + jitter), Answer::Run(run));
            }
            Effect::FetchSource(_) => {
                self.schedule(after(100), Answer::Poll);
            }
            Effect::PostAlerts { .. } => {
                self.schedule(after(20), Answer::Posted);
            }
            Effect::WakeAt(at) => {
                if let Some(old) = self.wake.take() {
                    self.answers.remove(&old);
                }
                self.wake = Some(self.schedule(at.max(self.now), Answer::Wake));
            }
            Effect::LoadRevision { commit, .. } => panic!("{commit} isn't known"),
            Effect::Record(_) | Effect::FollowAlertmanagers(_) | Effect::Answer { .. } => {}
        }
    }

    fn poll(&mut self) -> SourcePoll {
        let newest = self.loaded.map_or(0, |loaded| loaded + 1);
        let newest = newest.min(self.revisions.len() - 1);
        let is_new = self.state.view(self.now).source.accepted.as_deref()
            != Some(self.revisions[newest].commit());
        let revision = self.revisions[newest].clone();
        let commit = revision.commit().to_owned();
        SourcePoll {
            fetched: Ok(commit.clone()),
            took: Duration::from_millis(100),
            revoked: Some(Ok(Vec::new())),
            verification: Verification::Branch(Box::new(BranchVerdict {
                head: commit.clone(),
                accepted: commit.clone(),
                held: None,
                steps: vec![StepVerdict {
                    commit,
                    verdict: CommitVerdict::Accept,
                    header: CommitHeader::default(),
                    reasons: Vec::new(),
                }],
                first_seen: BTreeMap::new(),
                rollbacks: Vec::new(),
                resumes: Vec::new(),
                revoked: Vec::new(),
                unbacked: None,
            })),
            accepted: is_new.then_some(revision),
            fault: None,
        }
    }

    fn run(&mut self, run: &StartRun) -> RunReport {
        let mut report = RunReport::begun(run);
        let host = run.fence.host.clone();
        let (at, machine) = self.machines.get_mut(&host).unwrap();
        if is_off(*at) {
            let reason = "no route to host".to_owned();
            let error = HostError::Unreachable { host, reason };
            report.end = RunEnd::Failed(RunFailure::of_host(&error, FailedIn::Contact));
            return report;
        }
        machine.runs += 1;
        let times = [
            (RunPhase::Connect, 20),
            (RunPhase::Observe, 15),
            (RunPhase::Apply, 30),
        ];
        report.phases = times
            .map(|(phase, millis)| (phase, Duration::from_millis(millis)))
            .into();
        if run.mode == RunMode::Drive {
            machine.apply(run, &mut report);
        }
        report.observed = Some(ObservedHost {
            clock_offset: None,
            ledger: machine.ledger(run),
            resources: 100,
        });
        report
    }
}

fn is_off(at: usize) -> bool {
    at % OFF == OFF / 2
}

impl Machine {
    fn ledger(&self, run: &StartRun) -> LedgerSummary {
        LedgerSummary {
            state: match self.sequence {
                0 => LedgerState::Fresh,
                _ => LedgerState::Sound,
            },
            sequence: self.sequence,
            epoch: Some(run.fence.epoch),
            controller: Some(run.fence.controller.clone()),
            revision: self.revision.clone().map(RevisionMark),
            confirmed: self.has,
            resources: 100,
        }
    }

    fn apply(&mut self, run: &StartRun, report: &mut RunReport) {
        let cause = if self.has == Some(run.target.digest) {
            self.runs.is_multiple_of(DRIFT).then_some(Cause::Drift)
        } else {
            Some(Cause::Intent)
        };
        let change = |cause| Change {
            id: ChangeId(0),
            address: "file:/etc/motd".parse().unwrap(),
            op: Op::Update,
            cause,
            certainty: Certainty::Exact,
            fields: Vec::new(),
            consequences: Vec::new(),
            precondition: None,
            after: Vec::new(),
        };
        let changes: Vec<_> = cause.map(change).into_iter().collect();
        let outcomes = changes.iter().map(|c| (c.clone(), ChangeOutcome::Applied));
        report.outcomes = outcomes.collect();
        report.planned = Some(Planned {
            leaving: BTreeSet::new(),
            diffs: BTreeMap::new(),
            plan: Plan {
                target: run.target.digest,
                changes,
                confirm: Vec::new(),
                forget: Vec::new(),
            },
            refusal: None,
            held_drift: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            origins: BTreeMap::new(),
        });
        self.sequence += u64::from(cause.is_some());
        self.has = Some(run.target.digest);
        self.revision = Some(run.target.revision.clone());
        report.end = RunEnd::Settled;
    }
}
