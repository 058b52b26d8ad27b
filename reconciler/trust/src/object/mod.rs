//! Raw objects: the store that they come from, and strict parsers of their bytes.

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
pub use tree::{
    Entries, Entry, EntryMode, Tree, TreeEntry, WalkError, content, entries, invisible,
};

use crate::oid::{ObjectFormat, Oid};

/// Escapes every [`invisible`] character of a stranger's text as `\u{…}`, so that the text can't control a
/// terminal or look like another text.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(invisible) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Truncates a stranger's text to [`limits::QUOTE`] bytes, for a message that quotes it.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= limits::QUOTE {
        return text.into();
    }
    let mut end = limits::QUOTE;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}

/// Returns the first [`limits::QUOTE`] bytes of a stranger's input, escaped, for a message that quotes them.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let part = bytes.get(..limits::QUOTE).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(part).escape_debug().to_string();
    if part.len() < bytes.len() {
        text.push('…');
    }
    text
}

/// The kind of an object.
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
    /// Returns git's word for the kind.
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

/// An error of a store of objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The store doesn't have the object.
    #[error("the object is missing")]
    Missing,
    /// The object is longer than the limit.
    #[error("the object is larger than it may be")]
    TooLarge,
    /// The object is of another kind.
    #[error("the object is of another kind")]
    WrongKind,
    /// The store has the object and can't read it.
    #[error("the object can't be read: {0}")]
    Corrupt(String),
}

/// A store of raw objects. An implementation must not apply replace refs, grafts or shallow boundaries.
pub trait Objects {
    /// Reads the raw bytes of an object, without git's header. The store must refuse an object longer than
    /// `limit` before it inflates it.
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError>;
}

impl<T: Objects + ?Sized> Objects for &T {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        (**self).read(id, kind, limit)
    }
}

/// The bytes carry a SHA-1 collision attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes carry a SHA-1 collision attack")]
pub struct Collision;

/// Computes the name of an object from its bytes.
pub fn name_of(kind: ObjectKind, bytes: &[u8], format: ObjectFormat) -> Result<Oid, Collision> {
    use sha2::Digest as _;
    let header = format!("{kind} {}\0", bytes.len());
    match format {
        ObjectFormat::Sha1 => sha1(&[header.as_bytes(), bytes]),
        ObjectFormat::Sha256 => {
            let hash = sha2::Sha256::new().chain_update(header).chain_update(bytes);
            Oid::from_bytes(&hash.finalize()).map_err(|_| Collision)
        }
    }
}

/// Computes SHA-1, and fails if the input carries a collision attack.
fn sha1(parts: &[&[u8]]) -> Result<Oid, Collision> {
    let mut hash = sha1collisiondetection::Sha1CD::default();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize_cd().map_err(|_| Collision)?;
    Oid::from_bytes(digest.as_slice()).map_err(|_| Collision)
}

#[cfg(test)]
mod tests {
    use super::{Collision, ObjectFormat, ObjectKind, name_of, sha1};

    /// The beginning of the first of the two colliding files of 2017 (shattered.io): the prefix and
    /// the two blocks that collide. A collision of two git objects would need blocks made for git's
    /// header, and be seen in the same way.
    const SHATTERED: &[u8] = include_bytes!("shattered.bin");

    #[test]
    fn names_are_git_s() {
        let empty = name_of(ObjectKind::Tree, b"", ObjectFormat::Sha1).unwrap();
        assert!(empty.is_empty_tree());
        assert_eq!(
            empty.to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
        let empty = name_of(ObjectKind::Tree, b"", ObjectFormat::Sha256).unwrap();
        assert!(empty.is_empty_tree());
        assert_eq!(
            empty.to_string(),
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        );
    }

    #[test]
    fn collision_attacks_are_seen() {
        assert_eq!(sha1(&[SHATTERED]), Err(Collision));
        assert_eq!(
            sha1(&[&SHATTERED[..200], &SHATTERED[200..]]),
            Err(Collision)
        );
        assert!(sha1(&[&SHATTERED[..192]]).is_ok());
    }
}
