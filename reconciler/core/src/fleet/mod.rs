//! The controller's main loop as a pure state machine, with its whole state and all its decisions.
//!
//! [`step`] takes one [`Event`] and returns the [`Effect`]s to perform, in order. It does no I/O and reads no
//! clock: the shell, which is the code around it in `plumb-controller`, waits for events, performs effects and
//! publishes [`FleetState::view`]. A step updates only the hosts that its event affects, so its cost doesn't
//! grow with the fleet. Events about all hosts, such as a new revision, are the exception.
//!
//! Two rules keep hosts safe. First, a host's target, the accepted floor and a raised epoch take effect only
//! once [`Event::Persisted`] says that they are durable, so that no host is changed because of something that
//! a restarted controller wouldn't know. Second, a host has at most one run at a time.

mod activate;
mod assign;
mod backlog;
mod backoff;
mod clocks;
mod conditions;
mod dispatch;
mod drift;
mod effect;
mod host;
mod ledger;
mod metrics;
mod notify;
mod persist;
mod queue;
mod records;
mod resource_report;
mod revision;
mod run;
mod run_records;
mod run_result;
mod run_verdict;
mod source;
mod source_poll;
mod stored;
mod take_over;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_api::frame::TakeOver;
use plumb_api::{AlertmanagerUrl, Digest, HostName};

use crate::alerting::{self, ActiveAlerts, AlertScope};
use crate::desired::DesiredState;
use crate::rollout::{Limits, Rollout, RolloutId};
use crate::status::HostStatus;
use crate::view::{AlertView, FleetView, HostList, HostObject, QueueView, RolloutView};

pub use backoff::Waits;
pub use conditions::conditions;
pub use effect::{
    CommandError, Effect, Event, PersistId, PhaseTimes, PollRequest, RequestId, RunId, RunPhase,
    StartRun,
};
pub use host::HostState;
pub use metrics::{BOUNDS, Counters, Histogram, MetricsSnapshot, Sample};
pub use queue::Trigger;
pub use records::RecordLog;
pub use resource_report::ResourceReport;
pub use revision::FleetRevision;
pub use run::{
    ChangeOutcome, Contact, FailedIn, ObservedHost, RunEnd, RunFailure, RunMode, RunReport,
};
pub use source::{
    BranchVerdict, ResumeRecord, RollbackRecord, SourceFault, SourcePoll, SourceRecord,
    StepVerdict, TrustRootFault, Verification,
};
pub use source_poll::REVISIONS;
pub use stored::{Identity, Persisted, RecordError};

use backoff::Jitter;
use persist::{Continuation, StoreHealth};
use queue::Queue;
use source::SourceState;

/// The settings of the main loop.
#[derive(Debug, Clone)]
pub struct LoopSettings {
    /// The version of this program.
    pub version: String,
    /// The address of the repository, without credentials.
    pub source_url: String,
    /// The branch.
    pub source_ref: String,
    /// Address and branch in one text.
    pub source_description: String,
    /// The introduction, which is the commit that the configuration declares as trusted, in hexadecimal.
    pub introduction: String,
    /// The interval between polls of the source.
    pub poll: Duration,
    /// The interval between periodic runs of a host.
    pub resync: Duration,
    /// Maximum number of runs at the same time.
    pub concurrency: usize,
    /// The permission to take over hosts that another controller drives.
    pub take_over: TakeOver,
    /// The delays before retries after failures.
    pub waits: Waits,
    /// The times and counts after which alerts fire.
    pub alerting: alerting::Settings,
    /// The address of the status page, for links in alerts.
    pub generator_url: String,
}

/// The state of loading an older revision that some hosts still have as their target.
#[derive(Debug)]
enum OldRevision {
    Loading,
    Loaded(Arc<FleetRevision>),
    /// Loading it failed at this time.
    Missing(Timestamp),
}

