//! What outlives the process, and the way to the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::{ControllerId, Digest, Epoch, HostName};
use plumb_core::alerting::{Book, Entry};
use plumb_core::desired::DesiredState;
use plumb_core::ports::{Store, StoreError, Table, Write};
use plumb_core::rollout::Rollout;
use plumb_core::status::{HostStatus, Target};
use plumb_trust::{KeyName, Oid, Rollback};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::desired;
use crate::event::Events;
use crate::view::RevisionView;

const IDENTITY: &str = "identity";
const SOURCE: &str = "source";
const ROLLOUT: &str = "rollout";

/// Who this controller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) id: ControllerId,
    pub(crate) epoch: Epoch,
}

/// What is remembered of the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SourceRecord {
    /// The last accepted commit; it only moves forward.
    pub(crate) floor: Option<Oid>,
    /// The introduction that it was accepted from; none where that wasn't kept yet.
    pub(crate) introduction: Option<Oid>,
    /// The fleet's name as last accepted.
    pub(crate) fleet: Option<String>,
    /// When commits and tags were first seen here.
    pub(crate) first_seen: BTreeMap<Oid, Timestamp>,
    /// The newest revisions, newest first.
    pub(crate) revisions: Vec<RevisionView>,
    /// Signed rollbacks that were accepted, oldest first: hosts that ran what was left may follow them.
    pub(crate) rollbacks: Vec<WentBack>,
    /// Keys that signed `revoke/` tags took authority away from: who deletes a tag gives nothing back.
    pub(crate) revoked: Vec<KeyName>,
}

impl SourceRecord {
    /// The floor, if it was accepted from this introduction.
    pub(crate) fn floor_from(&self, introduction: Oid) -> Option<Oid> {
        let same = self.introduction.is_none_or(|from| from == introduction);
        self.floor.filter(|_| same)
    }
}

/// A signed rollback that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WentBack {
    /// The floor that was left.
    pub(crate) from: Oid,
    /// The earlier commit that it went back to.
    pub(crate) to: Oid,
    /// The commit that says so.
    pub(crate) commit: Oid,
}

impl From<&Rollback> for WentBack {
    fn from(rollback: &Rollback) -> Self {
        Self {
            from: rollback.from,
            to: rollback.to,
            commit: rollback.commit,
        }
    }
}

/// What is remembered of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostRecord {
    pub(crate) status: HostStatus,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Runs in a row that found drift.
    #[serde(default)]
    pub(crate) drift_runs: u32,
}

/// Everything that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) identity: Identity,
    pub(crate) source: SourceRecord,
    pub(crate) hosts: BTreeMap<HostName, HostRecord>,
    pub(crate) rollout: Rollout,
    pub(crate) book: Book,
    pub(crate) events: Events,
    pub(crate) states: BTreeMap<Digest, Arc<DesiredState>>,
}

/// What was kept can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The store itself fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that safety hangs on can't be read.
    #[error("the record `{key}` of the state folder can't be read: {reason}")]
    Garbled {
        /// Which.
        key: String,
        /// Why.
        reason: String,
    },
}

async fn one<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    key: &str,
) -> Result<Option<T>, LoadError> {
    let Some(bytes) = store.get(table, key).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| LoadError::Garbled {
            key: key.to_owned(),
            reason: error.to_string(),
        })
}

/// Records of which one that can't be read is as good as none: they are made anew.
async fn many<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
) -> Result<Vec<(String, T)>, LoadError> {
    let records = store.list(table).await?;
    Ok(records
        .into_iter()
        .filter_map(|(key, bytes)| match serde_json::from_slice(&bytes) {
            Ok(value) => Some((key, value)),
            Err(error) => {
                tracing::warn!(?table, key, %error, "a record can't be read and is left out");
                None
            }
        })
        .collect())
}

/// A name that no other controller has.
fn new_id() -> ControllerId {
    use std::hash::{BuildHasher as _, Hasher as _};
    loop {
        // The standard library keys its hashers from the system's randomness.
        let number = std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish();
        if let Ok(id) = format!("controller-{number:016x}").parse() {
            return id;
        }
    }
}

