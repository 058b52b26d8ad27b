//! The result of a host's run: the host's new state, its next run, and the records.

use plumb_api::frame::{LedgerState, LedgerSummary, TakeOver};
use plumb_api::plan::Cause;
use plumb_api::report::{AgentError, Retry};
use plumb_api::{Address, Epoch, HostName};

use super::host::{Drift, HostMode, Progress, Reachability};
use super::persist::{Continuation, put_state, put_target};
use super::queue::Trigger;
use super::run::{
    ChangeOutcome, Contact, FailedIn, ObservedHost, RunEnd, RunMode, RunReport, with_hint,
};
use super::stored::Identity;
use super::stored::put_identity;
use super::{Step, later, short_commit};
use crate::desired::Lifecycle;
use crate::plan::{Planned, goal};
use crate::reason::ConditionReason;
use crate::rollout::HostOutcome;
use crate::status::{ConditionType, FailedGiveBack, ResourceFailure, Target};
use crate::view::EventKind;

/// The longest detail of a condition, in bytes.
const MAX_DETAIL: usize = 4096;

/// The number of differing addresses in a status.
const NAMED: usize = 20;

/// The number of causes that a run records, each in a record of its own.
const TOLD: usize = 10;

/// A failure of a run of any kind: reason, message, and the kind of retry.
type FailureSummary = (ConditionReason, String, Retry);

