//! Assignment of new targets, as the rollout allows.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use plumb_api::HostName;

use super::Step;
use super::backoff::Backoff;
use super::host::{HostMode, Progress, WaitReason};
use super::persist::{Continuation, put_rollouts, put_state, put_target};
use super::queue::Trigger;
use crate::alerting::AlertScope;
use crate::plan::goal;
use crate::rollout::{Candidate, HostOutcome, Rollout};
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
        let state = &mut *self.state;
        let limits = state.limits;
        let halted = state.rollouts.iter().any(|r| r.is_halted(limits));
        let Some(rollout) = state.rollouts.last_mut().filter(|_| !halted) else {
            return;
        };
        let candidates: Vec<_> = state
            .candidates
            .iter()
            .filter_map(|name| {
                let host = state.hosts.get(name)?;
                Some(Candidate {
                    host: name.clone(),
                    wants: host.wanted_digest()?,
                    target: host.target.as_ref().map(|target| target.digest),
                })
            })
            .take(limits.at_once.max(1))
            .collect();
        let before = rollout.stage();
        let assigned = rollout.assign(&candidates, limits);
        if assigned.is_empty() {
            if rollout.stage() != before {
                self.writes.extend(put_rollouts(&self.state.rollouts));
            }
            return;
        }
        let mut writes = Vec::new();
        for name in &assigned {
            let (Some(intent), Some(host)) = (head.intent(name), state.hosts.get_mut(name)) else {
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
            writes.extend(put_target(name, &target));
            host.assigning = Some(target);
            self.touched.insert(name.clone());
        }
        writes.extend(put_rollouts(&self.state.rollouts));
        self.persist(writes, Continuation::Targets(assigned));
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
                self.leave_out(name);
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

    /// Removes a host from every rollout, so that none waits for it.
    pub(super) fn leave_out(&mut self, host: &HostName) {
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
        self.writes.extend(put_rollouts(&self.state.rollouts));
        self.alerts_changed(AlertScope::Rollouts);
        let wait = wait_reason(&self.state.rollouts, self.state.limits);
        if self.state.wait == wait {
            return;
        }
        self.state.wait = wait;
        // Each waiting host shows the reason in its conditions, so a halt touches all of them.
        let hosts = self.state.hosts.values();
        let waiting = hosts.filter(|host| host.is_pending());
        self.touched.extend(waiting.map(|host| host.name.clone()));
    }
}

/// Returns the reason why hosts without their newest target wait.
pub(super) fn wait_reason(rollouts: &[Rollout], limits: crate::rollout::Limits) -> WaitReason {
    for rollout in rollouts.iter().filter(|r| r.is_halted(limits)) {
        let mut failed = rollout.failed().iter();
        if let Some((host, failure)) = failed.next() {
            let others = match failed.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            // The failed host shows its hint itself; the others needn't repeat it.
            let why = failure.reason.split("; ").next().unwrap_or_default();
            return WaitReason::Halted(Arc::from(format!(
                "the rollout is halted: {host}{others} failed ({why}); it resumes when that host succeeds or its manifest changes; run `plumb describe host {host}` for details"
            )));
        }
    }
    WaitReason::Turn
}
