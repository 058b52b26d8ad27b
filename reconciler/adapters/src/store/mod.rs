//! Persists the controller's records in one redb file.
//!
//! One thread owns the database, because its calls block and sync to disk. Commits that wait in the queue
//! at the same time share one sync, so many hosts that change at once cost one sync.

mod owner;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use futures::future::BoxFuture;
use plumb_core::ports::{Records, Store, StoreError, Table, Write};
use tokio::sync::oneshot;

use self::owner::{Job, Owner};

/// The store of a controller, in its state folder.
#[derive(Debug)]
pub struct RedbStore {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    path: PathBuf,
}

impl RedbStore {
    /// Opens the store in `folder`, and creates the folder with mode 0700 if it is missing.
    ///
    /// The store locks its file until it is dropped; opening the file again returns [`StoreError::Busy`].
    /// After a failed job, the lock is free until the next job reopens the file.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        prepare(folder).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => StoreError::Denied {
                path: folder.display().to_string(),
            },
            _ => StoreError::Failed(format!("can't create {}: {error}", folder.display())),
        })?;
        let path = folder.join("state.redb");
        let (jobs, queue) = mpsc::channel();
        let (opened, result) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let path = path.clone();
                move || match Owner::open(path) {
                    Ok(mut owner) => {
                        // Sending fails only if `open` is gone, and then the queue is closed too.
                        let _ = opened.send(Ok(()));
                        owner.run(&queue);
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                    }
                }
            })
            .map_err(|error| {
                StoreError::Failed(format!("can't start the store thread: {error}"))
            })?;
        result.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            path,
        })
    }

    /// The path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let (answer, result) = oneshot::channel();
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job(answer)).is_ok());
        Box::pin(async move {
            if !sent {
                return Err(ended());
            }
            result.await.unwrap_or_else(|_| Err(ended()))
        })
    }
}

impl Store for RedbStore {
    fn get(&self, table: Table, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let key = key.to_owned();
        self.ask(|answer| Job::Get { table, key, answer })
    }

    fn list(&self, table: Table) -> BoxFuture<'_, Result<Records, StoreError>> {
        self.ask(|answer| Job::List { table, answer })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|answer| Job::Commit { writes, answer })
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        // Waits until the lock is free: a restart in the same process reopens the file.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended() -> StoreError {
    StoreError::Failed("its thread has ended; restart the controller".to_owned())
}

/// Creates the folder for its owner alone: statuses and alerts reveal much about a fleet.
fn prepare(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
