//! A world around one or two controllers: a store each, one branch, the hosts, and virtual time. Effects
//! become events after some time, or never.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::frame::TakeOver;
use plumb_api::report::Retry;
use plumb_api::{Digest, HostName};
use plumb_core::alerting;
use plumb_core::fleet::{
    Effect, Event, FleetState, Identity, LoopSettings, PersistId, Persisted, RequestId, RunMode,
    SourceFault, SourcePoll, StartRun, Verification, Waits, step,
};
use plumb_core::ports::{AlertError, Posted, Records, StoreError, Table, Write};
use plumb_core::reason::ConditionReason;
use plumb_core::status::Target;

use crate::chance::Chance;
use crate::invariants::{self, Watch};
use crate::machine::{Fault, Machine};
use crate::repository::Repository;

/// What comes back to a controller, and when.
#[derive(Debug)]
enum Answer {
    Wake,
    Persist(PersistId, Vec<Write>),
    Run(Box<StartRun>),
    Poll(Box<plumb_core::fleet::PollRequest>),
    Load(String, String),
    Post,
}

/// A controller: its state while it runs, and the store that outlives it.
pub struct Controller {
    pub state: Option<FleetState>,
    pub store: BTreeMap<(Table, String), Vec<u8>>,
    pub store_fails: bool,
    pub take_over: TakeOver,
    name: &'static str,
    answers: BTreeMap<(Timestamp, u64), Answer>,
    wake: Option<(Timestamp, u64)>,
    /// Machines with a run of this controller.
    runs: BTreeSet<usize>,
    pub watch: Watch,
    /// The revision that was newest before each revision.
    pub before: BTreeMap<String, String>,
    pub newest: Option<String>,
    requests: u64,
    unanswered: BTreeSet<u64>,
}

/// The alarms that may be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarms {
    Allowed,
    Forbidden,
}

/// The world.
pub struct World {
    pub now: Timestamp,
    pub chance: Chance,
    pub repository: Repository,
    pub machines: Vec<Machine>,
    /// The machine behind each name; a rename adds one.
    pub names: BTreeMap<HostName, usize>,
    pub controllers: Vec<Controller>,
    pub alertmanager_down: bool,
    pub alarms: Alarms,
    /// The controller that crashes after so many more effects.
    pub crash_after: Option<(usize, usize)>,
    pub steps: u64,
    /// Steps in the current second, to notice a loop that spins.
    busy: (i64, u32),
    pub log: Vec<String>,
    pub logging: bool,
    checked: bool,
    order: u64,
}

pub type Checked = Result<(), String>;

const BUSIEST: u32 = 20_000;

impl World {
    pub fn new(seed: u64, hosts: usize, repository: Repository, checked: bool) -> Self {
        let names = repository.manifests().keys().cloned().zip(0..).collect();
        let controller = |name| Controller {
            state: None,
            store: BTreeMap::new(),
            store_fails: false,
            take_over: TakeOver::No,
            name,
            answers: BTreeMap::new(),
            wake: None,
            runs: BTreeSet::new(),
            watch: Watch::default(),
            before: BTreeMap::new(),
            newest: None,
            requests: 0,
            unanswered: BTreeSet::new(),
        };
        Self {
            now: Timestamp::from_second(1_760_000_000).unwrap(),
            chance: Chance::new(seed),
            repository,
            machines: vec![Machine::default(); hosts],
            names,
            controllers: vec![controller("first"), controller("second")],
            alertmanager_down: false,
            alarms: Alarms::Allowed,
            crash_after: None,
            steps: 0,
            busy: (0, 0),
            log: Vec::new(),
            logging: false,
            checked,
            order: 0,
        }
    }

    fn settings(take_over: TakeOver) -> LoopSettings {
        LoopSettings {
            version: "0".to_owned(),
            source_url: "memory".to_owned(),
            source_ref: "refs/heads/main".to_owned(),
            source_description: "memory refs/heads/main".to_owned(),
            introduction: format!("{:040x}", 0),
            poll: Duration::from_mins(3),
            resync: Duration::from_mins(30),
            concurrency: 4,
            take_over,
            waits: Waits::default(),
            alerting: alerting::Settings::default(),
            generator_url: String::new(),
        }
    }

    /// Starts a controller from its store, through the forms that production reads.
    pub fn start(&mut self, which: usize) -> Checked {
        let controller = &mut self.controllers[which];
        if controller.state.is_some() || controller.store_fails {
            return Ok(());
        }
        let key = (Table::Controller, Identity::KEY.to_owned());
        let stored = controller.store.get(&key).map(Vec::as_slice);
        let name = controller.name;
        let (identity, write) = Identity::begin(stored, || name.parse().unwrap()).unwrap();
        perform(&mut controller.store, write.into_iter().collect());
        let mut tables: BTreeMap<Table, Records> = BTreeMap::new();
        for ((table, key), bytes) in &controller.store {
            let table = tables.entry(*table).or_default();
            table.push((key.clone(), bytes.clone()));
        }
        let persisted = Persisted::read(tables).map_err(|error| error.to_string())?;
        if !persisted.unreadable().is_empty() {
            return Err(format!("unreadable: {:?}", persisted.unreadable()));
        }
        let settings = Self::settings(controller.take_over);
        let concurrency = settings.concurrency.max(self.machines.len() / 50);
        let settings = LoopSettings {
            concurrency,
            ..settings
        };
        controller.state = Some(FleetState::new(persisted, identity, settings, self.now));
        controller.watch = Watch::default();
        self.event(which, Event::Started)
    }