impl Step<'_> {
    pub(super) fn run_ended(&mut self, report: &RunReport) {
        let Some(name) = self.state.runs.remove(&report.id) else {
            return;
        };
        self.state.queue.finish(&name);
        self.counters().run(report);
        let Some(host) = self.state.hosts.get_mut(&name) else {
            return;
        };
        host.in_flight = None;
        self.touched.insert(name.clone());
        if host.mode == HostMode::Released {
            return;
        }
        let failure = failure_of(&name, &report.end);
        self.record_run(&name, report, failure.as_ref());
        self.schedule_next(&name, report, failure.as_ref());
        self.update_host(&name, report, failure);
        if report.mode == RunMode::Drive
            && let Some(outcome) = outcome_of(&report.end)
        {
            self.host_ended(&name, &report.target, &outcome);
        }
        match &report.end {
            RunEnd::Looked => self.ledger_read(&name, report),
            RunEnd::Newer(_) => self.target_outdated(&name, report),
            RunEnd::Failed(failure) if failure.reason == ConditionReason::Superseded => {
                self.superseded(&name);
            }
            _ => {}
        }
    }

    /// Schedules the host's next run; the wait begins now, at the end of the run.
    fn schedule_next(
        &mut self,
        name: &HostName,
        report: &RunReport,
        failure: Option<&FailureSummary>,
    ) {
        let state = &mut *self.state;
        let Some(host) = state.hosts.get_mut(name) else {
            return;
        };
        let (at, trigger) = if let Some((reason, _, retry)) = failure {
            let waits = &state.settings.waits;
            let (now, jitter) = (self.now, &mut state.jitter);
            let next = host.backoff.failed(*reason, *retry, waits, now, jitter);
            if next.counted {
                host.failures = host.failures.saturating_add(1);
            }
            (next.at, Trigger::Retry)
        } else {
            if report.end == RunEnd::Settled {
                host.failures = 0;
                host.backoff.reset();
            }
            let waits = |(_, error): &(Address, AgentError)| error.code.retry() == Retry::Waiting;
            // A unit that is still stopping is given back as soon as it has stopped.
            let wait = if report.resources.give_backs.iter().any(waits) {
                state.settings.waits.waiting
            } else {
                state.settings.resync
            };
            let wait = state.jitter.around(wait);
            (later(self.now, wait), Trigger::Resync)
        };
        host.next_run = None;
        if host.mode != HostMode::Driven {
            return;
        }
        // Nothing is left on a retired host, so that a contact would only put the agent back.
        let head = state.head.as_ref();
        let is_retired = head
            .and_then(|head| head.intent(name))
            .is_some_and(|intent| intent.lifecycle == Lifecycle::Retired);
        let is_left = report.observed.as_ref().is_some_and(ObservedHost::is_left);
        if report.end == RunEnd::Settled && is_retired && is_left {
            return;
        }
        host.next_run = Some(at);
        state.queue.add(name, at, trigger);
    }

    /// Updates the host's state from the run.
    fn update_host(
        &mut self,
        name: &HostName,
        report: &RunReport,
        failure: Option<FailureSummary>,
    ) {
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        match &report.end {
            RunEnd::Failed(failure) if failure.contact == Contact::Lost => {
                host.reach = Reachability::Lost {
                    reason: failure.reason,
                    message: failure.message.clone(),
                };
            }
            // A run that never contacted the host says nothing about its reachability.
            RunEnd::Failed(_) if report.observed.is_none() && report.phases.is_empty() => {}
            _ => host.reach = Reachability::Connected,
        }
        if let Some(observed) = &report.observed {
            host.last_seen = Some(self.now);
            host.ledger_sequence = Some(observed.ledger.sequence);
            host.clock_offset = observed.clock_offset;
            host.resources = observed.resources;
            if report.mode == RunMode::Drive {
                host.held = Some(report.target.digest);
            }
        }
        if let Some(planned) = &report.planned {
            if report.mode == RunMode::Drive && planned.refusal.is_none() {
                let (drift, runs) = drift_of(report, planned, host.drift_runs);
                host.drift_runs = runs;
                host.drift = Some(drift);
            }
            host.differing = differing(report, planned);
            if report.mode == RunMode::Drive && planned.refusal.is_none() {
                host.failing.clone_from(&report.resources.failing);
                host.waiting.clone_from(&report.resources.waiting);
                host.give_backs = give_backs(report, &host.give_backs, self.now);
                host.let_go
                    .retain(|address| !report.let_go.contains(address));
            }
        }
        match (&report.end, failure) {
            (RunEnd::Settled, _) => {
                host.revision = Some(report.target.revision.clone());
                host.progress = Progress::Settled(report.target.revision.clone());
                let drift = host.drift.as_ref().map(|drift| drift.reason);
                if drift != Some(ConditionReason::DriftHeld) {
                    host.last_success = Some(self.now);
                }
            }
            (_, Some((reason, message, retry))) => {
                host.progress = Progress::Failed {
                    reason,
                    message,
                    retry,
                };
            }
            // A stalled host stays stalled until a run drives it.
            (_, None) if host.progress.is_stalled() => {}
            (_, None) => host.progress = Progress::Observed,
        }
    }

    /// Takes the target from the host's own ledger after a first observation. The host keeps that target
    /// until its turn in the rollout comes.
    fn ledger_read(&mut self, name: &HostName, report: &RunReport) {
        let Some(ledger) = report.observed.as_ref().map(|o| o.ledger.clone()) else {
            return;
        };
        let head = self.state.head.clone();
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        if host.superseded {
            self.try_to_take_over(name, &ledger);
            return;
        }
        if host.assigning.is_some() || host.target.is_some() {
            return;
        }
        let wanted = host.wanted_digest();
        let sound = ledger.state == LedgerState::Sound;
        let target = match (ledger.confirmed, ledger.revision) {
            (Some(confirmed), _) if sound && Some(confirmed) == wanted => Some(Target {
                revision: report.target.revision.clone(),
                digest: confirmed,
            }),
            (Some(digest), Some(revision)) if sound && !host.blank => Some(Target {
                revision: revision.0,
                digest,
            }),
            _ => None,
        };
        let Some(target) = target else {
            host.met = true;
            return;
        };
        let mut writes: Vec<_> = put_target(name, &target).into_iter().collect();
        if Some(target.digest) == wanted
            && let Some(intent) = head.as_ref().and_then(|head| head.intent(name))
        {
            let desired = std::sync::Arc::new(goal(intent));
            writes.extend(put_state(&desired));
            self.state.states.insert(desired.digest(), desired);
        }
        host.assigning = Some(target);
        self.persist(writes, Continuation::Rebuilt(name.clone()));
    }

    /// Handles the write of a target that was taken from a host's ledger.
    pub(super) fn rebuilt_persisted(&mut self, name: &HostName, durable: bool) {
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        let Some(target) = host.assigning.take() else {
            return;
        };
        self.touched.insert(name.clone());
        if durable {
            host.target = Some(target);
        }
        // After a failed write the ledger is read again, but not before the store is retried.
        let at = self.store_retry_at().unwrap_or(self.now);
        self.state.queue.add(name, at, Trigger::Target);
    }

    /// Drops a target that is older than the revision that the host ran. If the target is the newest accepted
    /// revision already, the host keeps it.
    fn target_outdated(&mut self, name: &HostName, report: &RunReport) {
        let host = self.state.hosts.get(name);
        if host.is_none_or(|host| host.assigning.is_some()) {
            return;
        }
        let head = self.state.head.as_ref().map(|head| head.commit());
        if report.mode == RunMode::Drive && head != Some(report.target.revision.as_str()) {
            self.lose_target(name);
            self.state.queue.add(name, self.now, Trigger::Target);
        }
    }

    /// Marks a host that another controller drives, and stops driving it.
    fn superseded(&mut self, name: &HostName) {
        if let Some(host) = self.state.hosts.get_mut(name) {
            host.superseded = true;
        }
        self.leave_out(name);
        if self.state.settings.take_over == TakeOver::Yes {
            // The next run reads from the ledger which epoch must be exceeded.
            self.state.queue.add(name, self.now, Trigger::Retry);
        }
    }

    fn try_to_take_over(&mut self, name: &HostName, ledger: &LedgerSummary) {
        let identity = &self.state.identity;
        let ours = ledger.controller.as_ref() == Some(&identity.id);
        let take_over = self.state.settings.take_over == TakeOver::Yes;
        if ours && ledger.epoch.is_none_or(|epoch| epoch <= identity.epoch) {
            if let Some(host) = self.state.hosts.get_mut(name) {
                host.superseded = false;
            }
            self.state.queue.add(name, self.now, Trigger::Retry);
        } else if take_over {
            let highest = ledger.epoch.unwrap_or(identity.epoch);
            if highest < identity.epoch {
                self.taken_over(name);
                return;
            }
            let epoch = Epoch(highest.0.saturating_add(1));
            let raised = Identity {
                id: identity.id.clone(),
                epoch,
            };
            // A host must not see an epoch that a restart of this controller could repeat.
            let writes = put_identity(&raised).into_iter().collect();
            self.persist(writes, Continuation::Epoch(epoch, name.clone()));
        }
    }

    /// Records that a host was taken over from another controller.
    pub(super) fn taken_over(&mut self, name: &HostName) {
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        host.superseded = false;
        self.touched.insert(name.clone());
        let message = "taken over from another controller".to_owned();
        self.warn(Some(name), ConditionReason::TakenOver, message, None);
        self.state.queue.add(name, self.now, Trigger::Retry);
    }

    /// Records changes, drift and failures; a run without any leaves no record.
    fn record_run(
        &mut self,
        name: &HostName,
        report: &RunReport,
        failure: Option<&FailureSummary>,
    ) {
        let revision = || Some(report.target.revision.clone());
        let applied = |intended: bool| -> Vec<String> {
            let changes = report.applied();
            changes
                .filter(|change| (change.cause == Cause::Intent) == intended)
                .map(|change| change.address.to_string())
                .collect()
        };
        let corrected = applied(false);
        if !corrected.is_empty() {
            let message = format!("drift corrected: {}", first_of(&corrected));
            let reason = ConditionReason::DriftCorrected;
            self.warn(Some(name), reason, message, revision());
        }
        let planned = report.planned.as_ref();
        let held: Vec<_> = planned
            .filter(|planned| planned.refusal.is_none())
            .into_iter()
            .flat_map(Planned::reportable_drift)
            .map(|held| held.address.to_string())
            .collect();
        let drifted = self.reason_of(name, ConditionType::Drifted);
        if !held.is_empty() && drifted != Some(ConditionReason::DriftHeld) {
            let message = format!("drift not corrected: {}", first_of(&held));
            self.warn(Some(name), ConditionReason::DriftFound, message, revision());
        }
        let intended = applied(true);
        if !intended.is_empty() {
            let count = intended.len();
            let changes = if count == 1 { "change" } else { "changes" };
            let message = format!("{count} {changes}: {}", first_of(&intended));
            let (kind, reason) = (EventKind::Normal, ConditionReason::Applied);
            self.record(Some(name), kind, reason, message, revision());
        }
        self.record_resources(name, report);
        self.record_warnings(name, report);
        let ready = self.reason_of(name, ConditionType::Ready);
        match failure {
            // Each failing resource has a record of its own.
            Some(_) if !report.resources.failing.is_empty() => {}
            Some((reason, message, _)) if ready != Some(*reason) => {
                self.warn(Some(name), *reason, message.clone(), revision());
            }
            None if report.end == RunEnd::Settled => {
                let recovered = ready.is_some_and(|ready| ready.retry().is_some());
                if recovered {
                    let message = "matches its target again".to_owned();
                    let (kind, reason) = (EventKind::Normal, ConditionReason::Recovered);
                    self.record(Some(name), kind, reason, message, revision());
                }
            }
            _ => {}
        }
    }

    /// Records each failure and each give-back that is new since the last run.
    fn record_resources(&mut self, name: &HostName, report: &RunReport) {
        let Some(host) = self.state.hosts.get(name) else {
            return;
        };
        let revision = || Some(report.target.revision.clone());
        let mut records = Vec::new();
        let is_new = |failure: &&ResourceFailure| {
            !host.failing.iter().any(|known| {
                known.reason == failure.reason
                    && known.resources.first() == failure.resources.first()
            })
        };
        let new: Vec<_> = report.resources.failing.iter().filter(is_new).collect();
        for failure in new.iter().take(TOLD) {
            let text = with_hint(failure.message.clone(), failure.hint.clone());
            let message = format!("{}: {text}", first_of(&failure.resources));
            records.push((failure.reason, message));
        }
        if let Some(first) = new.get(TOLD) {
            let more = new.len() - TOLD;
            let message = format!("{more} more causes; `plumb describe host {name}` lists them");
            records.push((first.reason, message));
        }
        for (address, error) in &report.resources.give_backs {
            let reason = ConditionReason::from(error.code);
            let known = host
                .give_backs
                .iter()
                .any(|known| known.resource == *address && known.reason == reason);
            if !known {
                let text = with_hint(error.message.clone(), error.hint.clone());
                let message = format!(
                    "{address} can't be given back: {text}; it is tried again at each resync, and `plumb forget {name} {address}` drops it"
                );
                records.push((ConditionReason::GiveBackFailed, message));
            }
        }
        for (reason, message) in records {
            self.warn(Some(name), reason, message, revision());
        }
        for address in &report.let_go {
            let message = format!("{address} is dropped from the ledger; it stays as it is");
            let (kind, reason) = (EventKind::Normal, ConditionReason::Forgotten);
            self.record(Some(name), kind, reason, message, revision());
        }
    }

    /// Records troubles of the host that failed no change, each once until it ends.
    fn record_warnings(&mut self, name: &HostName, report: &RunReport) {
        // Only a run that changed something could meet them.
        if report.outcomes.is_empty() {
            return;
        }
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        let known = std::mem::replace(&mut host.warnings, report.warnings.clone());
        for warning in report.warnings.iter().filter(|new| !known.contains(new)) {
            let revision = Some(report.target.revision.clone());
            self.warn(
                Some(name),
                ConditionReason::HostTrouble,
                warning.clone(),
                revision,
            );
        }
    }

    fn reason_of(&self, host: &HostName, kind: ConditionType) -> Option<ConditionReason> {
        let host = self.state.hosts.get(host)?;
        let condition = host.object.status.conditions.get(kind)?;
        Some(condition.reason)
    }
}

