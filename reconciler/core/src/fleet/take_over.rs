//! Detects hosts that another controller drives, and takes them over if the settings permit it.

use plumb_api::frame::{LedgerSummary, TakeOver};
use plumb_api::{Epoch, HostName};

use super::Step;
use super::persist::Continuation;
use super::queue::Trigger;
use super::stored::{Identity, put_identity};
use crate::reason::ConditionReason;

impl Step<'_> {
    /// Marks a host as driven by another controller, and stops driving it.
    pub(super) fn superseded(&mut self, name: &HostName) {
        if let Some(host) = self.state.hosts.get_mut(name) {
            host.superseded = true;
        }
        self.leave_out(name);
        if self.state.settings.take_over == TakeOver::Yes {
            // The next run reads the other controller's epoch from the ledger, because this controller needs a
            // higher one.
            self.state.queue.add(name, self.now, Trigger::Retry);
        }
    }

    pub(super) fn try_to_take_over(&mut self, name: &HostName, ledger: &LedgerSummary) {
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
            // The raised epoch is stored before any host sees it. Otherwise this controller could use it again
            // after a restart.
            let writes = put_identity(&raised).into_iter().collect();
            self.persist(writes, Continuation::Epoch(epoch, name.clone()));
        }
    }

    /// Records that a host was taken over from another controller, and schedules a run on it.
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
}
