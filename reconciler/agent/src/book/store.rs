//! The ledger on disk. The agent writes two files in turn, so that the previous generation stays until the
//! next write. The journal has the changes since the newest generation.

use std::fs::File;

use plumb_api::frame::LedgerState;
use plumb_api::report::{AgentError, ErrorCode};

use super::home::{Durable, Home, PATH, Sealed, put, seal, unseal};
use super::journal::{Journal, StoredJournal, reserve};
use super::ledger::Ledger;
use super::record::{Begin, Record};
use crate::error::Result;
use crate::sys::{Sys, create_new};

const FORMAT: &str = "ledger";
const NEXT: &str = "ledger.new";

/// The ledger as read from disk.
pub(crate) struct Loaded {
    pub ledger: Ledger,
    pub state: LedgerState,
    /// First record of the run that was interrupted, if there is one. `ledger` already includes that run's
    /// journal, but only in memory.
    pub unfinished: Option<Begin>,
}

/// Returns the name of the file for this sequence number.
fn slot(sequence: u64) -> &'static str {
    if sequence % 2 == 0 {
        "ledger.a"
    } else {
        "ledger.b"
    }
}

enum Slot {
    Missing,
    Corrupt,
    Sound(Box<Ledger>),
}

fn read_slot(home: &Home, name: &str) -> Result<Slot> {
    let Some(bytes) = home.read(name)? else {
        return Ok(Slot::Missing);
    };
    Ok(match unseal(FORMAT, &bytes)? {
        Sealed::Sound(payload) => match serde_json::from_slice::<Ledger>(payload) {
            Ok(ledger) if slot(ledger.sequence) == name => Slot::Sound(Box::new(ledger)),
            _ => Slot::Corrupt,
        },
        Sealed::Corrupt => Slot::Corrupt,
    })
}

fn lost(why: impl Into<String>) -> Loaded {
    Loaded {
        ledger: Ledger::default(),
        state: LedgerState::Lost(why.into()),
        unfinished: None,
    }
}

/// Reads the ledger, and applies the journal of an interrupted run in memory. Writes nothing.
pub(crate) fn load(sys: &Sys, home: Option<&Home>) -> Result<Loaded> {
    let fresh = || Loaded {
        ledger: Ledger::default(),
        state: LedgerState::Fresh,
        unfinished: None,
    };
    let Some(home) = home else {
        return Ok(fresh());
    };
    let (a, b) = (read_slot(home, slot(0))?, read_slot(home, slot(1))?);
    let journal = Journal::read(home)?;
    let newest = match (a, b) {
        (Slot::Sound(a), Slot::Sound(b)) => Some(if a.sequence > b.sequence { a } else { b }),
        (Slot::Sound(one), other) | (other, Slot::Sound(one)) => {
            // After the very first write there is only one generation, and after every later one there are
            // two.
            let first = one.sequence == 1 && matches!(other, Slot::Missing);
            if !first && !matches!(journal, StoredJournal::Sound { .. }) {
                return Ok(lost(format!(
                    "one of the two generations of {PATH}/ledger is damaged, and no journal says which is the newer"
                )));
            }
            Some(one)
        }
        (Slot::Missing, Slot::Missing) => None,
        _ => {
            return Ok(lost(format!(
                "both generations of {PATH}/ledger are damaged"
            )));
        }
    };
    let mut loaded = match (newest, &journal) {
        (Some(ledger), _) => Loaded {
            ledger: *ledger,
            state: LedgerState::Sound,
            unfinished: None,
        },
        (None, StoredJournal::Missing) => fresh(),
        (None, StoredJournal::Sound { begin, .. }) if begin.base == 0 => fresh(),
        (None, _) => {
            return Ok(lost(format!(
                "{PATH} has a journal but no ledger: it was removed or damaged"
            )));
        }
    };
    match journal {
        StoredJournal::Sound { begin, records } if begin.base == loaded.ledger.sequence => {
            loaded.ledger.absorb(&Record::Begin(begin.clone()));
            for record in &records {
                loaded.ledger.absorb(record);
            }
            loaded.state = LedgerState::Sound;
            loaded.unfinished = Some(begin);
        }
        StoredJournal::Corrupt => return Ok(lost(format!("{PATH}/journal is damaged"))),
        StoredJournal::Missing | StoredJournal::Sound { .. } => {}
    }
    let machine = sys.facts().machine_id;
    let theirs = &loaded.ledger.machine_id;
    if loaded.state == LedgerState::Sound && !theirs.is_empty() && *theirs != machine {
        return Ok(lost(format!(
            "{PATH} is another machine's (machine-id {theirs}, here it is {machine}): this machine is a clone, or its machine-id was made anew"
        )));
    }
    Ok(loaded)
}

/// Fails if the ledger is lost.
pub(crate) fn refuse_lost(state: &LedgerState) -> Result<()> {
    match state {
        LedgerState::Lost(why) => Err(AgentError::new(
            ErrorCode::LedgerLost,
            format!("the ledger is lost, so nothing is changed: {why}"),
        )
        .hint(format!(
            "if what Plumb made on this machine may stay as it is, remove {PATH} on it and let it be adopted anew"
        ))),
        LedgerState::Fresh | LedgerState::Sound => Ok(()),
    }
}

/// The open file for the ledger's next generation. Its disk space is reserved before the run's first change.
pub(crate) struct NextGeneration {
    file: File,
}

impl NextGeneration {
    pub(crate) fn reserve(home: &Home, room: u64) -> Result<Self> {
        home.dir().unlink(NEXT)?;
        let file = create_new(home.dir(), NEXT)?;
        let reserved = reserve(&file, room, &home.dir().path_of(NEXT));
        if reserved.is_err() {
            home.dir().unlink(NEXT)?;
        }
        reserved?;
        Ok(Self { file })
    }

    /// Deletes the file, which frees the reserved space. Used by a run that ends before its first change.
    pub(crate) fn release(self, home: &Home) -> Result<()> {
        drop(self.file);
        home.dir().unlink(NEXT).map(|_| ())
    }

    /// Writes the ledger as the next generation, replacing the older of the two files.
    pub(crate) fn write(mut self, home: &Home, ledger: &mut Ledger) -> Result<()> {
        ledger.sequence += 1;
        let payload = serde_json::to_vec(&*ledger)
            .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
        let bytes = seal(FORMAT, &payload);
        put(
            home.dir(),
            slot(ledger.sequence),
            NEXT,
            &mut self.file,
            &bytes,
            Durable::Yes,
        )
    }
}

/// Writes the ledger as its next generation.
pub(crate) fn write(home: &Home, ledger: &mut Ledger) -> Result<()> {
    NextGeneration::reserve(home, 1)?.write(home, ledger)
}
