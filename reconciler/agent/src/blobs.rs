//! File contents received in a session. Small ones stay in memory. The others are in unlinked files in the
//! agent's folder, so that they vanish when the process ends for any reason.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use plumb_api::Digest;

use crate::book::Home;
use crate::error::{At, Result};
use crate::sys::create_new;

/// Maximum total size of the contents that are kept in memory, in bytes.
const MAX_MEMORY: usize = 2 << 20;

enum Blob {
    Memory(Arc<[u8]>),
    Disk(File),
}

/// Received file contents, by digest.
#[derive(Default)]
pub(crate) struct Blobs {
    blobs: BTreeMap<Digest, Blob>,
    in_memory: usize,
}

impl Blobs {
    /// Stores a content until the end of the next `apply` request.
    pub(crate) fn add(&mut self, home: &Home, digest: Digest, bytes: Vec<u8>) -> Result<()> {
        if self.blobs.contains_key(&digest) {
            return Ok(());
        }
        let blob = if self.in_memory + bytes.len() <= MAX_MEMORY {
            self.in_memory += bytes.len();
            Blob::Memory(bytes.into())
        } else {
            let name = format!("blob.{}", std::process::id());
            home.dir().unlink(&name)?;
            let mut file = create_new(home.dir(), &name)?;
            home.dir().unlink(&name)?;
            file.write_all(&bytes)
                .at("keep a content in", crate::book::PATH)?;
            Blob::Disk(file)
        };
        self.blobs.insert(digest, blob);
        Ok(())
    }

    /// Opens a content for reading from its beginning. Returns `None` if it wasn't received.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read>>> {
        Ok(match self.blobs.get(digest) {
            None => None,
            Some(Blob::Memory(bytes)) => Some(Box::new(Cursor::new(Arc::clone(bytes)))),
            Some(Blob::Disk(file)) => {
                let mut file = file
                    .try_clone()
                    .at("read a content in", crate::book::PATH)?;
                file.seek(SeekFrom::Start(0))
                    .at("read a content in", crate::book::PATH)?;
                Some(Box::new(file))
            }
        })
    }

    pub(crate) fn clear(&mut self) {
        self.blobs.clear();
        self.in_memory = 0;
    }
}
