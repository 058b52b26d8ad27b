//! Handles the end of a run: updates the host's state and schedules its next run.

use plumb_api::frame::TakeOver;
use plumb_api::report::{AgentError, Retry};
use plumb_api::{Address, HostName};

use super::drift::{NAMED, differing, drift_of};
use super::host::{HostMode, Progress, Reachability};
use super::queue::Trigger;
use super::run::{Contact, ObservedHost, RunEnd, RunMode, RunReport};
use super::run_verdict::{FailureSummary, failure_of, outcome_of};
use super::{Step, later};
use crate::desired::Lifecycle;
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::status::FailedGiveBack;

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
        let failure = failure_of(&name, &report.end).map(|failure| self.class(failure, report));
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

    /// Changes the retry kind of a failure to transient if the next run resolves the failure by itself, so
    /// that the host doesn't count as stalled and no alert fires.
    fn class(&self, failure: FailureSummary, report: &RunReport) -> FailureSummary {
        let (reason, message, retry) = failure;
        let mends = match reason {
            ConditionReason::Superseded => self.state.settings.take_over == TakeOver::Yes,
            ConditionReason::WouldGoBack => self.is_outdated(report),
            _ => false,
        };
        (
            reason,
            message,
            if mends { Retry::Transient } else { retry },
        )
    }

    /// Schedules the host's next run. Its delay starts now, at the end of this run.
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
            // A resource that can't be removed yet, such as a unit that is still stopping, is tried again
            // soon.
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
        // A retired host from which everything was removed isn't contacted again, because a session would only
        // copy the agent there again.
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
            // A host that puts changes back writes its ledger once more.
            let puts_back = matches!(
                &report.end,
                RunEnd::Failed(failure) if matches!(
                    failure.reason,
                    ConditionReason::Reverted | ConditionReason::Unconfirmed
                )
            );
            host.ledger_sequence = (!puts_back).then_some(observed.ledger.sequence);
            host.clock_offset = observed.clock_offset;
            host.resources = observed.resources;
            if report.mode == RunMode::Drive {
                host.held = Some(report.target.digest);
            }
        }
        if !report.unheard.is_empty() {
            let names = report.unheard.iter().take(NAMED);
            host.differing = names.map(ToString::to_string).collect();
        }
        if let Some(planned) = &report.planned {
            if report.mode == RunMode::Drive && planned.refusal.is_none() {
                let (drift, runs) = drift_of(report, planned, host.drift.as_ref(), host.drift_runs);
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
            // Only a driving run can end a stall; a run that only observes doesn't.
            (_, None) if host.progress.is_stalled() => {}
            (_, None) => host.progress = Progress::Observed,
        }
    }
}

/// Returns the resources that the run couldn't remove or restore, each with the time of the first failed
/// attempt.
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
            message: Message::new(error.message.clone()).with_hint(error.hint.clone()),
            since: before
                .iter()
                .find(|known| known.resource == *address)
                .map_or(now, |known| known.since),
        })
        .collect()
}
