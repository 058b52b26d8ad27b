//! Persistent state: the format of each stored record, and reading the state back from the records.
//!
//! Records of earlier versions can be read too: fields that they lack are derived from the stored conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::report::Retry;
use plumb_api::{Address, ControllerId, Digest, Epoch, HostName, Spec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::backlog::Backlog;
use super::host::{Drift, HostMode, HostState, Progress, Reachability};
use super::records::RecordLog;
use super::source::SourceRecord;
use crate::alerting::{ActiveAlert, ActiveAlerts};
use crate::desired::{DesiredResource, DesiredState, Suspension};
use crate::ports::{Records, Table, Write};
use crate::reason::ConditionReason;
use crate::rollout::{Rollout, RolloutId};
use crate::status::{Condition, ConditionStatus, ConditionType, Conditions, HostStatus, Target};
use crate::view::HostObject;

/// The key of the controller's identity in its table.
const IDENTITY: &str = "identity";

/// The key of the source's record in its table.
pub(super) const SOURCE: &str = "source";

/// The identity of this controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The controller's id, created at its first start.
    pub id: ControllerId,
    /// The controller's epoch, which grows at each start and may grow further when it takes over a host.
    pub epoch: Epoch,
}

impl Identity {
    /// Returns the identity of a starting controller: the stored one with the next epoch, or the id from
    /// `fresh` with epoch 1. The returned write must be durable before the controller does anything else.
    ///
    /// # Errors
    /// Returns an error if the stored identity can't be read.
    pub fn begin(
        stored: Option<&[u8]>,
        fresh: impl FnOnce() -> ControllerId,
    ) -> Result<(Self, Option<Write>), RecordError> {
        let identity = match stored {
            Some(bytes) => {
                let old: Self = decode(IDENTITY, bytes)?;
                Self {
                    epoch: Epoch(old.epoch.0.saturating_add(1)),
                    ..old
                }
            }
            None => Self {
                id: fresh(),
                epoch: Epoch(1),
            },
        };
        let write = put_identity(&identity);
        Ok((identity, write))
    }

    /// The key of the stored identity in [`Table::Controller`].
    pub const KEY: &'static str = IDENTITY;
}

/// The stored record of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostRecord {
    pub(super) status: HostStatus,
    #[serde(default)]
    pub(super) labels: Arc<BTreeMap<String, String>>,
    /// Number of runs in a row that found drift.
    #[serde(default)]
    pub(super) drift_runs: u32,
    /// Resources that the next run drops from the host's ledger, because a person requested it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) let_go: BTreeSet<Address>,
    /// The changes that the host hasn't received yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backlog: Option<Backlog>,
    /// The facts that the conditions are derived from; `None` in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<HostRecordFacts>,
}

/// The facts that a host's conditions are derived from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostRecordFacts {
    mode: HostMode,
    reach: Reachability,
    progress: Progress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<Drift>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reboot: Vec<String>,
}

impl HostRecordFacts {
    /// Derives the facts from the conditions of an earlier version.
    fn of(status: &HostStatus) -> Self {
        let conditions = &status.conditions;
        let reach = match conditions.get(ConditionType::Reachable) {
            Some(reachable) if reachable.status == ConditionStatus::False => Reachability::Lost {
                reason: reachable.reason,
                message: reachable.message.clone(),
            },
            Some(_) => Reachability::Connected,
            None => Reachability::Unknown,
        };
        let drift = conditions.get(ConditionType::Drifted).map(|drifted| Drift {
            reason: drifted.reason,
            message: drifted.message.clone(),
        });
        Self {
            mode: mode_of(conditions),
            reach,
            progress: progress_of(conditions, status.revision.as_ref()),
            drift,
            reboot: Vec::new(),
        }
    }
}

fn mode_of(conditions: &Conditions) -> HostMode {
    if let Some(paused) = conditions.get(ConditionType::Suspended) {
        return HostMode::Suspended(Suspension {
            reason: paused.message.headline().to_owned(),
            until: None,
        });
    }
    match conditions
        .get(ConditionType::Ready)
        .map(|ready| ready.reason)
    {
        Some(ConditionReason::Released) => HostMode::Released,
        Some(ConditionReason::Dormant) => HostMode::Dormant,
        Some(ConditionReason::Unmanaged) => HostMode::Unmanaged,
        _ => HostMode::Driven,
    }
}