    /// Ends a controller where it is. What runs on hosts is carried out or not; nobody learns of it.
    pub fn crash(&mut self, which: usize) {
        let controller = &mut self.controllers[which];
        controller.state = None;
        controller.wake = None;
        controller.runs.clear();
        controller.unanswered.clear();
        let lost = std::mem::take(&mut controller.answers);
        for answer in lost.into_values() {
            match answer {
                Answer::Run(run) if self.chance.once_in(2) => {
                    let machine = self.names[&run.fence.host];
                    self.machines[machine].run(&run, &self.repository);
                }
                Answer::Persist(_, writes) if self.chance.once_in(2) => {
                    let controller = &mut self.controllers[which];
                    if !controller.store_fails {
                        perform(&mut controller.store, writes);
                    }
                }
                _ => {}
            }
        }
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.logging {
            let line = format!("{} {}", self.now, text());
            self.log.push(line);
        }
    }

    /// Asks a controller to reconcile or to forget.
    pub fn ask(&mut self, which: usize, event: impl FnOnce(RequestId) -> Event) -> Checked {
        let controller = &mut self.controllers[which];
        if controller.state.is_none() {
            return Ok(());
        }
        let request = controller.requests;
        controller.requests += 1;
        controller.unanswered.insert(request);
        self.event(which, event(RequestId(request)))
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: i64) -> Checked {
        let end = self.now + jiff::SignedDuration::from_secs(seconds);
        loop {
            let first = |controller: &Controller| controller.answers.keys().next().copied();
            let next = (0..self.controllers.len())
                .filter_map(|which| Some((first(&self.controllers[which])?, which)))
                .min()
                .filter(|((at, _), _)| *at <= end);
            let Some((key, which)) = next else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(key.0);
            let Some(answer) = self.controllers[which].answers.remove(&key) else {
                continue;
            };
            let event = self.answered(which, answer);
            self.event(which, event)?;
        }
    }

    fn answered(&mut self, which: usize, answer: Answer) -> Event {
        let controller = &mut self.controllers[which];
        match answer {
            Answer::Wake => {
                controller.wake = None;
                Event::Woke
            }
            Answer::Persist(id, writes) => {
                let result = if controller.store_fails {
                    Err(StoreError::Failed("no space left on device".to_owned()))
                } else {
                    perform(&mut controller.store, writes);
                    Ok(())
                };
                Event::Persisted { id, result }
            }
            Answer::Run(run) => {
                let machine = self.names[&run.fence.host];
                controller.runs.remove(&machine);
                let report = self.machines[machine].run(&run, &self.repository);
                Event::RunEnded(Box::new(report))
            }
            Answer::Poll(request) => {
                let repository = &mut self.repository;
                let down = repository.down.then(|| SourceFault {
                    reason: ConditionReason::Unreachable,
                    message: "connection refused".into(),
                    retry: Retry::Transient,
                });
                let verdict = repository.verify(&request, self.now);
                // While the branch can't be fetched, what was accepted before is loaded.
                let load = match (&down, &request.floor, &request.loaded) {
                    (None, ..) => Some(verdict.accepted.clone()),
                    (Some(_), Some(floor), None) => Some(floor.clone()),
                    (Some(_), ..) => None,
                };
                let load = load.filter(|load| Some(load) != request.loaded.as_ref());
                let accepted = load.and_then(|load| repository.find(&load));
                Event::SourcePolled(Box::new(SourcePoll {
                    accepted: accepted.map(|at| repository.revision(at)),
                    verification: match down {
                        None => Verification::Branch(Box::new(verdict.clone())),
                        Some(_) => Verification::NotDone,
                    },
                    fetched: down.map_or(Ok(verdict.head), Err),
                    took: Duration::ZERO,
                    revoked: Some(Ok(Vec::new())),
                    fault: None,
                }))
            }
            Answer::Load(commit, accepted) => {
                let repository = &mut self.repository;
                let at = repository.find(&commit);
                let accepted = repository.find(&accepted);
                let revision = at
                    .zip(accepted)
                    .filter(|(at, accepted)| repository.descends(*at, *accepted))
                    .map(|(at, _)| repository.revision(at));
                Event::RevisionLoaded { commit, revision }
            }
            Answer::Post => Event::AlertsPosted {
                sink: plumb_api::AlertmanagerUrl::new("http://alertmanager"),
                result: if self.alertmanager_down {
                    Err(AlertError::Unreachable("connection refused".to_owned()))
                } else {
                    Ok(Posted::default())
                },
            },
        }
    }

