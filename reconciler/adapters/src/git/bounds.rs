//! Checks the sizes of a revision's files without reading the files, for hooks.

use std::collections::HashMap;

use plumb_trust::Oid;
use plumb_trust::object::{EntryMode, ObjectKind, Objects, Tree, limits};
use plumb_trust::source::TooLarge;

use super::FetchLimits;
use super::files::{self, FOLDERS, FilesError, ROOT};
use super::objects::ObjectStore;

/// A bound that a revision exceeds, so that no controller could follow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundExceeded {
    /// The files that Plumb reads exceed a bound in total.
    #[error("{0}")]
    Files(#[from] FilesError),
    /// The root manifest is too large.
    #[error("{path} {0}", path = ROOT)]
    Root(TooLarge),
    /// A file is larger than any object that a controller fetches.
    #[error("{path} {large}, so no controller fetches it")]
    Object {
        /// The file's path.
        path: String,
        /// The file's size and the bound.
        large: TooLarge,
    },
}

/// Checks revisions of one repository. A folder that several revisions share is measured once.
pub struct RevisionBounds<'a> {
    objects: &'a ObjectStore,
    measured: HashMap<(Oid, Links), FolderSize>,
}

/// How symbolic links in a folder are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Links {
    Read,
    Skipped,
}

/// The number and the size of the files in a folder.
#[derive(Debug, Clone, Default)]
struct FolderSize {
    files: usize,
    /// Total size in bytes of the files that Plumb reads. It doesn't read a file that is too large.
    bytes: u64,
    /// Path within the folder, and size, of a file that is too large for a controller to fetch.
    unfetched: Option<(String, u64)>,
}

impl FolderSize {
    fn add(&mut self, name: &str, other: &Self) {
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        if self.unfetched.is_none()
            && let Some((path, size)) = &other.unfetched
        {
            self.unfetched = Some((join(name, path), *size));
        }
    }
}

fn join(folder: &str, path: &str) -> String {
    match path {
        "" => folder.to_owned(),
        path => format!("{folder}/{path}"),
    }
}

impl<'a> RevisionBounds<'a> {
    /// Creates a checker for the revisions in an object store.
    pub fn new(objects: &'a ObjectStore) -> Self {
        Self {
            objects,
            measured: HashMap::new(),
        }
    }

    /// Checks the root tree of a revision.
    ///
    /// # Errors
    /// Fails if a bound is exceeded, or a folder can't be read.
    pub fn check(&mut self, tree: &Oid) -> Result<(), BoundExceeded> {
        let raw = self.read(tree)?;
        let root = Tree::parse(&raw, tree.format()).map_err(|error| unreadable(&error))?;
        let mut all = FolderSize::default();
        let mut whole = FolderSize::default();
        for entry in root.entries() {
            let links = if entry.name == "files" {
                Links::Skipped
            } else {
                Links::Read
            };
            let size = self.entry(entry.mode, &entry.id, links, 0)?;
            let is_read = match entry.mode {
                EntryMode::Folder => FOLDERS.contains(&entry.name),
                _ => entry.name == ROOT,
            };
            whole.add(entry.name, &size);
            if is_read {
                all.add(entry.name, &size);
            }
            if entry.name == ROOT
                && let Some(size) = self
                    .objects
                    .size(&entry.id)
                    .filter(|size| *size > files::FILE)
            {
                let limit = files::FILE;
                return Err(BoundExceeded::Root(TooLarge { size, limit }));
            }
        }
        if let Some((path, size)) = whole.unfetched {
            let limit = FetchLimits::default().object;
            let large = TooLarge { size, limit };
            return Err(BoundExceeded::Object { path, large });
        }
        if all.files > files::COUNT {
            return Err(FilesError::Count.into());
        }
        if all.bytes > files::TOTAL {
            return Err(FilesError::Total.into());
        }
        Ok(())
    }

    fn read(&self, tree: &Oid) -> Result<Vec<u8>, FilesError> {
        let raw = self.objects.read(tree, ObjectKind::Tree, limits::TREE);
        raw.map(std::borrow::Cow::into_owned)
            .map_err(|error| unreadable(&error))
    }

    fn entry(
        &mut self,
        mode: EntryMode,
        id: &Oid,
        links: Links,
        depth: usize,
    ) -> Result<FolderSize, FilesError> {
        match (mode, links) {
            (EntryMode::Folder, _) => self.folder(id, links, depth + 1),
            (EntryMode::Gitlink, _) | (EntryMode::Link, Links::Skipped) => {
                Ok(FolderSize::default())
            }
            (EntryMode::File | EntryMode::Executable | EntryMode::Link, _) => {
                let size = self.objects.size(id).unwrap_or_default();
                Ok(FolderSize {
                    files: 1,
                    bytes: if size > files::FILE { 0 } else { size },
                    unfetched: (size > FetchLimits::default().object)
                        .then(|| (String::new(), size)),
                })
            }
        }
    }

    fn folder(&mut self, tree: &Oid, links: Links, depth: usize) -> Result<FolderSize, FilesError> {
        if depth > limits::DEPTH {
            return Err(unreadable(&"folders are nested too deeply"));
        }
        if let Some(known) = self.measured.get(&(*tree, links)) {
            return Ok(known.clone());
        }
        let raw = self.read(tree)?;
        let parsed = Tree::parse(&raw, tree.format()).map_err(|error| unreadable(&error))?;
        let mut size = FolderSize::default();
        for entry in parsed.entries() {
            let inner = self.entry(entry.mode, &entry.id, links, depth)?;
            size.add(entry.name, &inner);
        }
        self.measured.insert((*tree, links), size.clone());
        Ok(size)
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> FilesError {
    FilesError::Tree(error.to_string())
}