fn progress_of(conditions: &Conditions, revision: Option<&String>) -> Progress {
    let Some(ready) = conditions.get(ConditionType::Ready) else {
        return Progress::Begun;
    };
    match ready.reason {
        ConditionReason::Settled | ConditionReason::Drifted => {
            Progress::Settled(revision.cloned().unwrap_or_default())
        }
        ConditionReason::NewTarget => Progress::NewTarget,
        ConditionReason::AwaitingTurn => Progress::Observed,
        ConditionReason::Resumed => Progress::Resumed,
        // This reason comes from invalid manifests of a host without a target, not from a run.
        ConditionReason::ManifestInvalid => Progress::Begun,
        reason => failure_of(conditions, ready, reason),
    }
}

fn failure_of(conditions: &Conditions, ready: &Condition, reason: ConditionReason) -> Progress {
    let retry = match reason.retry() {
        _ if conditions.is_true(ConditionType::Stalled) => Retry::Stalled,
        Some(Retry::Stalled) => Retry::Transient,
        Some(retry) => retry,
        None => return Progress::Begun,
    };
    Progress::Failed {
        reason,
        message: ready.message.clone(),
        retry,
    }
}

impl HostState {
    /// Returns the record of this host.
    pub(super) fn record(&self) -> HostRecord {
        HostRecord {
            status: self.object.status.clone(),
            labels: self.labels.clone(),
            drift_runs: self.drift_runs,
            let_go: self.let_go.clone(),
            backlog: self.backlog.clone(),
            facts: Some(HostRecordFacts {
                mode: self.mode.clone(),
                reach: self.reach.clone(),
                progress: self.progress.clone(),
                drift: self.drift.clone(),
                reboot: self.reboot.clone(),
            }),
        }
    }

    fn of_record(name: HostName, record: HostRecord) -> Self {
        let mut status = record.status;
        status.host = name.clone();
        let facts = record.facts.unwrap_or_else(|| HostRecordFacts::of(&status));
        Self {
            labels: record.labels.clone(),
            mode: facts.mode,
            reach: facts.reach,
            progress: facts.progress,
            drift: facts.drift,
            reboot: facts.reboot,
            drift_runs: record.drift_runs,
            warnings: Vec::new(),
            revision: status.revision.clone(),
            held: status.held,
            ledger_sequence: status.ledger_sequence,
            last_seen: status.last_seen,
            last_success: status.last_success,
            failures: status.failures,
            resources: status.resources,
            differing: status.differing.clone(),
            failing: status.failing.clone(),
            waiting: status.waiting.clone(),
            give_backs: status.give_backs.clone(),
            let_go: record.let_go,
            backlog: record.backlog,
            next_run: status.next_run,
            object: Arc::new(HostObject::new(record.labels, status)),
            ..Self::new(name)
        }
    }
}

/// A stored record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record `{key}` can't be read: {reason}")]
pub struct RecordError {
    /// The key of the record.
    pub key: String,
    /// The error.
    pub reason: String,
}

/// Returns the write that stores a record.
pub(super) fn put<T: Serialize>(table: Table, key: &str, value: &T) -> Option<Write> {
    // Records consist of texts, numbers and times, which can always be serialized.
    let bytes = serde_json::to_vec(value).ok()?;
    Some(Write::Put(table, key.to_owned(), bytes))
}

