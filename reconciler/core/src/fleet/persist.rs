//! Writes to the store, and the actions that follow once a write is durable.

use std::time::Duration;

use jiff::Timestamp;
use plumb_api::{Epoch, HostName};

use super::backoff::Waits;
use super::effect::{CommandError, Effect, PersistId, RequestId};
use super::queue::Trigger;
use super::source::{PendingFloor, SourceRecord};
use super::stored::{HostRecord, SOURCE, put, state_to_bytes};
use super::{RolloutRecords, Step, later};
use crate::alerting::ActiveAlert;
use crate::desired::DesiredState;
use crate::ports::{StoreError, Table, Write};
use crate::reason::ConditionReason;
use crate::rollout::{Rollout, RolloutId};
use crate::status::Target;

/// Delay before the first retry after a failed write.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Maximum delay before a retry after a failed write.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

const ROLLOUT: &str = "rollout";

/// The action that follows when the store acknowledges a write.
#[derive(Debug)]
pub(super) enum Continuation {
    /// No action: the write contains changed records. The list names the deleted records, so that the deletion
    /// is repeated if the write fails.
    Records(Vec<(Table, String)>),
    /// No action: the write contains every record.
    Everything,
    /// Makes the accepted floor effective, and activates the revision.
    Floor(Box<PendingFloor>),
    /// Makes the new targets of these hosts effective.
    Targets(Vec<HostName>),
    /// Makes the target effective that was read from the host's ledger.
    Rebuilt(HostName),
    /// Ends the renaming of a host, so that it may run again. `old` is `None` if the write is repeated.
    Renamed {
        old: Option<HostName>,
        new: HostName,
    },
    /// Makes the raised epoch effective, and takes the host over.
    Epoch(Epoch, HostName),
    /// Drops the host, and answers the request.
    Forget(HostName, RequestId),
    /// Schedules a run that drops resources from the host's ledger, and answers the request.
    LetGo(HostName, RequestId),
}

/// The health of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreHealth {
    /// The last write was durable.
    Working,
    /// Writes fail. At `retry_at` every record is written again.
    Failing { failures: u32, retry_at: Timestamp },
}

