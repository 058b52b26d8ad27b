//! The write-ahead journal: a run writes the intent of each change to disk before it makes the change.
//!
//! There is one file per run. Each line is a record: its digest and its JSON. A journal extends the ledger
//! that has the sequence number `base`. A run ends by writing the ledger with the next sequence number. If
//! that ledger doesn't exist, the run was interrupted, and the next session applies the journal to the
//! ledger. Only intents have to be durable: if the record of an outcome is lost, the agent observes the
//! resource again anyway.

use std::fs::File;
use std::io::Write;

use plumb_api::Digest;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{FallocateFlags, fallocate, renameat};
use rustix::io::Errno;

use super::home::Home;
use super::record::{Begin, Record, VERSION};
use crate::error::{At, Result};
use crate::sys::create_new;

const FILE: &str = "journal";

/// The open journal of the current run.
pub(crate) struct Journal {
    file: File,
}

/// The journal as read from disk.
#[derive(Debug)]
pub(crate) enum StoredJournal {
    /// There is no journal.
    Missing,
    /// The file isn't a journal, or a record before the last one is damaged.
    Corrupt,
    /// The first record, and the records after it.
    Sound { begin: Begin, records: Vec<Record> },
}

fn line(record: &Record) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(record)
        .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
    let mut line = Digest::of_bytes(&json).to_string().into_bytes();
    line.push(b' ');
    line.extend_from_slice(&json);
    line.push(b'\n');
    Ok(line)
}

impl Journal {
    /// Begins a run: atomically replaces the last run's journal by a new one, and reserves `room` bytes of
    /// disk space for it.
    pub(crate) fn begin(home: &Home, begin: Begin, room: u64) -> Result<(Self, Record)> {
        let dir = home.dir();
        let path = dir.path_of(FILE);
        let temporary = format!("{FILE}.new");
        dir.unlink(&temporary)?;
        let mut file = create_new(dir, &temporary)?;
        let record = Record::Begin(begin);
        let written = reserve(&file, room, &path)
            .and_then(|()| line(&record))
            .and_then(|line| file.write_all(&line).at("write", &path))
            .and_then(|()| file.sync_all().at("write", &path));
        if written.is_err() {
            dir.unlink(&temporary)?;
        }
        written?;
        renameat(dir.fd(), temporary.as_str(), dir.fd(), FILE).at("replace", &path)?;
        dir.sync()?;
        Ok((Self { file }, record))
    }

    /// Appends records without syncing the file.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(line(record)?);
        }
        self.file.write_all(&bytes).at("write", "the journal")
    }

    /// Syncs the file: waits until all appended records are on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().at("write", "the journal")
    }

    /// Reads the journal. Ignores a last record that a crash cut off: its change can't have begun, because
    /// the run syncs an intent before it makes the change.
    pub(crate) fn read(home: &Home) -> Result<StoredJournal> {
        match home.read(FILE)? {
            Some(bytes) => parse(&bytes),
            None => Ok(StoredJournal::Missing),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<StoredJournal> {
    let mut lines = bytes.split(|b| *b == b'\n').peekable();
    let mut records = Vec::new();
    while let Some(line) = lines.next() {
        let last = lines.peek().is_none();
        match record(line) {
            Some(record) => records.push(record),
            // Either the empty piece after the last newline, or a line that a crash cut off.
            None if last => break,
            None => return Ok(StoredJournal::Corrupt),
        }
    }
    if records.is_empty() {
        return Ok(StoredJournal::Corrupt);
    }
    match records.remove(0) {
        Record::Begin(begin) if begin.version > VERSION => Err(AgentError::new(
            ErrorCode::NewerFormat,
            format!(
                "the journal has format {}, this agent knows {VERSION}",
                begin.version
            ),
        )
        .hint("a newer plumb drove this host: upgrade this controller")),
        Record::Begin(begin) => Ok(StoredJournal::Sound { begin, records }),
        _ => Ok(StoredJournal::Corrupt),
    }
}

fn record(line: &[u8]) -> Option<Record> {
    let (digest, json) = (line.get(..64)?, line.get(64..)?.strip_prefix(b" ")?);
    let digest: Digest = std::str::from_utf8(digest).ok()?.parse().ok()?;
    (Digest::of_bytes(json) == digest)
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

/// Reserves disk space for a file, so that a run fails before its first change if the disk is full.
pub(crate) fn reserve(file: &File, room: u64, path: &str) -> Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, room.max(1)) {
        // Without fallocate, only the statvfs check in `apply::space` is left, and that one ignores `room`.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno).at("set room aside for", path),
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::Address;
    use plumb_api::frame::RevisionMark;

    use super::super::entry::Moment;
    use super::super::holder::Holder;
    use super::*;

    fn records() -> Vec<Record> {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let holder = Holder {
            fleet: "home".parse().unwrap(),
            host: "h1".parse().unwrap(),
            controller: "c1".parse().unwrap(),
            epoch: plumb_api::Epoch(3),
        };
        let begin = Begin::new(
            4,
            "id".to_owned(),
            holder,
            RevisionMark("r".to_owned()),
            ".plumb-x".to_owned(),
        );
        let intent = Record::Intent {
            address: address("file:/etc/motd"),
            generation: 7,
            at: Moment::default(),
            original: None,
            spec: None,
            pending: std::collections::BTreeSet::new(),
        };
        let forgotten = Record::Forgotten {
            address: address("service:nginx"),
        };
        vec![Record::Begin(begin), intent, forgotten]
    }

    #[test]
    fn a_torn_end_is_cut_and_damage_before_it_is_noticed() {
        let lines: Vec<Vec<u8>> = records()
            .iter()
            .map(|record| line(record).unwrap())
            .collect();
        let whole = lines.concat();
        let first = lines[0].len();
        for cut in first..=whole.len() {
            let StoredJournal::Sound {
                begin,
                records: rest,
            } = parse(&whole[..cut]).unwrap()
            else {
                panic!("cut at {cut}");
            };
            assert_eq!(begin.base, 4);
            assert!(records()[1..].starts_with(&rest), "cut at {cut}");
        }
        for at in 0..whole.len() - lines[2].len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(
                matches!(parse(&damaged), Ok(StoredJournal::Corrupt)),
                "byte {at}"
            );
        }
        assert!(matches!(parse(b""), Ok(StoredJournal::Corrupt)));
    }
}
