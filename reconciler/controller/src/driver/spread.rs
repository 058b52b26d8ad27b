//! Giving out targets, as the rollout allows.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use plumb_api::HostName;
use plumb_core::plan::goal;
use plumb_core::rollout::Candidate;
use plumb_core::status::{ConditionType, Target};
use tokio::time::Instant;

use super::Driver;
use crate::conditions::{Setter, Turn};
use crate::desired::Accepted;
use crate::event::EventKind;
use crate::persist::{put_host, put_rollout, put_state, put_target};
use crate::queue::Trigger;

impl Driver {
    /// Gives out the targets that may be given out now. They are durable before a run begins.
    pub(super) async fn spread(&mut self) {
        let Some(head) = self.head.clone() else {
            return;
        };
        let now = self.now();
        let mut writes = Vec::new();
        let assigned = {
            let mut world = self.shared.write();
            let world = &mut *world;
            let limits = world.limits;
            let was_halted = world.rollout.is_halted(limits);
            let candidates: Vec<_> = self
                .pending
                .iter()
                .filter(|host| self.may_get_a_target(world, host))
                .filter_map(|host| {
                    let target = world.hosts.get(host)?.status.target.as_ref();
                    Some(Candidate {
                        host: host.clone(),
                        wants: head.goal(host)?,
                        target: target.map(|target| target.digest),
                    })
                })
                .take(limits.at_once.max(1))
                .collect();
            let before = world.rollout.clone();
            let assigned = world.rollout.assign(&candidates, limits);
            if before != world.rollout {
                writes.extend(put_rollout(&world.rollout));
            }
            debug_assert!(!was_halted || assigned.is_empty());
            for host in &assigned {
                let (Some(intent), Some(record)) = (head.intent(host), world.hosts.get_mut(host))
                else {
                    continue;
                };
                let state = Arc::new(goal(intent));
                let target = Target {
                    revision: head.commit().to_owned(),
                    digest: state.digest(),
                };
                if let Entry::Vacant(place) = self.states.entry(target.digest) {
                    writes.extend(put_state(&state));
                    place.insert(state);
                }
                writes.extend(put_target(host, &target));
                record.status.target = Some(target);
                let mut setter = Setter { record, now };
                setter.under_way("NewTarget", "something new is desired of it");
                setter.synced(head.commit(), head.goal(host), &Turn::Comes);
                writes.extend(put_host(record));
            }
            assigned
        };
        self.tell_those_who_wait(&head);
        if writes.is_empty() {
            return;
        }
        if let Err(error) = self.keeper.durable(writes).await {
            // A host that is ahead of what was kept is met anew after a restart.
            let message = format!("targets can't be kept: {error}");
            self.event(None, EventKind::Warning, "StoreFailed", message, None);
        }
        for host in assigned {
            self.pending.remove(&host);
            self.looked_at.remove(&host);
            self.backoffs.remove(&host);
            self.queue.add(host, Instant::now(), Trigger::Target);
        }
    }

    /// Hosts that wait say so themselves, and for what: a halt is seen at each of them.
    fn tell_those_who_wait(&mut self, head: &Accepted) {
        let now = self.now();
        let mut world = self.shared.write();
        let world = &mut *world;
        let turn = Turn::of(&world.rollout, world.limits);
        if self.turn == turn {
            return;
        }
        for host in &self.pending {
            let Some(record) = world.hosts.get_mut(host) else {
                continue;
            };
            let mut setter = Setter { record, now };
            setter.synced(head.commit(), head.goal(host), &turn);
            self.keeper.write(put_host(record));
        }
        self.turn = turn;
    }

    /// Whether a host can be reached, isn't another's, and was met.
    fn may_get_a_target(&self, world: &crate::world::World, host: &HostName) -> bool {
        let Some(record) = world.hosts.get(host) else {
            return false;
        };
        record.status.conditions.is_true(ConditionType::Reachable)
            && !self.superseded.contains(host)
            && (record.status.target.is_some() || self.looked_at.contains(host))
    }
}
