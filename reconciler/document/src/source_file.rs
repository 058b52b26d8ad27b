//! The files of a revision, each with its bytes or the reason why they weren't read.

use std::sync::Arc;

/// A file of a revision: its bytes, or the reason why they weren't read.
///
/// A file that wasn't read affects only the objects that refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFile {
    /// The file's bytes.
    Bytes(Arc<[u8]>),
    /// The file exceeds the maximum size of a file.
    TooLarge(TooLarge),
}

/// The size of a file that wasn't read, and the limit that it exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// The size of the file in bytes.
    pub size: u64,
    /// The maximum size of one file in bytes.
    pub limit: u64,
}

impl SourceFile {
    /// Returns the bytes, if they were read.
    pub fn bytes(&self) -> Option<&Arc<[u8]>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::TooLarge(_) => None,
        }
    }

    /// Returns the size and the limit if the file is too large.
    pub fn too_large(&self) -> Option<TooLarge> {
        match self {
            Self::Bytes(_) => None,
            Self::TooLarge(large) => Some(*large),
        }
    }
}

impl From<Arc<[u8]>> for SourceFile {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for SourceFile {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "has {} bytes; the limit is {}", self.size, self.limit)
    }
}
