//! The write-ahead journal: what a run is about to do, on disk before it does it.
//!
//! One file per run, records of one line each: a digest, and JSON. It belongs to the ledger of one
//! sequence (`base`) and leads to the next; while no ledger of a higher sequence exists, the run
//! didn't end, and what stands here is taken into the ledger by the next contact. Only intentions
//! have to be durable: if the record of an outcome is lost, the resource is observed again anyway.

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

/// The journal of a run under way.
pub(crate) struct Journal {
    file: File,
}

/// A journal as it was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is none.
    Missing,
    /// It isn't one of ours, or was damaged before its end.
    Corrupt,
    /// Its records, the first a [`Record::Begin`].
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
    /// Begins a run: the journal of the one before is replaced in one step, with room for `room`
    /// more bytes set aside.
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

    /// Appends records, without waiting for the disk.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend(line(record)?);
        }
        self.file.write_all(&bytes).at("write", "the journal")
    }

    /// Waits until everything appended is on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().at("write", "the journal")
    }

    /// Reads the journal. A last record that was cut off by a crash never happened.
    pub(crate) fn read(home: &Home) -> Result<Found> {
        match home.read(FILE)? {
            Some(bytes) => parse(&bytes),
            None => Ok(Found::Missing),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Found> {
    let mut lines = bytes.split(|b| *b == b'\n').peekable();
    let mut records = Vec::new();
    while let Some(line) = lines.next() {
        let last = lines.peek().is_none();
        match record(line) {
            Some(record) => records.push(record),
            // The piece behind the last line's end, or a line without its end.
            None if last => break,
            None => return Ok(Found::Corrupt),
        }
    }
    if records.is_empty() {
        return Ok(Found::Corrupt);
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
        Record::Begin(begin) => Ok(Found::Sound { begin, records }),
        _ => Ok(Found::Corrupt),
    }
}

fn record(line: &[u8]) -> Option<Record> {
    let (digest, json) = (line.get(..64)?, line.get(64..)?.strip_prefix(b" ")?);
    let digest: Digest = std::str::from_utf8(digest).ok()?.parse().ok()?;
    (Digest::of_bytes(json) == digest)
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

/// Sets room on disk aside for a file, so that a full disk is met before the first change.
pub(crate) fn reserve(file: &File, room: u64, path: &str) -> Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, room.max(1)) {
        // A file system without fallocate: the room was asked for by statvfs.
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
            let Found::Sound {
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
            assert!(matches!(parse(&damaged), Ok(Found::Corrupt)), "byte {at}");
        }
        assert!(matches!(parse(b""), Ok(Found::Corrupt)));
    }
}