/// Returns the give-backs that failed in a run, each with the time of its first try.
fn give_backs(
    report: &RunReport,
    before: &[FailedGiveBack],
    now: jiff::Timestamp,
) -> Vec<FailedGiveBack> {
    let failed = report.resources.give_backs.iter();
    failed
        .filter(|(address, _)| !report.let_go.contains(address))
        .map(|(address, error)| FailedGiveBack {
            resource: address.clone(),
            reason: error.code.into(),
            message: error.message.clone(),
            hint: error.hint.clone(),
            since: before
                .iter()
                .find(|known| known.resource == *address)
                .map_or(now, |known| known.since),
        })
        .collect()
}

/// Lists the first addresses and counts the rest.
pub(super) fn first_of(all: &[String]) -> String {
    match all.len() {
        0..=3 => all.join(", "),
        n => format!("{} and {} more", all[..3].join(", "), n - 3),
    }
}

/// Returns the failure that an end of a run amounts to, if it does.
fn failure_of(host: &HostName, end: &RunEnd) -> Option<FailureSummary> {
    let stalled = |reason, message| Some((reason, message, Retry::Stalled));
    match end {
        RunEnd::Settled | RunEnd::Looked => None,
        RunEnd::Partly(failure) | RunEnd::Failed(failure) => {
            Some((failure.reason, failure.message.clone(), failure.retry))
        }
        RunEnd::Refused(refusal) => {
            let reason = refusal.reason();
            let hint = refusal.hint().map(str::to_owned);
            let message = with_hint(refusal.to_string(), hint);
            Some((reason, message, reason.retry().unwrap_or(Retry::Transient)))
        }
        RunEnd::Newer(ran) => stalled(
            ConditionReason::WouldGoBack,
            format!(
                "the host ran {}, which is newer than its target; to go back, push a signed commit with a `Rollback-To:` trailer",
                short_commit(ran)
            ),
        ),
        RunEnd::OffChain(ran) => stalled(
            ConditionReason::OffVerifiedChain,
            format!(
                "the host ran {}, which isn't on the verified chain; nothing is changed on it: find out which controller drives it",
                short_commit(ran)
            ),
        ),
        RunEnd::Rewound { known, found } => stalled(
            ConditionReason::LedgerRewound,
            format!(
                "the host's ledger went back from {known} to {found}: the machine was restored or is a clone; run `plumb forget {host}` to accept that"
            ),
        ),
    }
}