impl Step<'_> {
    /// Requests a write, and stores the action that follows it.
    pub(super) fn persist(&mut self, writes: Vec<Write>, pending: Continuation) {
        let id = PersistId(self.state.next_id);
        self.state.next_id += 1;
        self.state.pending.insert(id, pending);
        self.effects.push(Effect::Persist { id, writes });
    }

    /// Writes the records that this step changed, as one batch.
    pub(super) fn persist_records(&mut self) {
        if self.rollouts == RolloutRecords::Changed {
            self.rollouts = RolloutRecords::Current;
            self.writes.extend(put_rollouts(&self.state.rollouts));
        }
        if !self.writes.is_empty() {
            let writes = std::mem::take(&mut self.writes);
            let deleted = writes.iter().filter_map(|write| match write {
                Write::Delete(table, key) => Some((*table, key.clone())),
                Write::Put(..) => None,
            });
            let deleted = deleted.collect();
            self.persist(writes, Continuation::Records(deleted));
        }
    }

    /// Handles the result of a write.
    pub(super) fn persisted(&mut self, id: PersistId, result: Result<(), &StoreError>) {
        let Some(pending) = self.state.pending.remove(&id) else {
            return;
        };
        match result {
            Ok(()) => self.store_works(&pending),
            Err(error) => self.store_failed(error),
        }
        match pending {
            Continuation::Records(deleted) => {
                if result.is_err() {
                    self.state.undeleted.extend(deleted);
                }
            }
            Continuation::Everything => {
                if result.is_ok() {
                    self.state.undeleted.clear();
                }
            }
            Continuation::Renamed { old, new } => {
                if result.is_ok() {
                    self.renamed(&new);
                } else if let Some(old) = old {
                    let tables = [Table::Hosts, Table::Targets].into_iter();
                    let gone = tables.map(|table| (table, old.to_string()));
                    self.state.undeleted.extend(gone);
                }
            }
            Continuation::Rebuilt(host) => self.rebuilt_persisted(&host, result.is_ok()),
            Continuation::Floor(pending) => self.floor_persisted(*pending, result),
            Continuation::Targets(hosts) => self.targets_persisted(&hosts, result.is_ok()),
            Continuation::Epoch(epoch, host) => {
                if result.is_ok() {
                    self.state.identity.epoch = epoch;
                    self.taken_over(&host);
                }
            }
            Continuation::LetGo(host, request) => {
                let answer = match result {
                    Ok(()) => {
                        self.state.queue.add(&host, self.now, Trigger::Manual);
                        Ok(vec![host])
                    }
                    Err(error) => Err(CommandError::Store(error.clone())),
                };
                self.effects.push(Effect::Answer { request, answer });
            }
            Continuation::Forget(host, request) => match result {
                Ok(()) => self.forgotten(&host, request),
                Err(error) => {
                    if let Some(host) = self.state.hosts.get_mut(&host) {
                        host.forgetting = false;
                    }
                    self.touch(&host);
                    let answer = Err(CommandError::Store(error.clone()));
                    self.effects.push(Effect::Answer { request, answer });
                }
            },
        }
    }

    fn store_works(&mut self, pending: &Continuation) {
        if self.state.store == StoreHealth::Working {
            return;
        }
        self.state.store = StoreHealth::Working;
        if !matches!(pending, Continuation::Everything) {
            self.persist_everything();
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        let failures = match self.state.store {
            StoreHealth::Working => {
                let message = format!("the controller's state can't be written: {error}");
                self.warn(None, ConditionReason::StoreFailed, message, None);
                1
            }
            // Writes that were requested at the same time fail together and count as one failure.
            StoreHealth::Failing { failures, retry_at } if self.now < retry_at => {
                self.state.store = StoreHealth::Failing { failures, retry_at };
                return;
            }
            StoreHealth::Failing { failures, .. } => failures.saturating_add(1),
        };
        let wait = Waits::grown(FIRST_WAIT, failures.saturating_sub(1), LONGEST_WAIT);
        let retry_at = later(self.now, self.state.jitter.around(wait));
        self.state.store = StoreHealth::Failing { failures, retry_at };
    }

    /// Returns the time at which the store is retried; `None` while it works.
    pub(super) fn store_retry_at(&self) -> Option<Timestamp> {
        match self.state.store {
            StoreHealth::Working => None,
            StoreHealth::Failing { retry_at, .. } => Some(retry_at),
        }
    }

    /// Writes every record again once the retry delay has passed.
    pub(super) fn retry_store_if_due(&mut self) {
        let StoreHealth::Failing { failures, retry_at } = self.state.store else {
            return;
        };
        if self.now < retry_at {
            return;
        }
        let wait = Waits::grown(FIRST_WAIT, failures, LONGEST_WAIT);
        let retry_at = later(self.now, self.state.jitter.around(wait));
        self.state.store = StoreHealth::Failing {
            failures: failures.saturating_add(1),
            retry_at,
        };
        self.persist_everything();
    }

    /// Writes every record, because the contents of failed writes are lost.
    fn persist_everything(&mut self) {
        let state = &*self.state;
        let mut writes: Vec<_> = put_source(&state.source.record).into_iter().collect();
        writes.extend(put_rollouts(&state.rollouts));
        writes.extend(state.states.values().filter_map(|state| put_state(state)));
        for host in state.hosts.values() {
            writes.extend(put_host(&host.record()));
            match &host.target {
                Some(target) => writes.extend(put_target(&host.name, target)),
                None => writes.push(Write::Delete(Table::Targets, host.name.to_string())),
            }
        }
        let alerts = state.active_alerts.iter();
        writes.extend(alerts.filter_map(|(key, alert)| put_alert(key, alert)));
        writes.extend(state.records.puts());
        let undeleted = state.undeleted.iter();
        let gone = undeleted.filter(|(table, key)| !writes_to(&writes, *table, key));
        let deletes: Vec<_> = gone
            .map(|(table, key)| Write::Delete(*table, key.clone()))
            .collect();
        writes.extend(deletes);
        let is_written = |name: &HostName| {
            let mut pending = state.pending.values();
            pending.any(|one| matches!(one, Continuation::Renamed { new, .. } if new == name))
        };
        let renaming = state.hosts.values().filter(|host| host.renaming);
        let lost = renaming.filter(|host| !is_written(&host.name));
        let lost: Vec<_> = lost
            .map(|host| (host.name.clone(), host.target.clone()))
            .collect();
        self.persist(writes, Continuation::Everything);
        for (new, target) in lost {
            let writes = target.and_then(|target| put_target(&new, &target));
            let pending = Continuation::Renamed { old: None, new };
            self.persist(writes.into_iter().collect(), pending);
        }
    }
}

/// True if one of the writes sets this record.
fn writes_to(writes: &[Write], table: Table, key: &str) -> bool {
    writes
        .iter()
        .any(|write| matches!(write, Write::Put(t, k, _) if *t == table && k == key))
}

pub(super) fn put_source(record: &SourceRecord) -> Option<Write> {
    put(Table::Sources, SOURCE, record)
}

/// Returns the writes that store all rollouts.
pub(super) fn put_rollouts(rollouts: &[Rollout]) -> impl Iterator<Item = Write> {
    rollouts
        .iter()
        .filter_map(|rollout| put(Table::Rollouts, &rollout_key(rollout.id()), rollout))
}

/// Returns the key of a rollout's record. Earlier versions stored a single rollout, numbered 0, which keeps
/// its old key.
pub(super) fn rollout_key(id: RolloutId) -> String {
    if id == RolloutId::default() {
        ROLLOUT.to_owned()
    } else {
        format!("{ROLLOUT}-{id}")
    }
}

pub(super) fn put_host(record: &HostRecord) -> Option<Write> {
    put(Table::Hosts, record.status.host.as_str(), record)
}

pub(super) fn put_target(host: &HostName, target: &Target) -> Option<Write> {
    put(Table::Targets, host.as_str(), target)
}

pub(super) fn put_state(state: &DesiredState) -> Option<Write> {
    let bytes = state_to_bytes(state)?;
    Some(Write::Put(Table::States, state.digest().to_string(), bytes))
}

pub(super) fn put_alert(key: &str, alert: &ActiveAlert) -> Option<Write> {
    put(Table::Alerts, key, alert)
}
