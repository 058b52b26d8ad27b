//! Reads the files that manifests may come from, of a revision or of a working folder.

use std::fs;
use std::io::Read;
use std::path::Path;

use plumb_trust::object::{EntryMode, ObjectKind, Objects, Tree, content, entries, limits};
use plumb_trust::source::{Files, SourceFile, TooLarge};
use plumb_trust::{Oid, object};

use super::objects::ObjectStore;

/// The root manifest. Only it and the files in `FOLDERS` are read.
pub(super) const ROOT: &str = "fleet.yaml";
pub(super) const FOLDERS: [&str; 7] = [
    "files", "hosts", "images", "networks", "profiles", "secrets", "trust",
];

/// The maximum size of one file, in bytes. A larger one isn't read, and only what refers to it is affected.
pub const FILE: u64 = 16 << 20;
/// The maximum size of all files that are read together, in bytes.
pub const TOTAL: u64 = 512 << 20;
/// The maximum number of files.
pub const COUNT: usize = 100_000;

/// An error in reading files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// A git object is corrupt, missing or too large.
    #[error("{0}")]
    Tree(String),
    /// The files that are read are larger than [`TOTAL`] in total.
    #[error("the files have more than {TOTAL} bytes together")]
    Total,
    /// There are more than [`COUNT`] files.
    #[error("there are more than {COUNT} files")]
    Count,
    /// A file name isn't UTF-8.
    #[error("{path:?} isn't UTF-8; rename it")]
    Name {
        /// The path, with the invalid bytes replaced.
        path: String,
    },
    /// A file or folder can't be read from disk.
    #[error("{path} can't be read: {reason}")]
    Io {
        /// The path.
        path: String,
        /// The I/O error.
        reason: String,
    },
}

/// Reads the files of a tree object.
///
/// A symbolic link is read as a file that holds its target's path, as git checks it out where the file
/// system has no links. So a manifest that is a link fails to parse instead of looking deleted. Links under
/// `files/` are skipped: through them, a change to one path could reach another that other rules protect.
pub fn tree(objects: &ObjectStore, root: &Oid) -> Result<Files, FilesError> {
    let wrong = |error: &dyn std::fmt::Display| FilesError::Tree(error.to_string());
    let raw = objects
        .read(root, ObjectKind::Tree, limits::TREE)
        .map_err(|error| wrong(&error))?;
    match object::name_of(ObjectKind::Tree, &raw, root.format()) {
        Ok(name) if name == *root => {}
        _ => {
            return Err(FilesError::Tree(format!(
                "the object store has other bytes for tree {root}"
            )));
        }
    }
    let parsed = Tree::parse(&raw, root.format()).map_err(|error| wrong(&error))?;
    let mut gathered = GatheredFiles::default();
    for entry in parsed.entries() {
        match entry.mode {
            EntryMode::Folder if FOLDERS.contains(&entry.name) => {
                for found in entries(objects, &entry.id) {
                    let found = found
                        .map_err(|error| FilesError::Tree(format!("{}/{error}", entry.name)))?;
                    let path = format!("{}/{}", entry.name, found.path);
                    if taken(&path, found.mode) {
                        let file = blob(objects, &found)
                            .map_err(|error| FilesError::Tree(format!("{}/{error}", entry.name)))?;
                        gathered.add(path, file)?;
                    }
                }
            }
            EntryMode::File | EntryMode::Executable | EntryMode::Link if entry.name == ROOT => {
                let found = object::Entry {
                    path: ROOT.to_owned(),
                    mode: entry.mode,
                    id: entry.id,
                };
                let file = blob(objects, &found).map_err(|error| wrong(&error))?;
                gathered.add(ROOT.to_owned(), file)?;
            }
            _ => {}
        }
    }
    Ok(gathered.files)
}

/// Reads a file, unless it is larger than [`FILE`].
fn blob(objects: &ObjectStore, entry: &object::Entry) -> Result<SourceFile, object::WalkError> {
    match objects.size(&entry.id) {
        Some(size) if size > FILE => Ok(SourceFile::TooLarge(TooLarge { size, limit: FILE })),
        _ => Ok(content(objects, entry, FILE)?.as_ref().into()),
    }
}

pub(super) fn taken(path: &str, mode: EntryMode) -> bool {
    match mode {
        EntryMode::File | EntryMode::Executable => true,
        EntryMode::Link => !path.starts_with("files/"),
        EntryMode::Folder | EntryMode::Gitlink => false,
    }
}

/// Reads the same paths from a working folder, for `check`, `render` and `diff`: the bytes that git would store
/// for them. It follows no links.
pub fn work_tree(folder: &Path) -> Result<Files, FilesError> {
    let mut gathered = GatheredFiles::default();
    let root = folder.join(ROOT);
    if let Ok(about) = fs::symlink_metadata(&root) {
        gathered.add_from(ROOT.to_owned(), &root, &about)?;
    }
    for name in FOLDERS {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir()) {
            gathered.walk(name, &path, 0)?;
        }
    }
    super::staged::convert(folder, &mut gathered.files);
    Ok(gathered.files)
}

#[derive(Default)]
struct GatheredFiles {
    files: Files,
    total: u64,
}

impl GatheredFiles {
    fn add(&mut self, path: String, file: SourceFile) -> Result<(), FilesError> {
        if self.files.len() == COUNT {
            return Err(FilesError::Count);
        }
        self.total += file.bytes().map_or(0, |bytes| bytes.len() as u64);
        if self.total > TOTAL {
            return Err(FilesError::Total);
        }
        self.files.insert(path, file);
        Ok(())
    }

    fn walk(&mut self, shown: &str, folder: &Path, depth: usize) -> Result<(), FilesError> {
        let failed = |error: &std::io::Error| FilesError::Io {
            path: shown.to_owned(),
            reason: error.to_string(),
        };
        if depth > limits::DEPTH {
            return Err(FilesError::Io {
                path: shown.to_owned(),
                reason: "folders are nested too deeply".to_owned(),
            });
        }
        for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(FilesError::Name {
                    path: format!("{shown}/{}", entry.file_name().display()),
                });
            };
            let path = format!("{shown}/{name}");
            let about = entry.metadata().map_err(|error| failed(&error))?;
            if about.is_dir() {
                // Skips nested repositories, as git does.
                if !entry.path().join(".git").exists() {
                    self.walk(&path, &entry.path(), depth + 1)?;
                }
            } else {
                self.add_from(path, &entry.path(), &about)?;
            }
        }
        Ok(())
    }

    fn add_from(
        &mut self,
        path: String,
        at: &Path,
        about: &fs::Metadata,
    ) -> Result<(), FilesError> {
        let failed = |error: &std::io::Error| FilesError::Io {
            path: path.clone(),
            reason: error.to_string(),
        };
        if about.is_symlink() {
            if taken(&path, EntryMode::Link) {
                let target = fs::read_link(at).map_err(|error| failed(&error))?;
                self.add(path, target.as_os_str().as_encoded_bytes().into())?;
            }
            return Ok(());
        }
        if !about.is_file() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        fs::File::open(at)
            .and_then(|file| file.take(FILE + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(&error))?;
        let read = bytes.len() as u64;
        if read > FILE {
            let size = about.len().max(read);
            return self.add(path, SourceFile::TooLarge(TooLarge { size, limit: FILE }));
        }
        self.add(path, bytes.as_slice().into())
    }
}
