//! Originals: the state of each resource before Plumb's first change of it. The agent stores the contents of
//! files by digest, and restores the original when nothing desires the resource any more.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use plumb_api::Observed;
use plumb_api::report::ErrorCode;
use plumb_api::resource::Content;
use rustix::fs::renameat;
use serde::{Deserialize, Serialize};

use super::home::{Home, PATH};
use crate::error::{At, Result, fail};
use crate::sys::{Attributes, Dir, copy_hashed, create_new};

const FOLDER: &str = "originals";

/// Minimum free space on the ledger's file system that storing an original must leave, in bytes, so that the
/// agent can always write the journal and the ledger.
pub(crate) const RESERVE: u64 = 256 << 10;

/// The state of a resource before Plumb's first change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Original {
    /// The observed state, with every field that the resource type can observe.
    pub observed: Observed,
    /// Folders that Plumb created above the resource, topmost first. When the resource is removed, Plumb
    /// removes those that are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
    /// Attributes of the file, directory or link. `None` if nothing was at the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

/// The folder with the contents of originals. Each file is named by its digest.
pub(crate) struct Originals {
    dir: Dir,
}

impl Originals {
    pub(crate) fn open(home: &Home) -> Result<Self> {
        Self::open_in(home, FOLDER)
    }

    /// Opens the folder with the contents of the dead-man timer's pre-images.
    pub(crate) fn open_pre_images(home: &Home) -> Result<Self> {
        Self::open_in(home, "preimages")
    }

    fn open_in(home: &Home, folder: &str) -> Result<Self> {
        Ok(Self {
            dir: home.folder(folder)?,
        })
    }

    /// True if this content is stored.
    pub(crate) fn has(&self, content: &Content) -> Result<bool> {
        Ok(self.dir.look(&content.sha256.to_string())?.is_some())
    }

    /// Opens a stored content. Returns `None` if it isn't stored.
    pub(crate) fn open_content(&self, content: &Content) -> Result<Option<File>> {
        self.dir.open(&content.sha256.to_string())
    }

    /// Durably stores the content of a file, and returns its digest and size. Fails without leaving anything
    /// behind if less than [`RESERVE`] bytes would stay free.
    pub(crate) fn keep(&self, from: &mut dyn Read, size: u64, path: &str) -> Result<Content> {
        let room = self.dir.room()?;
        if room.f_bavail.saturating_mul(room.f_frsize) < size + RESERVE {
            return fail(
                ErrorCode::NoSpace,
                format!(
                    "the original of {path} ({size} bytes) doesn't fit on the file system of {PATH}"
                ),
            );
        }
        let temporary = "original.new";
        self.dir.unlink(temporary)?;
        let kept = self.write(from, temporary, path);
        if kept.is_err() {
            self.dir.unlink(temporary)?;
        }
        kept
    }

    fn write(&self, from: &mut dyn Read, temporary: &str, path: &str) -> Result<Content> {
        let mut file = create_new(&self.dir, temporary)?;
        let content = copy_hashed(from, &mut file).at("keep the original of", path)?;
        file.sync_all().at("keep the original of", path)?;
        let name = content.sha256.to_string();
        renameat(self.dir.fd(), temporary, self.dir.fd(), name.as_str())
            .at("keep the original of", path)?;
        self.dir.sync()?;
        Ok(content)
    }

    /// Deletes each stored content whose digest isn't in `named`.
    pub(crate) fn retain(&self, named: &std::collections::BTreeSet<String>) -> Result<()> {
        for name in self.dir.list()? {
            if !named.contains(&name) {
                self.dir.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// Opens a stored content for reading from its beginning. Fails with [`ErrorCode::MissingContent`] if it
    /// isn't stored.
    pub(crate) fn must(&self, content: &Content, path: &str) -> Result<File> {
        let Some(mut file) = self.open_content(content)? else {
            return fail(
                ErrorCode::MissingContent,
                format!(
                    "what was at {path} before Plumb ({} bytes) isn't in the originals any more",
                    content.size
                ),
            );
        };
        file.seek(SeekFrom::Start(0))
            .at("read the original of", path)?;
        Ok(file)
    }
}
