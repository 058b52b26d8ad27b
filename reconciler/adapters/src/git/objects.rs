//! Raw objects, as they lie in a repository's object folders.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use gix::objs::{Find, FindHeader};
use gix::odb::pack::cache::lru::MemoryCappedHashmap;
use plumb_trust::object::{ObjectError, ObjectKind, Objects};
use plumb_trust::{ObjectFormat, Oid};

/// No single buffer may be larger, whatever an object or a delta claims to be.
const ALLOCATION: usize = 64 << 20;

/// What is kept of the room in which objects are put together.
const ROOM: usize = 1 << 20;

/// How long a store stays open: it sees packs that come later only in slots that it has from the beginning,
/// and to make and drop them takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// For a command, a hook or a fetch.
    Shortly,
    /// As long as the controller runs.
    ForLong,
}

impl Open {
    /// How many packs there may be at least before the store has to be opened anew.
    const fn packs(self) -> usize {
        match self {
            Self::Shortly => 256,
            Self::ForLong => 8192,
        }
    }
}

/// What is kept of inflated delta bases; trees of a large fleet are long chains.
const PACK_CACHE: usize = 32 << 20;

/// Beside more threads than these, the one that judges has nothing to wait for.
const SPARE_THREADS: usize = 3;

/// How many threads this process may have at once beside the one that judges, for
/// [`Inputs::threads`](plumb_trust::Inputs::threads): 0 to 3, by the processors that it may run on.
pub fn spare_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors - 1).min(SPARE_THREADS)
}

/// Objects of one or more object folders. Replace refs and grafts don't exist here; the folders'
/// alternates count, because what is read is checked against its name anyway.
///
/// It belongs to one thread: reading goes through caches.
pub struct ObjectStore {
    stores: Vec<gix::odb::Handle>,
    format: ObjectFormat,
    missed: Cell<bool>,
    // Where objects are put together: of one with deltas, much more is needed than comes out.
    room: RefCell<Vec<u8>>,
}

impl ObjectStore {
    /// The objects in these folders, looked for in this order.
    pub fn open(folders: &[PathBuf], format: ObjectFormat, open: Open) -> std::io::Result<Self> {
        let stores = folders
            .iter()
            .map(|folder| {
                let handle = handle(folder, format, open)?;
                Ok(handle.with_pack_cache(|| Box::new(MemoryCappedHashmap::new(PACK_CACHE))))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            stores,
            format,
            missed: Cell::new(false),
            room: RefCell::default(),
        })
    }

    /// What the objects are named by.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Whether an object was asked for in vain since this was asked last.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.take()
    }

    /// Whether an object is there.
    pub fn has(&self, id: &Oid) -> bool {
        let Some(id) = name(id) else { return false };
        self.stores
            .iter()
            .any(|store| gix::objs::Exists::exists(store, &id))
    }

    /// What an object is, without inflating it.
    pub fn kind(&self, id: &Oid) -> Option<ObjectKind> {
        let id = name(id)?;
        self.stores
            .iter()
            .find_map(|store| store.try_header(&id).ok().flatten())
            .map(|header| object_kind(header.kind))
    }
}

impl Objects for ObjectStore {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        if id.format() != self.format {
            return Err(ObjectError::Missing);
        }
        let id = name(id).ok_or(ObjectError::Missing)?;
        for store in &self.stores {
            // Before it is inflated, its header says how large it is: many that are too large may be
            // looked at. Of commits and trees the first too large one ends everything, and the header of
            // a long chain of deltas costs as much as half the object; the bound on allocations is enough.
            if matches!(kind, ObjectKind::Blob | ObjectKind::Tag) {
                match store.try_header(&id) {
                    Ok(Some(header)) if object_kind(header.kind) != kind => {
                        return Err(ObjectError::WrongKind);
                    }
                    Ok(Some(header)) if header.size > limit => return Err(ObjectError::TooLarge),
                    Ok(Some(_)) => {}
                    Ok(None) => continue,
                    Err(error) => return Err(failed(&error)),
                }
            }
            let mut room = self.room.borrow_mut();
            let found = match store.try_find(&id, &mut room) {
                Ok(Some(data)) if object_kind(data.kind) != kind => Err(ObjectError::WrongKind),
                Ok(Some(data)) if data.data.len() as u64 > limit => Err(ObjectError::TooLarge),
                Ok(Some(data)) => Ok(Cow::Owned(data.data.to_vec())),
                Ok(None) => continue,
                Err(error) => Err(failed(&error)),
            };
            if room.capacity() > ROOM {
                *room = Vec::new();
            }
            return found;
        }
        self.missed.set(true);
        Err(ObjectError::Missing)
    }
}

/// A bounded handle to the objects of a folder, without caches.
pub(super) fn handle(
    folder: &Path,
    format: ObjectFormat,
    open: Open,
) -> std::io::Result<gix::odb::Handle> {
    let options = gix::odb::store::init::Options {
        slots: gix::odb::store::init::Slots::AsNeededByDiskState {
            multiplier: 1.1,
            minimum: open.packs(),
        },
        alloc_limit_bytes: Some(ALLOCATION),
        ..Default::default()
    };
    gix::odb::at_opts(folder, kind(format), None, options)
}

fn failed(error: &gix::Error) -> ObjectError {
    use gix::error::{Class, ResourceExhaustionKind};
    let too_large = error.classify().any(|found| {
        found.class() == Class::ResourceExhaustion(ResourceExhaustionKind::AllocationLimit)
    });
    if too_large {
        return ObjectError::TooLarge;
    }
    ObjectError::Corrupt(super::error::innermost(error))
}

fn object_kind(kind: gix::objs::Kind) -> ObjectKind {
    match kind {
        gix::objs::Kind::Commit => ObjectKind::Commit,
        gix::objs::Kind::Tree => ObjectKind::Tree,
        gix::objs::Kind::Blob => ObjectKind::Blob,
        gix::objs::Kind::Tag => ObjectKind::Tag,
    }
}

pub(super) fn kind(format: ObjectFormat) -> gix::hash::Kind {
    match format {
        ObjectFormat::Sha1 => gix::hash::Kind::Sha1,
        ObjectFormat::Sha256 => gix::hash::Kind::Sha256,
    }
}

pub(super) fn format(kind: gix::hash::Kind) -> ObjectFormat {
    if kind.len_in_bytes() == 20 {
        ObjectFormat::Sha1
    } else {
        ObjectFormat::Sha256
    }
}

/// Gix' own name for an object.
pub(super) fn name(id: &Oid) -> Option<gix::ObjectId> {
    gix::ObjectId::try_from(id.as_bytes()).ok()
}

/// Ours for one of gix'.
pub(super) fn oid(id: &gix::oid) -> Option<Oid> {
    Oid::from_bytes(id.as_bytes()).ok()
}