/// Returns the outcome of a driving run for the rollout.
fn outcome_of(end: &RunEnd) -> Option<HostOutcome> {
    Some(match end {
        RunEnd::Settled => HostOutcome::Reached,
        RunEnd::Looked => return None,
        RunEnd::Refused(refusal) if refusal.reason().retry() == Some(Retry::Waiting) => {
            HostOutcome::UnderWay
        }
        RunEnd::Refused(refusal) => HostOutcome::Failed(refusal.to_string()),
        RunEnd::Partly(failure) | RunEnd::Failed(failure) if failure.retry == Retry::Waiting => {
            HostOutcome::UnderWay
        }
        // A host that was lost while its changes were applied counts as failed instead, below.
        RunEnd::Failed(failure)
            if failure.contact == Contact::Lost && failure.failed_in != FailedIn::Change =>
        {
            HostOutcome::Unreachable(failure.message.clone())
        }
        // An error of the controller says nothing about the host.
        RunEnd::Failed(failure) if failure.reason == ConditionReason::SourceFailed => {
            HostOutcome::UnderWay
        }
        RunEnd::Partly(failure) | RunEnd::Failed(failure) => {
            HostOutcome::Failed(failure.message.clone())
        }
        RunEnd::Newer(_) | RunEnd::OffChain(_) | RunEnd::Rewound { .. } => HostOutcome::Failed(
            "the host ran a revision that its target doesn't contain; see its conditions"
                .to_owned(),
        ),
    })
}

