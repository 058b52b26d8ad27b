//! The record of a folder's files, in the agent's folder.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::Digest;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::Content;
use serde::{Deserialize, Serialize};

use crate::book::{Durable, Home, Sealed, seal, unseal, write_whole};
use crate::error::Result;
use crate::sys::FileStat;

/// Subfolder of the agent's folder with the records.
const FOLDER: &str = "trees";

/// Name of the format.
const FORMAT: &str = "tree";

/// What Plumb put into a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TreeRecord {
    /// Path of the folder.
    pub path: String,
    /// The digest of the archive, or the commit.
    pub source: String,
    /// The number of leading folders that were left out.
    pub strip: u8,
    /// Owner of all files.
    pub uid: u32,
    /// Group of all files.
    pub gid: u32,
    /// The origin of the folder itself.
    pub root: Origin,
    /// The files, by their path relative to the folder.
    pub members: BTreeMap<String, Member>,
    /// The exchange of folders, until it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Swap>,
}

/// The maker of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Origin {
    /// Plumb made it, and removes it when it is empty.
    Plumb,
    /// It was there before.
    Before,
}

/// A file, a link or a folder that Plumb put there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    pub node: Node,
    /// The permission bits; 0 for a link.
    pub mode: u32,
    /// The status of the file when its content was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

/// The content of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Node {
    Directory,
    Link(String),
    File(Content),
}

/// The part of a file's status that changes with its content. While it is the same, the content doesn't have
/// to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    pub(super) fn of(found: &FileStat) -> Self {
        Self {
            inode: found.inode,
            modified: found.modified,
            changed: found.changed,
        }
    }
}

/// An exchange of folders that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Swap {
    /// Inode of the old folder. It is in the stage after the exchange.
    pub old: u64,
    /// Paths in the old folder that belong to others and move into the new one.
    pub carried: Vec<String>,
    /// Paths that an earlier source put there.
    pub leaving: BTreeSet<String>,
}

impl TreeRecord {
    /// True if Plumb put this path there.
    pub(super) fn has(&self, path: &str) -> bool {
        let leaving = |swap: &Swap| swap.leaving.contains(path);
        self.members.contains_key(path) || self.swap.as_ref().is_some_and(leaving)
    }

    /// Returns all paths that Plumb put there.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        let leaving = self.swap.iter().flat_map(|swap| &swap.leaving);
        self.members.keys().chain(leaving).cloned().collect()
    }

    /// Reads the record of a folder. Returns `None` if there is none, or if it is damaged.
    pub(super) fn load(home: &Home, path: &str) -> Result<Option<Self>> {
        let Some(bytes) = home.read(&format!("{FOLDER}/{}", name(path)))? else {
            return Ok(None);
        };
        let Sealed::Sound(payload) = unseal(FORMAT, &bytes)? else {
            return Ok(None);
        };
        let record: Option<Self> = serde_json::from_slice(payload).ok();
        Ok(record.filter(|record| record.path == path))
    }

    /// Writes the record durably.
    pub(super) fn write(&self, home: &Home) -> Result<()> {
        let payload = serde_json::to_vec(self)
            .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
        let dir = home.folder(FOLDER)?;
        write_whole(
            &dir,
            &name(&self.path),
            &seal(FORMAT, &payload),
            Durable::Yes,
        )
    }

    /// Removes the record.
    pub(super) fn remove(&self, home: &Home) -> Result<()> {
        let dir = home.folder(FOLDER)?;
        dir.unlink(&name(&self.path))?;
        dir.sync()
    }
}

/// Returns the file name of a folder's record.
fn name(path: &str) -> String {
    Digest::of_bytes(path.as_bytes()).to_string()
}