/// The whole state of the loop.
#[derive(Debug)]
pub struct FleetState {
    settings: LoopSettings,
    identity: Identity,
    source: SourceState,
    head: Option<Arc<FleetRevision>>,
    /// The commit of the newest revision. The states of its hosts share this text.
    head_commit: Option<Arc<str>>,
    older: BTreeMap<String, OldRevision>,
    hosts: BTreeMap<HostName, HostState>,
    /// The published objects of all hosts, shared with views.
    objects: HostList,
    rollouts: Vec<Rollout>,
    limits: Limits,
    /// The number of the next rollout.
    next_rollout: RolloutId,
    /// The halted rollouts, each with a message for the hosts that wait for it.
    halts: BTreeMap<RolloutId, Arc<str>>,
    /// Hosts that may get a new target, grouped by the rollout that would assign it.
    candidates: BTreeMap<RolloutId, BTreeSet<HostName>>,
    queue: Queue,
    runs: BTreeMap<RunId, HostName>,
    /// Desired states that agents have stored or that are targets, by digest.
    states: BTreeMap<Digest, Arc<DesiredState>>,
    active_alerts: ActiveAlerts,
    /// The firing alerts, shared with views.
    firing: Arc<[AlertView]>,
    /// The objects whose alerts must be evaluated again.
    unsettled_alerts: BTreeSet<AlertScope>,
    alerts_at: Option<Timestamp>,
    /// Times at which the alerts of a host must be evaluated even if no event arrives.
    alert_deadlines: BTreeSet<(Timestamp, HostName)>,
    source_alert_at: Option<Timestamp>,
    resend_at: Timestamp,
    /// Alertmanagers that didn't accept the last alerts.
    sinks_failing: BTreeSet<AlertmanagerUrl>,
    /// The clock of each Alertmanager minus the controller's.
    sink_clocks: BTreeMap<AlertmanagerUrl, SignedDuration>,
    records: Arc<RecordLog>,
    counters: Arc<Counters>,
    /// The number of hosts that run each revision.
    hosts_on: BTreeMap<String, u32>,
    pending: BTreeMap<PersistId, Continuation>,
    store: StoreHealth,
    /// Records whose deletion failed. It is repeated when the store works again.
    undeleted: BTreeSet<(crate::ports::Table, String)>,
    next_id: u64,
    wake_at: Option<Timestamp>,
    draining: bool,
    jitter: Jitter,
}

/// Processes an event and returns the effects, in their order.
pub fn step(state: &mut FleetState, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut step = Step {
        state,
        now,
        effects: Vec::new(),
        writes: Vec::new(),
        rollouts: RolloutRecords::Current,
        joins: Joins::ByItself,
        touched: BTreeSet::new(),
    };
    step.take_in(event);
    step.finish();
    step.effects
}

/// The state of the stored rollouts relative to those in memory. Changed rollouts are written only at fixed
/// points of a step, so that an older version never overwrites a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RolloutRecords {
    /// The store has the current rollouts, or will have them after the effects that this step has returned so
    /// far.
    Current,
    /// The rollouts changed since they were last written.
    Changed,
}

/// The reason why hosts join a rollout in this step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joins {
    /// A new revision changes their desired state.
    ByRevision,
    /// The hosts are new, or lost their target.
    ByItself,
}

/// A step in progress.
struct Step<'a> {
    state: &'a mut FleetState,
    now: Timestamp,
    effects: Vec<Effect>,
    /// Changed records, which are written together.
    writes: Vec<crate::ports::Write>,
    rollouts: RolloutRecords,
    joins: Joins,
    /// Hosts whose published objects must be updated before the step ends.
    touched: BTreeSet<HostName>,
}

