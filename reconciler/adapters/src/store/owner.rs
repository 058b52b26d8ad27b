//! The thread that owns the database.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::sync::mpsc;

use plumb_core::ports::{Records, StoreError, Table, Write};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};
use tokio::sync::oneshot;

/// The format version of the records. [`Owner::open`] refuses a higher one.
pub(super) const FORMAT: u64 = 1;

/// The cache size in bytes, enough for the working set of a large fleet; redb's default is 1 GiB.
const CACHE: usize = 32 << 20;

/// The maximum number of commits that share one sync.
const SHARED: usize = 256;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("plumb");

type StoreReply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Job {
    Get {
        table: Table,
        key: String,
        answer: StoreReply<Option<Vec<u8>>>,
    },
    List {
        table: Table,
        answer: StoreReply<Records>,
    },
    Commit {
        writes: Vec<Write>,
        answer: StoreReply<()>,
    },
}

pub(super) struct Owner {
    path: PathBuf,
    // `None` after a failed job: after an I/O error redb refuses everything until the file is reopened,
    // and a disk that was full may have space again.
    database: Option<Database>,
}

impl Owner {
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let database = open(&path)?;
        Ok(Self {
            path,
            database: Some(database),
        })
    }

    /// Handles jobs until the store is dropped.
    pub(super) fn run(&mut self, queue: &mpsc::Receiver<Job>) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| queue.recv().ok()) {
            // Sending fails if the caller no longer waits, which is harmless.
            match job {
                Job::Get { table, key, answer } => {
                    let _ = answer.send(self.with(|database| get(database, table, &key)));
                }
                Job::List { table, answer } => {
                    let _ = answer.send(self.with(|database| list(database, table)));
                }
                Job::Commit { writes, answer } => {
                    let mut group = vec![writes];
                    let mut answers = vec![answer];
                    while group.len() < SHARED {
                        match queue.try_recv() {
                            Ok(Job::Commit { writes, answer }) => {
                                group.push(writes);
                                answers.push(answer);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    let result = self.with(|database| commit(database, &group));
                    for answer in answers {
                        let _ = answer.send(result.clone());
                    }
                }
            }
        }
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let done = work(&database).map_err(|error| StoreError::Failed(error.to_string()));
        if done.is_ok() {
            self.database = Some(database);
        }
        done
    }
}

/// The first bytes of every redb file, from redb's design document.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Rejects an existing file that isn't a store, such as an empty or truncated one: redb would initialize an
/// empty file as the store of a new controller, which every host would refuse.
fn examine(path: &std::path::Path) -> Result<(), StoreError> {
    let shown = || path.display().to_string();
    let mut first = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    let reason = match read {
        Ok(()) if first == MAGIC => return Ok(()),
        Ok(()) => "it isn't a file of Plumb's state",
        Err(error) => match error.kind() {
            ErrorKind::NotFound => return Ok(()),
            ErrorKind::PermissionDenied => return Err(StoreError::Denied { path: shown() }),
            ErrorKind::UnexpectedEof => "it is empty or was cut short",
            _ => return Err(StoreError::Failed(format!("{}: {error}", path.display()))),
        },
    };
    Err(StoreError::Damaged {
        path: shown(),
        reason: reason.to_owned(),
    })
}

fn open(path: &std::path::Path) -> Result<Database, StoreError> {
    examine(path)?;
    let database = Database::builder()
        .set_cache_size(CACHE)
        .create(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Busy,
            DatabaseError::Storage(StorageError::Corrupted(reason)) => StoreError::Damaged {
                path: path.display().to_string(),
                reason,
            },
            other => StoreError::Failed(format!("{}: {other}", path.display())),
        })?;
    let found = format(&database)
        .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
    match found {
        Some(version) if version > FORMAT => Err(StoreError::Newer),
        Some(_) => Ok(database),
        None => {
            stamp(&database)
                .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
            Ok(database)
        }
    }
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|version| version.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn stamp(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

fn get(database: &Database, table: Table, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(records) => Ok(records.get(key)?.map(|bytes| bytes.value().to_vec())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn list(database: &Database, table: Table) -> Result<Records, redb::Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(records) => {
            let mut all = Vec::new();
            for record in records.iter()? {
                let (key, bytes) = record?;
                all.push((key.value().to_owned(), bytes.value().to_vec()));
            }
            Ok(all)
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn commit(database: &Database, group: &[Vec<Write>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for write in group.iter().flatten() {
        match write {
            Write::Put(table, key, bytes) => {
                transaction
                    .open_table(definition(*table))?
                    .insert(key.as_str(), bytes.as_slice())?;
            }
            Write::Delete(table, key) => {
                transaction
                    .open_table(definition(*table))?
                    .remove(key.as_str())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(match table {
        Table::Controller => "controller",
        Table::Sources => "sources",
        Table::Targets => "targets",
        Table::Hosts => "hosts",
        Table::Alerts => "alerts",
        Table::Events => "events",
        Table::Rollouts => "rollouts",
        Table::States => "states",
    })
}