    /// Gives a controller an event, checks what follows, and performs its effects one by one.
    pub fn event(&mut self, which: usize, event: Event) -> Checked {
        let now = self.now;
        self.note(|| format!("{which} <- {}", invariants::name(&event)));
        let Some(state) = &mut self.controllers[which].state else {
            return Ok(());
        };
        let effects = step(state, event, now);
        self.steps += 1;
        if self.busy.0 == now.as_second() {
            self.busy.1 += 1;
        } else {
            self.busy = (now.as_second(), 0);
        }
        if self.busy.1 > BUSIEST.max(u32::try_from(self.machines.len() * 8).unwrap()) {
            return Err("the loop spins: too many steps in one second".to_owned());
        }
        if self.checked {
            invariants::after_step(self, which, &effects)?;
        }
        for effect in effects {
            if let Some((crashing, left)) = self.crash_after
                && crashing == which
            {
                if left == 0 {
                    self.crash_after = None;
                    self.note(|| format!("{which} crashes before an effect"));
                    self.crash(which);
                    return Ok(());
                }
                self.crash_after = Some((crashing, left - 1));
            }
            self.perform(which, effect)?;
        }
        Ok(())
    }

    fn schedule(&mut self, which: usize, wait: Duration, answer: Answer) {
        self.order += 1;
        let key = (self.now + wait, self.order);
        self.controllers[which].answers.insert(key, answer);
    }

    fn latency(&mut self, longest: usize) -> Duration {
        Duration::from_millis(1 + self.chance.below(longest) as u64)
    }

    fn perform(&mut self, which: usize, effect: Effect) -> Checked {
        match effect {
            Effect::Persist { id, writes } => {
                // Writes are durable in the order in which they were asked for.
                let wait = Duration::from_millis(3);
                self.schedule(which, wait, Answer::Persist(id, writes));
            }
            Effect::StartRun(run) => {
                self.note(|| {
                    let target = &run.target.revision;
                    format!(
                        "{which} -> run {} {:?} to {target}",
                        run.fence.host, run.mode
                    )
                });
                self.check_run(which, &run)?;
                let machine = self.names[&run.fence.host];
                let mut wait = self.latency(300) + self.machines[machine].slow;
                if self.machines[machine].fault == Some(Fault::Off) {
                    wait += Duration::from_secs(5);
                }
                self.schedule(which, wait, Answer::Run(run));
            }
            Effect::FetchSource(request) => {
                let wait = self.latency(200);
                self.schedule(which, wait, Answer::Poll(request));
            }
            Effect::LoadRevision { commit, accepted } => {
                let wait = self.latency(200);
                self.schedule(which, wait, Answer::Load(commit, accepted));
            }
            Effect::PostAlerts { .. } => {
                let wait = self.latency(50);
                self.schedule(which, wait, Answer::Post);
            }
            Effect::WakeAt(at) => {
                if let Some(old) = self.controllers[which].wake.take() {
                    self.controllers[which].answers.remove(&old);
                }
                self.order += 1;
                let key = (at.max(self.now), self.order);
                let controller = &mut self.controllers[which];
                controller.answers.insert(key, Answer::Wake);
                controller.wake = Some(key);
            }
            Effect::Answer { request, .. } => {
                self.controllers[which].unanswered.remove(&request.0);
            }
            Effect::Record(record) => {
                self.note(|| {
                    let host = record.host.as_ref().map_or("", HostName::as_str);
                    format!("{which}: {} {host} {}", record.reason, record.message)
                });
            }
            Effect::FollowAlertmanagers(_) => {}
        }
        Ok(())
    }

    /// A run that changes a host needs a durable target, and is the only one on its machine.
    fn check_run(&mut self, which: usize, run: &StartRun) -> Checked {
        let host = &run.fence.host;
        let machine = self.names[host];
        let controller = &mut self.controllers[which];
        if run.mode == RunMode::Drive {
            let stored = stored_target(controller, host).map(|target| target.digest);
            if stored != Some(run.target.digest) {
                return Err(format!("{host} is changed without a durable target"));
            }
        }
        if !controller.runs.insert(machine) {
            return Err(format!("{host} has two runs"));
        }
        Ok(())
    }

    /// True if every request got its answer.
    pub fn is_answered(&self) -> bool {
        self.controllers.iter().all(|c| c.unanswered.is_empty())
    }
}

/// The target of a host in a controller's store.
pub fn stored_target(controller: &Controller, host: &HostName) -> Option<Target> {
    let bytes = controller.store.get(&(Table::Targets, host.to_string()))?;
    serde_json::from_slice(bytes).ok()
}

/// The digest of a target that is written.
pub fn written_target(write: &Write) -> Option<(HostName, Digest)> {
    let Write::Put(Table::Targets, key, bytes) = write else {
        return None;
    };
    let target: Target = serde_json::from_slice(bytes).ok()?;
    Some((key.parse().ok()?, target.digest))
}

fn perform(store: &mut BTreeMap<(Table, String), Vec<u8>>, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Put(table, key, bytes) => store.insert((table, key), bytes),
            Write::Delete(table, key) => store.remove(&(table, key)),
        };
    }
}
