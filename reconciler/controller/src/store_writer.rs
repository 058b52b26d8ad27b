//! The way to the store: what is read at the start, and one task that writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::ControllerId;
use plumb_core::fleet::{Event, Identity, PersistId, Persisted, RecordError, SourceRecord};
use plumb_core::ports::{Store, StoreError, Table, Write};
use plumb_trust::{KeyName, Oid};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What was stored can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The store itself fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that safety depends on can't be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Reads everything and begins a new epoch, which is durable before this returns.
pub(crate) async fn load(store: &dyn Store) -> Result<(Persisted, Identity), LoadError> {
    let stored = store.get(Table::Controller, Identity::KEY).await?;
    let (identity, write) = Identity::begin(stored.as_deref(), new_id)?;
    store.commit(write.into_iter().collect()).await?;
    let mut tables = BTreeMap::new();
    for table in Persisted::TABLES {
        tables.insert(table, store.list(table).await?);
    }
    let persisted = Persisted::read(tables)?;
    check_names(persisted.source())?;
    for record in persisted.unreadable() {
        tracing::warn!(error = %record, "a stored record is left out");
    }
    Ok((persisted, identity))
}

/// Commits and keys are texts in the record. One that names none would be left out of a verification.
fn check_names(record: &SourceRecord) -> Result<(), RecordError> {
    let commits = record.floor.iter().chain(&record.introduction);
    let commits = commits.chain(record.first_seen.keys());
    let rollbacks = record.rollbacks.iter();
    let commits = commits.chain(rollbacks.flat_map(|r| [&r.from, &r.to, &r.commit]));
    let wrong = |text: &String| RecordError {
        key: "source".to_owned(),
        reason: format!("`{text}` names neither a commit nor a key"),
    };
    for commit in commits {
        commit.parse::<Oid>().map_err(|_| wrong(commit))?;
    }
    for key in &record.revoked {
        key.parse::<KeyName>().map_err(|_| wrong(key))?;
    }
    Ok(())
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

/// Writes in the order in which they are handed over. Those that wait together are one commit, so a fleet
/// that starts at once pays for one.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    batches: mpsc::UnboundedSender<(PersistId, Vec<Write>)>,
    task: JoinHandle<()>,
}

impl StoreWriter {
    /// Starts the task; each write is acknowledged by an event.
    pub(crate) fn start(store: Arc<dyn Store>, events: mpsc::UnboundedSender<Event>) -> Self {
        let (batches, mut queue) = mpsc::unbounded_channel::<(PersistId, Vec<Write>)>();
        let task = tokio::spawn(async move {
            while let Some((first, mut writes)) = queue.recv().await {
                let mut ids = vec![first];
                while let Ok((id, more)) = queue.try_recv() {
                    ids.push(id);
                    writes.extend(more);
                }
                let result = store.commit(writes).await;
                if let Err(error) = &result {
                    tracing::error!(%error, "the controller's state can't be written");
                }
                for id in ids {
                    let result = result.clone();
                    // At the end nobody listens any more.
                    let _ = events.send(Event::Persisted { id, result });
                }
            }
        });
        Self { batches, task }
    }

    /// Hands a write over.
    pub(crate) fn write(&self, id: PersistId, writes: Vec<Write>) {
        // The task ends only when this sender is gone.
        let _ = self.batches.send((id, writes));
    }

    /// Writes what was handed over, and ends.
    pub(crate) async fn finish(self) {
        drop(self.batches);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "writing the controller's state crashed");
        }
    }
}
