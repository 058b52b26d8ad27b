//! Access to the store: reads the state at the start, and writes changes in a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::ControllerId;
use plumb_core::fleet::{Event, Identity, PersistId, Persisted, RecordError, SourceRecord};
use plumb_core::ports::{Store, StoreError, Table, Write};
use plumb_trust::{KeyName, Oid};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The stored state can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored record that safety depends on can't be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Reads the stored state and begins a new epoch. The epoch is durable when this function returns.
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
        tracing::warn!(error = %record, "skipping an unreadable stored record");
    }
    Ok((persisted, identity))
}

/// Checks that the stored ids of commits and keys are valid. Verification would ignore an invalid id.
fn check_names(record: &SourceRecord) -> Result<(), RecordError> {
    let commits = record.floor.iter().chain(&record.introduction);
    let commits = commits.chain(record.first_seen.keys());
    let rollbacks = record.rollbacks.iter();
    let commits = commits.chain(rollbacks.flat_map(|r| [&r.from, &r.to, &r.commit]));
    let wrong = |text: &String| RecordError {
        key: "source".to_owned(),
        reason: format!("`{text}` isn't a commit or a key"),
    };
    for commit in commits {
        commit.parse::<Oid>().map_err(|_| wrong(commit))?;
    }
    for key in &record.revoked {
        key.parse::<KeyName>().map_err(|_| wrong(key))?;
    }
    Ok(())
}

/// Creates a random id for this controller.
fn new_id() -> ControllerId {
    use std::hash::{BuildHasher as _, Hasher as _};
    loop {
        // The standard library seeds its hashers from the system's randomness.
        let number = std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish();
        if let Ok(id) = format!("controller-{number:016x}").parse() {
            return id;
        }
    }
}

/// Writes to the store in the order of calls. Writes that are queued together become one commit, so a fleet
/// that starts needs only a few commits.
#[derive(Debug)]
pub(crate) struct StoreWriter {
    batches: mpsc::UnboundedSender<(PersistId, Vec<Write>)>,
    task: JoinHandle<()>,
}

impl StoreWriter {
    /// Starts the task, which sends an event when a write has succeeded or failed.
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
                    tracing::error!(%error, "cannot write the controller's state");
                }
                for id in ids {
                    let result = result.clone();
                    // Sending fails only after the loop has ended.
                    let _ = events.send(Event::Persisted { id, result });
                }
            }
        });
        Self { batches, task }
    }

    /// Queues a write.
    pub(crate) fn write(&self, id: PersistId, writes: Vec<Write>) {
        // This can't fail: the task ends only after this sender is dropped.
        let _ = self.batches.send((id, writes));
    }

    /// Waits until all queued writes are done and the task has ended.
    pub(crate) async fn finish(self) {
        drop(self.batches);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the writer of the controller's state crashed");
        }
    }
}