/// Returns the write that stores the controller's identity.
pub(super) fn put_identity(identity: &Identity) -> Option<Write> {
    put(Table::Controller, IDENTITY, identity)
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(bytes).map_err(|error| RecordError {
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

/// The state that was read from the store. Records that couldn't be read are left out, and are written anew
/// later.
#[derive(Debug)]
pub struct Persisted {
    pub(super) source: SourceRecord,
    pub(super) hosts: BTreeMap<HostName, HostState>,
    pub(super) rollouts: Vec<Rollout>,
    pub(super) alerts: ActiveAlerts,
    pub(super) records: RecordLog,
    pub(super) states: BTreeMap<Digest, Arc<DesiredState>>,
    unreadable: Vec<RecordError>,
}

impl Persisted {
    /// The tables that are read at the start.
    pub const TABLES: [Table; 7] = [
        Table::Sources,
        Table::Hosts,
        Table::Targets,
        Table::Rollouts,
        Table::Alerts,
        Table::Events,
        Table::States,
    ];

    /// Restores the state from all tables.
    ///
    /// # Errors
    /// Returns an error if the record of the source or of a rollout can't be read, because without it no host
    /// may be changed.
    pub fn read(mut tables: BTreeMap<Table, Records>) -> Result<Self, RecordError> {
        let mut unreadable = Vec::new();
        let mut take = |table| tables.remove(&table).unwrap_or_default();
        let mut source = SourceRecord::default();
        for (key, bytes) in take(Table::Sources) {
            if key == SOURCE {
                source = decode(&key, &bytes)?;
            }
        }
        let mut hosts = BTreeMap::new();
        for (name, record) in named(take(Table::Hosts), &mut unreadable) {
            let state = HostState::of_record(HostName::clone(&name), record);
            hosts.insert(name, state);
        }
        // The target is a separate record, so that a host whose status is lost keeps its target.
        for (name, target) in named::<HostName, Target>(take(Table::Targets), &mut unreadable) {
            let host = hosts
                .entry(name.clone())
                .or_insert_with(|| HostState::new(name));
            host.target = Some(target);
        }
        let rollouts = take(Table::Rollouts);
        let rollouts = rollouts.iter().map(|(key, bytes)| decode(key, bytes));
        let mut rollouts = rollouts.collect::<Result<Vec<Rollout>, _>>()?;
        rollouts.sort_by_key(Rollout::id);
        let alerts = named::<String, ActiveAlert>(take(Table::Alerts), &mut unreadable);
        let records = named(take(Table::Events), &mut unreadable);
        let mut states = BTreeMap::new();
        for (key, bytes) in take(Table::States) {
            if let Ok(digest) = key.parse()
                && let Some(state) = state_from_bytes(&bytes, digest)
            {
                states.insert(digest, Arc::new(state));
            }
        }
        Ok(Self {
            source,
            hosts,
            rollouts,
            alerts: ActiveAlerts::load(alerts),
            records: RecordLog::load(records),
            states,
            unreadable,
        })
    }

    /// Returns a number that is higher than that of every stored rollout and of every rollout in a host's
    /// backlog.
    pub(super) fn next_rollout(&self) -> RolloutId {
        let hosts = self.hosts.values();
        let waits = hosts.filter_map(|host| host.backlog.as_ref()?.rollout());
        let last = self.rollouts.iter().map(Rollout::id).chain(waits).max();
        last.unwrap_or_default().next()
    }

    /// Returns the stored record of the source.
    pub fn source(&self) -> &SourceRecord {
        &self.source
    }

    /// Returns the errors of the unreadable records.
    pub fn unreadable(&self) -> &[RecordError] {
        &self.unreadable
    }
}

/// Returns the records whose keys and bytes can be parsed; adds the errors of the others to `unreadable`.
fn named<K: std::str::FromStr, T: DeserializeOwned>(
    records: Records,
    unreadable: &mut Vec<RecordError>,
) -> Vec<(K, T)> {
    let mut all = Vec::new();
    for (key, bytes) in records {
        match (key.parse(), decode(&key, &bytes)) {
            (Ok(name), Ok(value)) => all.push((name, value)),
            (Ok(_), Err(error)) => unreadable.push(error),
            (Err(_), _) => unreadable.push(RecordError {
                key,
                reason: "its key isn't a host's name".to_owned(),
            }),
        }
    }
    all
}

/// Serializes a desired state as its specs by address.
pub(super) fn state_to_bytes(state: &DesiredState) -> Option<Vec<u8>> {
    let specs: BTreeMap<&Address, &Spec> = state
        .resources()
        .iter()
        .map(|(address, resource)| (address, resource.spec()))
        .collect();
    serde_json::to_vec(&specs).ok()
}

/// Reads a stored desired state; `None` if it can't be read or doesn't have this digest.
fn state_from_bytes(bytes: &[u8], digest: Digest) -> Option<DesiredState> {
    let specs: BTreeMap<Address, Spec> = serde_json::from_slice(bytes).ok()?;
    let resources = specs
        .into_iter()
        .map(|(address, spec)| Some((address, Arc::new(DesiredResource::new(spec).ok()?))))
        .collect::<Option<_>>()?;
    let state = DesiredState::new(resources);
    (state.digest() == digest).then_some(state)
}
