//! Reads raw objects from a repository's object folders.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use gix::objs::{Find, FindHeader};
use gix::odb::pack::cache::lru::MemoryCappedHashmap;
use plumb_trust::object::{ObjectError, ObjectKind, Objects};
use plumb_trust::{ObjectFormat, Oid};

/// The maximum size of one buffer in bytes, whatever size an object or a delta claims to have.
const ALLOCATION: usize = 64 << 20;

/// The maximum capacity of the scratch buffer that is kept between reads, in bytes.
const ROOM: usize = 1 << 20;

/// How long a store is expected to be used. gix finds packs that arrive later only if it has free slots for
/// them; it allocates all slots at opening, and allocating and dropping them takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A command, a hook or a fetch.
    Shortly,
    /// The controller's whole runtime.
    ForLong,
}

impl Open {
    /// The minimum number of pack slots; with more packs than slots, the store must be reopened.
    const fn packs(self) -> usize {
        match self {
            Self::Shortly => 256,
            Self::ForLong => 8192,
        }
    }
}

/// The cache size for inflated delta bases, in bytes; trees of a large fleet are long delta chains.
const PACK_CACHE: usize = 32 << 20;

/// The maximum number of helper threads; with more, the verifying thread gains nothing.
const SPARE_THREADS: usize = 3;

/// Returns the number of helper threads for [`Inputs::threads`](plumb_trust::Inputs::threads): one less than
/// the processors that this process may use, at most 3.
pub fn spare_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors - 1).min(SPARE_THREADS)
}

/// Reads objects of one or more object folders. It ignores replace refs and grafts. It follows the folders'
/// alternates, which is safe because every object is checked against its name.
///
/// It belongs to one thread, because reads use unsynchronized caches.
pub struct ObjectStore {
    stores: Vec<gix::odb::Handle>,
    format: ObjectFormat,
    missed: Cell<bool>,
    // The scratch buffer for inflating: an object with deltas needs much more space than its own size.
    room: RefCell<Vec<u8>>,
}

impl ObjectStore {
    /// Opens the objects in these folders, which are searched in this order.
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

    /// The hash algorithm that names the objects.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Returns true if a read missed an object since the last call.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.take()
    }

    /// True if the object exists.
    pub fn has(&self, id: &Oid) -> bool {
        let Some(id) = name(id) else { return false };
        self.stores
            .iter()
            .any(|store| gix::objs::Exists::exists(store, &id))
    }

    /// Returns an object's size in bytes without inflating it.
    pub fn size(&self, id: &Oid) -> Option<u64> {
        let id = name(id)?;
        self.stores
            .iter()
            .find_map(|store| store.try_header(&id).ok().flatten())
            .map(|header| header.size)
    }

    /// Returns an object's kind without inflating it.
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
            // Checks the size before inflating, since there may be many oversized blobs and tags. The first
            // oversized commit or tree ends the verification, and reading the header of a long delta chain
            // costs half as much as the object: for them the allocation limit is enough.
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

/// Opens a folder of objects with bounded allocations and without caches.
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

/// Converts an object name to gix's type.
pub(super) fn name(id: &Oid) -> Option<gix::ObjectId> {
    gix::ObjectId::try_from(id.as_bytes()).ok()
}

/// Converts an object name from gix's type.
pub(super) fn oid(id: &gix::oid) -> Option<Oid> {
    Oid::from_bytes(id.as_bytes()).ok()
}
