//! The bare copy of a repository in the state folder.
//!
//! It contains objects and a record of the last complete fetch, in `packed-refs` so that git's own tools can
//! read it. A rewound branch removes nothing: old commits stay readable, because one of them may still be
//! the target of hosts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plumb_trust::source::Fetched;
use plumb_trust::{ObjectFormat, Oid};

use super::layout::{self, LayoutError};
use super::objects::{self, Open};

/// The mirror can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MirrorError {
    /// An I/O error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The folder holds something that isn't a mirror.
    #[error("{0}")]
    Strange(String),
}

impl From<LayoutError> for MirrorError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::Io(error) => Self::Io(error),
            LayoutError::UnknownFormat(_) => Self::Strange(error.to_string()),
        }
    }
}

/// A folder that is a mirror, or becomes one at the first fetch.
pub(super) struct Mirror {
    path: PathBuf,
    format: OnceLock<ObjectFormat>,
}

impl Mirror {
    /// Opens the mirror in a folder and cleans it, if it exists.
    pub(super) fn at(path: PathBuf) -> Result<Self, MirrorError> {
        let mirror = Self {
            path,
            format: OnceLock::new(),
        };
        if mirror.path.join("HEAD").is_file() {
            let format = layout::format(&mirror.path)?;
            mirror.format.get_or_init(|| format);
            mirror.clean()?;
        }
        Ok(mirror)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The object format; `None` before the first fetch.
    pub(super) fn format(&self) -> Option<ObjectFormat> {
        self.format.get().copied()
    }

    /// The object folder.
    pub(super) fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Opens the mirror for a fetch, and creates it if it is missing.
    pub(super) fn open_for(&self, format: ObjectFormat) -> Result<MirrorStore, MirrorError> {
        if self.format().is_none() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.path)?;
            layout::create(&self.path, format, "refs/heads/main")?;
            self.format.get_or_init(|| format);
        }
        self.clean()?;
        let handle = objects::handle(&self.objects(), format, Open::Shortly)?;
        Ok(MirrorStore {
            path: self.path.clone(),
            handle,
        })
    }

    /// Removes alternates, grafts and `shallow`, which would show other objects or a shortened history, and
    /// the leftovers of interrupted fetches.
    fn clean(&self) -> Result<(), MirrorError> {
        for file in ["objects/info/alternates", "info/grafts", "shallow"] {
            remove(&self.path.join(file))?;
        }
        match fs::read_dir(self.objects().join("pack")) {
            Ok(files) => {
                for file in files {
                    let file = file?;
                    if file
                        .file_name()
                        .as_encoded_bytes()
                        .starts_with(INCOMING.as_bytes())
                    {
                        remove(&file.path())?;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Counts the packs.
    pub(super) fn packs(&self) -> usize {
        let Ok(files) = fs::read_dir(self.objects().join("pack")) else {
            return 0;
        };
        files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|kind| kind == "pack"))
            .count()
    }

    /// Removes the record of the last fetch, so that the next fetch gets everything again. The objects stay.
    pub(super) fn forget(&self) -> Result<(), MirrorError> {
        remove(&self.path.join("packed-refs"))
    }
}

fn remove(path: &Path) -> Result<(), MirrorError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

const INCOMING: &str = "incoming-";

/// The mirror during a fetch.
pub(super) struct MirrorStore {
    path: PathBuf,
    handle: gix::odb::Handle,
}

/// The refs of the last complete fetch.
#[derive(Debug, Default)]
pub(super) struct RecordedRefs {
    /// The objects that branches and tags named.
    pub(super) targets: BTreeSet<Oid>,
    /// The objects that branches named.
    pub(super) branches: Vec<Oid>,
}

impl MirrorStore {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn handle(&self) -> &gix::odb::Handle {
        &self.handle
    }

    pub(super) fn packs(&self) -> PathBuf {
        self.path.join("objects/pack")
    }

    /// Reads the refs of the last complete fetch. A line that can't be parsed counts as not fetched.
    pub(super) fn recorded(&self) -> Result<RecordedRefs, MirrorError> {
        let text = match fs::read_to_string(self.path.join("packed-refs")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(RecordedRefs::default());
            }
            Err(error) => return Err(error.into()),
        };
        let mut recorded = RecordedRefs::default();
        for line in text.lines() {
            if let Some((id, name)) = line.split_once(' ')
                && let Ok(id) = id.parse()
            {
                recorded.targets.insert(id);
                if name.starts_with("refs/heads/") {
                    recorded.branches.push(id);
                }
            }
        }
        Ok(recorded)
    }

    /// Records the refs of a complete fetch.
    pub(super) fn record(&self, branch: &str, fetched: &Fetched) -> Result<(), MirrorError> {
        let mut lines: Vec<_> = fetched
            .tags
            .iter()
            .map(|tag| (tag.name.as_str(), tag.target))
            .chain([(branch, fetched.head)])
            .collect();
        lines.sort_unstable();
        let mut text = String::from("# pack-refs with: sorted \n");
        for (name, id) in lines {
            let _ = writeln!(text, "{id} {name}");
        }
        let path = self.path.join("packed-refs");
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(());
        }
        let new = self.path.join("packed-refs.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)?;
        Ok(())
    }

    /// Creates the file for a pack to receive.
    pub(super) fn incoming(&self) -> Result<IncomingPack, MirrorError> {
        let path = self
            .packs()
            .join(format!("{INCOMING}{}", std::process::id()));
        remove(&path)?;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(IncomingPack { path, file })
    }
}

/// The file of a pack that is being received; it is removed on drop.
pub(super) struct IncomingPack {
    path: PathBuf,
    file: File,
}

impl IncomingPack {
    pub(super) fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for IncomingPack {
    fn drop(&mut self) {
        // If removing fails, the next fetch removes the file.
        let _ = fs::remove_file(&self.path);
    }
}