/// Returns the first twelve digits of a commit, for messages.
fn short_commit(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Returns the time `wait` after `now`.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

impl FleetState {
    /// Creates the state of a starting controller from the stored records.
    pub fn new(
        persisted: Persisted,
        identity: Identity,
        settings: LoopSettings,
        now: Timestamp,
    ) -> Self {
        let seed = identity.id.as_str().bytes();
        let seed = seed.fold(identity.epoch.0, |seed, byte| {
            seed.rotate_left(5) ^ u64::from(byte)
        });
        let limits = Limits {
            at_once: settings.concurrency,
            failures: persisted.source.halt_failures.unwrap_or(1),
        };
        let next_rollout = persisted.next_rollout();
        let mut hosts_on = BTreeMap::new();
        for host in persisted.hosts.values() {
            if let Some(revision) = &host.revision {
                *hosts_on.entry(revision.clone()).or_default() += 1;
            }
        }
        Self {
            queue: Queue::new(settings.concurrency),
            source: SourceState::new(persisted.source, now),
            settings,
            identity,
            head: None,
            head_commit: None,
            older: BTreeMap::new(),
            objects: persisted.hosts.values().map(|h| h.object.clone()).collect(),
            next_rollout,
            hosts: persisted.hosts,
            halts: assign::halts(&persisted.rollouts, limits),
            rollouts: persisted.rollouts,
            limits,
            candidates: BTreeMap::new(),
            runs: BTreeMap::new(),
            states: persisted.states,
            firing: persisted.alerts.firing().map(AlertView::from).collect(),
            active_alerts: persisted.alerts,
            unsettled_alerts: BTreeSet::new(),
            alerts_at: None,
            alert_deadlines: BTreeSet::new(),
            source_alert_at: None,
            resend_at: now,
            sinks_failing: BTreeSet::new(),
            sink_clocks: BTreeMap::new(),
            records: Arc::new(persisted.records),
            counters: Arc::new(Counters::new()),
            hosts_on,
            pending: BTreeMap::new(),
            store: StoreHealth::Working,
            undeleted: BTreeSet::new(),
            next_id: 0,
            wake_at: None,
            draining: false,
            jitter: Jitter::new(seed),
        }
    }

    /// Returns all hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &HostState> {
        self.hosts.values()
    }

    /// True if a drain was requested and no run is in progress.
    pub fn is_drained(&self) -> bool {
        self.draining && self.runs.is_empty()
    }

    /// Returns the state as the API shows it.
    pub fn view(&self, now: Timestamp) -> FleetView {
        let revisions = self.source.record.revisions.iter().cloned();
        FleetView {
            name: self.source.record.fleet.clone(),
            version: self.settings.version.clone(),
            epoch: self.identity.epoch.0,
            now,
            source: self.source.view(&self.settings, &self.sink_clocks),
            hosts: self.objects.clone(),
            revisions: revisions
                .map(|mut revision| {
                    revision.hosts = self.hosts_on.get(&revision.commit).copied().unwrap_or(0);
                    revision
                })
                .collect(),
            alerts: self.firing.clone(),
            rollout: self.rollouts_in_one(),
            rollouts: self.rollouts.iter().map(|r| self.rollout_view(r)).collect(),
            loaded: self.head.clone(),
            queue: self.queue_view(now),
            records: self.records.clone(),
            counters: self.counters.clone(),
        }
    }

    fn rollout_view(&self, rollout: &Rollout) -> RolloutView {
        let failed = rollout.failed().iter();
        RolloutView {
            revision: rollout.revision().map(str::to_owned),
            halted: rollout.is_halted(self.limits),
            on_their_way: rollout.on_their_way().cloned().collect(),
            failed: failed
                .map(|(host, failure)| (host.clone(), failure.reason.clone()))
                .collect(),
        }
    }

    /// Returns all rollouts combined into one, under the newest revision.
    fn rollouts_in_one(&self) -> RolloutView {
        let mut all = RolloutView {
            revision: self.head_commit.as_deref().map(str::to_owned),
            ..RolloutView::default()
        };
        for rollout in &self.rollouts {
            let one = self.rollout_view(rollout);
            all.halted |= one.halted;
            all.on_their_way.extend(one.on_their_way);
            all.failed.extend(one.failed);
        }
        all.on_their_way.sort();
        all
    }

    fn queue_view(&self, now: Timestamp) -> QueueView {
        let oldest = self.queue.oldest().filter(|at| *at <= now);
        QueueView {
            due: self.queue.due(now),
            waiting: self.queue.waiting(),
            running: self.queue.running(),
            oldest: oldest.map_or(Duration::ZERO, |at| now.duration_since(at).unsigned_abs()),
        }
    }

    /// Updates the numbers of hosts per revision when a host moves from one revision to another.
    fn tally_revision(&mut self, from: Option<String>, to: Option<&String>) {
        if from.as_ref() == to {
            return;
        }
        if let Some(from) = from
            && let Some(count) = self.hosts_on.get_mut(&from)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.hosts_on.remove(&from);
            }
        }
        if let Some(to) = to {
            *self.hosts_on.entry(to.clone()).or_default() += 1;
        }
    }
}