/// Returns the drift that a driving run found, and the number of runs in a row with drift. Drift that stays
/// is reported at once; corrected drift only if it recurs.
fn drift_of(report: &RunReport, planned: &Planned, runs: u32) -> (Drift, u32) {
    let names =
        |all: Vec<&Address>| -> Vec<String> { all.into_iter().map(ToString::to_string).collect() };
    let held = planned.reportable_drift().map(|held| &held.address);
    let held = names(held.collect());
    let mut corrected = Vec::new();
    let mut remaining = Vec::new();
    for change in planned.corrections() {
        if report.applied().any(|applied| applied.id == change.id) {
            corrected.push(&change.address);
        } else {
            remaining.push(&change.address);
        }
    }
    let (corrected, remaining) = (names(corrected), names(remaining));
    let runs = if corrected.is_empty() && remaining.is_empty() {
        0
    } else {
        runs.saturating_add(1)
    };
    let (reason, message) = if !held.is_empty() {
        (
            ConditionReason::DriftHeld,
            format!(
                "{} drifted, not corrected (drift mode: alert)",
                first_of(&held)
            ),
        )
    } else if !remaining.is_empty() && runs == 1 {
        (
            ConditionReason::DriftCorrecting,
            format!("{} drifted, not corrected yet", first_of(&remaining)),
        )
    } else if !remaining.is_empty() {
        (
            ConditionReason::DriftRemains,
            format!(
                "{} drifted, not corrected in {runs} runs",
                first_of(&remaining)
            ),
        )
    } else if runs > 1 {
        (
            ConditionReason::DriftRecurs,
            format!(
                "{} drifted again, {runs} runs in a row",
                first_of(&corrected)
            ),
        )
    } else if runs == 1 {
        (
            ConditionReason::DriftCorrected,
            format!("{} drifted, corrected", first_of(&corrected)),
        )
    } else {
        (ConditionReason::NoDrift, "no drift was found".to_owned())
    };
    let all = [held, remaining, corrected].concat();
    let drift = Drift {
        reason,
        message,
        detail: lines_of(planned, &all),
    };
    (drift, runs)
}

/// Returns the lines in which the first of these resources differ from git.
fn lines_of(planned: &Planned, addresses: &[String]) -> Option<String> {
    let mut detail = String::new();
    let diffs = planned
        .diffs
        .iter()
        .filter(|(address, _)| addresses.contains(&address.to_string()));
    for (address, diff) in diffs {
        let lines = format!("{address}\n{diff}");
        if detail.len() + lines.len() > MAX_DETAIL {
            detail.push_str("… more in `plumb plan`\n");
            break;
        }
        detail.push_str(&lines);
    }
    (!detail.is_empty()).then_some(detail)
}

/// Returns the first addresses that still differ.
fn differing(report: &RunReport, planned: &Planned) -> Vec<String> {
    let done: std::collections::BTreeSet<_> = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, ChangeOutcome::Applied | ChangeOutcome::Unchanged))
        .map(|(change, _)| &change.address)
        .collect();
    planned
        .differing()
        .into_iter()
        .filter(|address| !done.contains(address))
        .take(NAMED)
        .map(ToString::to_string)
        .collect()
}
