//! Targets that are read from a host's ledger, and targets that are older than the revision that a host ran.

use plumb_api::HostName;
use plumb_api::frame::LedgerState;

use super::Step;
use super::persist::{Continuation, put_state, put_target};
use super::queue::Trigger;
use super::run::{RunMode, RunReport};
use crate::plan::goal;
use crate::status::Target;

impl Step<'_> {
    /// Sets the target of a host without one from the host's ledger, which the last run read. The host keeps
    /// that target until its turn in the rollout comes.
    pub(super) fn ledger_read(&mut self, name: &HostName, report: &RunReport) {
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

    /// Handles the result of writing a target that was read from a host's ledger.
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

    /// True if a driving run had an older target than the newest accepted revision, so that the host may have
    /// run a newer revision than its target.
    pub(super) fn is_outdated(&self, report: &RunReport) -> bool {
        let head = self.state.head.as_ref().map(|head| head.commit());
        report.mode == RunMode::Drive && head != Some(report.target.revision.as_str())
    }

    /// Drops a target that is older than the revision that the host ran. If the target is the newest accepted
    /// revision already, the host keeps it.
    pub(super) fn target_outdated(&mut self, name: &HostName, report: &RunReport) {
        let host = self.state.hosts.get(name);
        if host.is_none_or(|host| host.assigning.is_some()) {
            return;
        }
        if self.is_outdated(report) {
            self.lose_target(name);
            self.state.queue.add(name, self.now, Trigger::Target);
        }
    }
}