impl Step<'_> {
    fn take_in(&mut self, event: Event) {
        match event {
            Event::Started => self.started(),
            Event::Woke => self.state.wake_at = None,
            Event::SourcePolled(poll) => self.source_polled(*poll),
            Event::RevisionLoaded { commit, revision } => self.revision_loaded(commit, revision),
            Event::RunEnded(report) => self.run_ended(&report),
            Event::Persisted { id, result } => self.persisted(id, result.as_ref().copied()),
            Event::AlertsPosted { sink, result } => self.alerts_posted(sink, result),
            Event::AlertmanagerInvalid(message) => {
                let reason = crate::reason::ConditionReason::AlertmanagerInvalid;
                self.warn(None, reason, message, None);
            }
            Event::Notified => self.notified(),
            Event::ReconcileAsked { hosts, request } => self.reconcile_asked(hosts, request),
            Event::ForgetAsked { host, request } => self.forget_asked(&host, request),
            Event::LetGoAsked {
                host,
                address,
                request,
            } => self.let_go_asked(&host, &address, request),
            Event::DrainAsked => self.state.draining = true,
        }
    }

    /// Schedules the evaluation of all alerts. Alerts that fired before the restart keep firing until that
    /// evaluation ends them.
    fn started(&mut self) {
        let hosts = self.state.hosts.keys().cloned().map(AlertScope::Host);
        let mut scopes: BTreeSet<_> = hosts.collect();
        scopes.extend(self.state.active_alerts.scopes().cloned());
        scopes.insert(AlertScope::Rollouts);
        for scope in scopes {
            self.alerts_changed(scope);
        }
    }

    /// Does the work that follows every event: due retries, polls, new targets, runs, alerts and writes.
    fn finish(&mut self) {
        self.retry_store_if_due();
        self.poll_if_due();
        self.settle();
        self.withdraw_targets();
        self.assign_targets();
        self.dispatch();
        self.settle();
        self.alerts_if_due();
        self.persist_records();
        self.schedule_wake();
    }

    /// Marks a host as changed, so that [`settle`](Self::settle) updates its published object.
    fn touch(&mut self, host: &HostName) {
        self.touched.insert(host.clone());
    }

    /// Updates the published objects of the hosts that were marked as changed.
    fn settle(&mut self) {
        while let Some(name) = self.touched.pop_first() {
            let joined = self.update_backlog(&name);
            if self.state.update_candidate(&name) {
                // The alert about halted rollouts fires only while hosts wait.
                self.alerts_changed(AlertScope::Rollouts);
            }
            let state = &mut *self.state;
            let Some(host) = state.hosts.get_mut(&name) else {
                continue;
            };
            let status = HostStatus {
                host: name.clone(),
                revision: host.revision.clone(),
                target: host.target.clone(),
                held: host.held,
                ledger_sequence: host.ledger_sequence,
                clock_offset: host.clock_offset.map(|offset| offset.as_secs()),
                conditions: conditions(host, self.now),
                last_seen: host.last_seen,
                last_success: host.last_success,
                failures: host.failures,
                resources: host.resources,
                differing: host.differing.clone(),
                failing: host.failing.clone(),
                waiting: host.waiting.clone(),
                give_backs: host.give_backs.clone(),
                next_run: host.next_run,
            };
            let object = HostObject::new(host.labels.clone(), status);
            if *host.object == object {
                if joined {
                    self.writes.extend(persist::put_host(&host.record()));
                }
                continue;
            }
            let object = Arc::new(object);
            let before = std::mem::replace(&mut host.object, object.clone());
            state.objects.insert(object);
            let revision = host.revision.clone();
            self.writes.extend(persist::put_host(&host.record()));
            let before = before.status.revision.clone();
            self.state.tally_revision(before, revision.as_ref());
            self.alerts_changed(AlertScope::Host(name));
        }
    }

    /// Requests a wake-up at the next time at which the loop must act without an event.
    fn schedule_wake(&mut self) {
        let state = &*self.state;
        let idle = state.source.phase == source::PollPhase::Idle;
        let poll = Some(state.source.next_poll).filter(|_| idle && !state.draining);
        let run = state.queue.next_time().filter(|_| !state.draining);
        let run = run.filter(|_| state.head.is_some());
        let store = self.store_retry_at();
        let next = [poll, run, store, self.next_alert_time()];
        let next = next.into_iter().flatten().min();
        if let Some(at) = next
            && self.state.wake_at != Some(at)
        {
            self.state.wake_at = Some(at);
            self.effects.push(Effect::WakeAt(at));
        }
    }
}

impl From<&alerting::ActiveAlert> for AlertView {
    fn from(alert: &alerting::ActiveAlert) -> Self {
        let summary = alert.annotations.get("summary");
        Self {
            summary: summary.cloned().unwrap_or_default(),
            labels: alert.labels.clone(),
            since: alert.starts_at,
        }
    }
}
