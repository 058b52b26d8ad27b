//! What was there before Plumb: observed at the first touch, contents kept by digest, given back
//! when nothing desires the resource any more.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use plumb_api::Observed;
use plumb_api::report::ErrorCode;
use plumb_api::resource::Content;
use rustix::fs::renameat;
use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::error::{At, Result, fail};
use crate::sys::{Dir, copy_hashed, create_new};

const FOLDER: &str = "originals";

/// What was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Original {
    /// All that the type can observe.
    pub observed: Observed,
    /// Folders that were made above it, from above: removed with it while they are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
}

/// The contents of originals, by digest.
pub(crate) struct Originals {
    dir: Dir,
}

impl Originals {
    pub(crate) fn open(home: &Home) -> Result<Self> {
        Ok(Self {
            dir: home.folder(FOLDER)?,
        })
    }

    /// Whether this content is kept.
    pub(crate) fn has(&self, content: &Content) -> Result<bool> {
        Ok(self.dir.look(&content.sha256.to_string())?.is_some())
    }

    /// Opens a kept content.
    pub(crate) fn open_content(&self, content: &Content) -> Result<Option<File>> {
        self.dir.open(&content.sha256.to_string())
    }

    /// Keeps a file's content durably; what it was.
    pub(crate) fn keep(&self, from: &mut dyn Read, path: &str) -> Result<Content> {
        let temporary = "original.new";
        self.dir.unlink(temporary)?;
        let mut file = create_new(&self.dir, temporary)?;
        let content = copy_hashed(from, &mut file).at("keep the original of", path)?;
        file.sync_all().at("keep the original of", path)?;
        let name = content.sha256.to_string();
        renameat(self.dir.fd(), temporary, self.dir.fd(), name.as_str())
            .at("keep the original of", path)?;
        self.dir.sync()?;
        Ok(content)
    }

    /// Removes every content that isn't named.
    pub(crate) fn retain(&self, named: &std::collections::BTreeSet<String>) -> Result<()> {
        for name in self.dir.list()? {
            if !named.contains(&name) {
                self.dir.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// A kept content from its beginning, or the error that it is missing.
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
