//! Assigns new targets to hosts, as far as the rollouts allow.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use plumb_api::HostName;

use super::backlog::halt_reason;
use super::backoff::Backoff;
use super::host::{HostMode, Progress};
use super::persist::{Continuation, put_rollouts, put_state, put_target};
use super::queue::Trigger;
use super::{RolloutRecords, Step};
use crate::alerting::AlertScope;
use crate::plan::goal;
use crate::rollout::{HostOutcome, Limits, Rollout, RolloutId};
use crate::status::Target;

impl Step<'_> {
    /// Chooses the hosts that get a new target now. The target takes effect once it is durable.
    pub(super) fn assign_targets(&mut self) {
        if self.state.draining || self.store_retry_at().is_some() {
            return;
        }
        let Some(head) = self.state.head.clone() else {
            return;
        };
        let assigned = self.next_hosts();
        if assigned.is_empty() {
            return;
        }
        // The records changed so far say which rollout each host waits for. They must be durable before any
        // target is.
        self.persist_records();
        let mut writes = Vec::new();
        let mut names = Vec::new();
        for (rollout, name) in assigned {
            let state = &mut *self.state;
            let (Some(intent), Some(host)) = (head.intent(&name), state.hosts.get_mut(&name))
            else {
                continue;
            };
            let desired = Arc::new(goal(intent));
            let target = Target {
                revision: head.commit().to_owned(),
                digest: desired.digest(),
            };
            if let Entry::Vacant(place) = state.states.entry(target.digest) {
                writes.extend(put_state(&desired));
                place.insert(desired);
            }
            writes.extend(put_target(&name, &target));
            let mut rollouts = state.rollouts.iter_mut();
            if let Some(rollout) = rollouts.find(|one| one.id() == rollout) {
                rollout.assign(name.clone(), target.digest);
            }
            host.assigning = Some(target);
            self.touched.insert(name.clone());
            names.push(name);
        }
        writes.extend(put_rollouts(&self.state.rollouts));
        self.rollouts = RolloutRecords::Current;
        self.persist(writes, Continuation::Targets(names));
    }

    /// Returns the hosts that may get a new target now, each with the rollout that assigns it.
    fn next_hosts(&self) -> Vec<(RolloutId, HostName)> {
        let state = &*self.state;
        let rollouts = state.rollouts.iter();
        let hosts = rollouts.flat_map(|rollout| {
            let hosts = state.candidates.get(&rollout.id()).into_iter().flatten();
            let hosts = hosts.take(rollout.openings(state.limits));
            hosts.map(move |name| (rollout.id(), name.clone()))
        });
        hosts.collect()
    }

    /// Schedules hosts whose new targets are durable; if the write failed, they keep the old ones.
    pub(super) fn targets_persisted(&mut self, hosts: &[HostName], durable: bool) {
        for name in hosts {
            let Some(host) = self.state.hosts.get_mut(name) else {
                continue;
            };
            let Some(target) = host.assigning.take() else {
                continue;
            };
            self.touched.insert(name.clone());
            if !durable {
                if host.target.is_some() {
                    let at = self.store_retry_at().unwrap_or(self.now);
                    self.state.queue.add(name, at, Trigger::Retry);
                }
                for rollout in &mut self.state.rollouts {
                    rollout.withdraw(name);
                }
                self.rollouts_changed();
                continue;
            }
            host.target = Some(target);
            host.met = false;
            host.backoff = Backoff::default();
            if host.mode == HostMode::Driven {
                host.progress = Progress::NewTarget;
                self.state.queue.add(name, self.now, Trigger::Target);
            }
        }
    }

    /// Removes a host from every rollout, so that no rollout waits for it. Called when the host is no longer
    /// driven. If no change towards its new target was made yet, the host also loses that target, because the
    /// rollout may be halted by the time the host is driven again.
    pub(super) fn leave_out(&mut self, name: &HostName) {
        let untouched = self.state.rollouts.iter().any(|r| r.is_untouched(name));
        let host = self.state.hosts.get(name);
        if untouched
            && host.is_some_and(|host| host.mode != HostMode::Released && host.assigning.is_none())
        {
            self.lose_target(name);
        }
        self.drop_from_rollouts(name);
    }

    fn drop_from_rollouts(&mut self, host: &HostName) {
        let mut changed = false;
        for rollout in &mut self.state.rollouts {
            changed |= rollout.leave_out(host);
        }
        if changed {
            self.rollouts_changed();
        }
    }

    /// Passes the outcome of a run to the rollouts.
    pub(super) fn host_ended(&mut self, host: &HostName, target: &Target, outcome: &HostOutcome) {
        let mut changed = false;
        for rollout in &mut self.state.rollouts {
            changed |= rollout.host_ended(host, target.digest, outcome.clone(), self.now);
        }
        if changed {
            self.rollouts_changed();
        }
    }

    pub(super) fn rollouts_changed(&mut self) {
        self.rollouts = RolloutRecords::Changed;
        self.alerts_changed(AlertScope::Rollouts);
        let halts = halts(&self.state.rollouts, self.state.limits);
        if self.state.halts == halts {
            return;
        }
        self.state.halts = halts;
        // Each waiting host shows the halt in its conditions, so all of them must be updated.
        let hosts = self.state.hosts.values();
        let waiting = hosts.filter(|host| host.is_pending());
        self.touched.extend(waiting.map(|host| host.name.clone()));
    }
}

/// Returns the halted rollouts, each with a message for the hosts that wait for it.
pub(super) fn halts(rollouts: &[Rollout], limits: Limits) -> BTreeMap<RolloutId, Arc<str>> {
    let halted = rollouts.iter().filter(|r| r.is_halted(limits));
    halted
        .filter_map(|rollout| Some((rollout.id(), halt_reason(rollout)?)))
        .collect()
}
