//! Raw objects: where they come from, and strict readings of their bytes.

mod checked;
mod commit;
mod error;
pub mod limits;
mod tag;
mod trailers;
mod tree;

use std::borrow::Cow;

pub(crate) use checked::{Checked, ReadError};
pub use commit::{Commit, Ident, Payload};
pub use error::Malformed;
pub use tag::Tag;
pub use trailers::{DuplicateTrailer, Trailer, Trailers};
pub(crate) use tree::join;
pub use tree::{Entries, Entry, EntryMode, Tree, TreeEntry, WalkError, content, entries};

use crate::oid::{ObjectFormat, Oid};

/// What sort of object it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A folder.
    Tree,
    /// A file's content.
    Blob,
    /// An annotated tag.
    Tag,
}

impl ObjectKind {
    /// Git's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

impl std::fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an object couldn't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The store doesn't have it.
    #[error("the object is missing")]
    Missing,
    /// It is longer than it may be.
    #[error("the object is larger than it may be")]
    TooLarge,
    /// It is of another kind.
    #[error("the object is of another kind")]
    WrongKind,
    /// The store has it and can't read it.
    #[error("the object can't be read: {0}")]
    Corrupt(String),
}

/// A store of raw objects. Replace refs, grafts and shallow boundaries must not show through it.
pub trait Objects {
    /// The raw bytes of an object, without git's header. A store refuses what is longer than `limit`
    /// before it inflates it.
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError>;
}

impl<T: Objects + ?Sized> Objects for &T {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        (**self).read(id, kind, limit)
    }
}

/// The bytes are made to collide with others of the same SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes carry a SHA-1 collision attack")]
pub struct Collision;

/// The name that these bytes have.
pub fn name_of(kind: ObjectKind, bytes: &[u8], format: ObjectFormat) -> Result<Oid, Collision> {
    use sha2::Digest as _;
    let header = format!("{kind} {}\0", bytes.len());
    let name = match format {
        ObjectFormat::Sha1 => {
            let mut hash = sha1collisiondetection::Sha1CD::default();
            hash.update(header.as_bytes());
            hash.update(bytes);
            Oid::from_bytes(hash.finalize_cd().map_err(|_| Collision)?.as_slice())
        }
        ObjectFormat::Sha256 => Oid::from_bytes(
            &sha2::Sha256::new()
                .chain_update(header)
                .chain_update(bytes)
                .finalize(),
        ),
    };
    name.map_err(|_| Collision)
}