impl Kept {
    /// Reads everything, and begins a new epoch, which is durable before this returns.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, LoadError> {
        let identity = match one::<Identity>(store, Table::Controller, IDENTITY).await? {
            Some(old) => Identity {
                id: old.id,
                epoch: Epoch(old.epoch.0 + 1),
            },
            None => Identity {
                id: new_id(),
                epoch: Epoch(1),
            },
        };
        store.commit(vec![put_identity(&identity)]).await?;
        let source = one(store, Table::Sources, SOURCE)
            .await?
            .unwrap_or_default();
        let mut hosts = BTreeMap::new();
        for (key, record) in many::<HostRecord>(store, Table::Hosts).await? {
            if let Ok(name) = key.parse() {
                hosts.insert(name, record);
            }
        }
        // The target is a record of its own: a host whose status is lost must keep what it is driven to.
        for (key, target) in many::<Target>(store, Table::Targets).await? {
            let Ok(name) = key.parse::<HostName>() else {
                continue;
            };
            let record = hosts.entry(name.clone()).or_insert_with(|| HostRecord {
                status: HostStatus::new(name),
                labels: BTreeMap::new(),
                drift_runs: 0,
            });
            record.status.target = Some(target);
        }
        let rollout = one(store, Table::Rollouts, ROLLOUT)
            .await?
            .unwrap_or_default();
        let book = Book::load(many::<Entry>(store, Table::Alerts).await?);
        let events = Events::load(many(store, Table::Events).await?);
        let states = store
            .list(Table::States)
            .await?
            .into_iter()
            .filter_map(|(key, bytes)| {
                let digest = key.parse().ok()?;
                Some((digest, Arc::new(desired::state_from_bytes(&bytes, digest)?)))
            })
            .collect();
        Ok(Self {
            identity,
            source,
            hosts,
            rollout,
            book,
            events,
            states,
        })
    }
}

fn put<T: Serialize>(table: Table, key: String, value: &T) -> Option<Write> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Some(Write::Put(table, key, bytes)),
        Err(error) => {
            tracing::error!(?table, key, %error, "a record has no form to be kept in");
            None
        }
    }
}

pub(crate) fn put_identity(identity: &Identity) -> Write {
    let bytes = serde_json::to_vec(identity).unwrap_or_default();
    Write::Put(Table::Controller, IDENTITY.to_owned(), bytes)
}

pub(crate) fn put_source(record: &SourceRecord) -> Option<Write> {
    put(Table::Sources, SOURCE.to_owned(), record)
}

pub(crate) fn put_rollout(rollout: &Rollout) -> Option<Write> {
    put(Table::Rollouts, ROLLOUT.to_owned(), rollout)
}

pub(crate) fn put_host(record: &HostRecord) -> Option<Write> {
    put(Table::Hosts, record.status.host.to_string(), record)
}

pub(crate) fn put_target(host: &HostName, target: &Target) -> Option<Write> {
    put(Table::Targets, host.to_string(), target)
}

pub(crate) fn put_state(state: &DesiredState) -> Option<Write> {
    let bytes = desired::state_to_bytes(state)?;
    Some(Write::Put(Table::States, state.digest().to_string(), bytes))
}

pub(crate) fn put_alert(key: &str, entry: &Entry) -> Option<Write> {
    put(Table::Alerts, key.to_owned(), entry)
}

/// A batch of writes, and who waits for it.
struct Batch {
    writes: Vec<Write>,
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

/// The way to the store: writes are handed over in order and made durable together.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    batches: mpsc::UnboundedSender<Batch>,
}

impl Keeper {
    /// Starts the task that writes. It ends when the last keeper is gone and all is written.
    pub(crate) fn start(store: Arc<dyn Store>) -> (Self, JoinHandle<()>) {
        let (batches, mut queue) = mpsc::unbounded_channel::<Batch>();
        let task = tokio::spawn(async move {
            while let Some(first) = queue.recv().await {
                let mut writes = first.writes;
                let mut waiting: Vec<_> = first.done.into_iter().collect();
                while let Ok(next) = queue.try_recv() {
                    writes.extend(next.writes);
                    waiting.extend(next.done);
                }
                let result = if writes.is_empty() {
                    Ok(())
                } else {
                    store.commit(writes).await
                };
                if let Err(error) = &result {
                    tracing::error!(%error, "what must outlive the process can't be kept");
                }
                for done in waiting {
                    let _ = done.send(result.clone());
                }
            }
        });
        (Self { batches }, task)
    }

    /// Hands writes over.
    pub(crate) fn write(&self, writes: impl IntoIterator<Item = Write>) {
        let writes: Vec<_> = writes.into_iter().collect();
        if !writes.is_empty() {
            let _ = self.batches.send(Batch { writes, done: None });
        }
    }

    /// Writes, and returns when it is durable: nothing that hangs on it may happen before.
    pub(crate) async fn durable(
        &self,
        writes: impl IntoIterator<Item = Write>,
    ) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        let batch = Batch {
            writes: writes.into_iter().collect(),
            done: Some(done),
        };
        let gone = || StoreError::Failed("its writer has ended".to_owned());
        self.batches.send(batch).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}
