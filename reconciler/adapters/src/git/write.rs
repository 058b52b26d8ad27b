//! Writes raw objects and refs, for `plumb init`, `plumb demo` and tests.
//!
//! It builds objects byte by byte, so that a signer signs exactly the bytes that git gives a verifier.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::objs::Write as _;
use plumb_trust::object::ObjectKind;
use plumb_trust::{ObjectFormat, Oid};

use super::layout;
use super::objects;
use super::sign::{SignError, Signer};

/// A bare repository to write to.
pub struct Writer {
    folder: PathBuf,
    format: ObjectFormat,
    store: gix::odb::loose::Store,
}

/// An object or ref that couldn't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An I/O error.
    #[error("can't write {path}: {reason}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// The folder isn't a bare repository.
    #[error("there is no bare repository at {0}")]
    NoRepository(PathBuf),
    /// The signer failed.
    #[error("signing failed: {0}")]
    Sign(#[from] SignError),
    /// A path or ref name that git doesn't accept.
    #[error("{0:?} isn't a valid name in a repository")]
    Name(String),
}

/// The mode of a tree entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A regular file.
    #[default]
    File,
    /// An executable file.
    Executable,
    /// A symbolic link; its content is the target.
    Link,
}

impl Mode {
    const fn octal(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// An author, committer or tagger, with the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The email address.
    pub email: String,
    /// The time, in seconds since 1970-01-01 UTC.
    pub time: i64,
}

impl Person {
    fn line(&self) -> String {
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "");
        format!(
            "{} <{}> {} +0000",
            clean(&self.name),
            clean(&self.email),
            self.time
        )
    }
}

/// A commit to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// Root tree of the commit.
    pub tree: Oid,
    /// Parents of the commit, in order.
    pub parents: Vec<Oid>,
    /// Author and committer of the commit.
    pub author: Person,
    /// Message of the commit.
    pub message: String,
}

/// An annotated tag of a commit, to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTag {
    /// Name of the tag, without `refs/tags/`.
    pub name: String,
    /// The commit that the tag names.
    pub target: Oid,
    /// Tagger of the tag.
    pub tagger: Person,
    /// Message of the tag.
    pub message: String,
}

impl Writer {
    /// Creates an empty bare repository whose `HEAD` names this branch (full ref name).
    pub fn create(folder: &Path, format: ObjectFormat, head: &str) -> Result<Self, WriteError> {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        layout::create(folder, format, head).map_err(|error| failed(folder, &error))?;
        Ok(Self::at(folder, format))
    }

    /// Opens an existing bare repository.
    pub fn open(folder: &Path) -> Result<Self, WriteError> {
        if !folder.join("HEAD").is_file() {
            return Err(WriteError::NoRepository(folder.to_owned()));
        }
        let format = layout::format(folder).map_err(|error| WriteError::Io {
            path: folder.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self::at(folder, format))
    }

    fn at(folder: &Path, format: ObjectFormat) -> Self {
        let store = gix::odb::loose::Store::at(folder.join("objects"), objects::kind(format));
        Self {
            folder: folder.to_owned(),
            format,
            store,
        }
    }

    /// The repository's folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes raw bytes as an object, without checking them.
    pub fn raw(&self, kind: ObjectKind, bytes: &[u8]) -> Result<Oid, WriteError> {
        let kind = match kind {
            ObjectKind::Commit => gix::objs::Kind::Commit,
            ObjectKind::Tree => gix::objs::Kind::Tree,
            ObjectKind::Blob => gix::objs::Kind::Blob,
            ObjectKind::Tag => gix::objs::Kind::Tag,
        };
        let reason = |reason: String| WriteError::Io {
            path: self.folder.join("objects"),
            reason,
        };
        let id = self
            .store
            .write_buf(kind, bytes)
            .map_err(|error| reason(super::error::innermost(&error)))?;
        objects::oid(&id).ok_or_else(|| reason("the object has no name".to_owned()))
    }

    /// Writes files and the trees of their folders; returns the name of the root tree.
    pub fn tree<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, Mode, &'a [u8])>,
    ) -> Result<Oid, WriteError> {
        let mut root = Folder::default();
        for (path, mode, bytes) in files {
            let blob = self.raw(ObjectKind::Blob, bytes)?;
            root.insert(path, path, mode, blob)?;
        }
        self.folder(&root)
    }

    fn folder(&self, folder: &Folder) -> Result<Oid, WriteError> {
        let mut entries = Vec::with_capacity(folder.entries.len());
        for (name, entry) in &folder.entries {
            entries.push(match entry {
                // Git sorts folders as if their names ended with a slash.
                Item::Folder(inner) => (format!("{name}/"), "40000", name, self.folder(inner)?),
                Item::File(mode, blob) => (name.clone(), mode.octal(), name, *blob),
            });
        }
        entries.sort();
        let mut raw = Vec::new();
        for (_, mode, name, id) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name.as_bytes());
            raw.push(0);
            raw.extend_from_slice(id.as_bytes());
        }
        self.raw(ObjectKind::Tree, &raw)
    }

    /// Writes a commit, signed if there is a signer.
    pub fn commit(
        &self,
        commit: &NewCommit,
        signer: Option<&dyn Signer>,
    ) -> Result<Oid, WriteError> {
        let mut head = format!("tree {}\n", commit.tree);
        for parent in &commit.parents {
            let _ = writeln!(head, "parent {parent}");
        }
        let person = commit.author.line();
        let _ = write!(head, "author {person}\ncommitter {person}\n");
        let body = format!("\n{}\n", commit.message.trim_end());
        let Some(signer) = signer else {
            return self.raw(ObjectKind::Commit, format!("{head}{body}").as_bytes());
        };
        let signature = signer.sign(format!("{head}{body}").as_bytes())?;
        let header = match self.format {
            ObjectFormat::Sha1 => "gpgsig",
            ObjectFormat::Sha256 => "gpgsig-sha256",
        };
        // Continuation lines of a header's value begin with a space.
        let folded = signature.trim_end().replace('\n', "\n ");
        self.raw(
            ObjectKind::Commit,
            format!("{head}{header} {folded}\n{body}").as_bytes(),
        )
    }

    /// Writes an annotated tag, signed if there is a signer, and its ref.
    pub fn tag(&self, tag: &NewTag, signer: Option<&dyn Signer>) -> Result<Oid, WriteError> {
        let mut text = format!(
            "object {}\ntype commit\ntag {}\ntagger {}\n\n{}\n",
            tag.target,
            tag.name,
            tag.tagger.line(),
            tag.message.trim_end(),
        );
        if let Some(signer) = signer {
            let signature = signer.sign(text.as_bytes())?;
            text.push_str(&signature);
        }
        let id = self.raw(ObjectKind::Tag, text.as_bytes())?;
        self.set_ref(&format!("refs/tags/{}", tag.name), &id)?;
        Ok(id)
    }

    /// Points a ref (full name) to an object, whatever it named before.
    pub fn set_ref(&self, name: &str, id: &Oid) -> Result<(), WriteError> {
        let path = self.ref_path(name)?;
        let failed = |error: io::Error| failed(&path, &error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let lock = path.with_added_extension("lock");
        fs::write(&lock, format!("{id}\n")).map_err(failed)?;
        fs::rename(&lock, &path).map_err(failed)
    }

    /// Reads a loose ref; returns `None` if it doesn't exist.
    pub fn get_ref(&self, name: &str) -> Result<Option<Oid>, WriteError> {
        let path = self.ref_path(name)?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    fn ref_path(&self, name: &str) -> Result<PathBuf, WriteError> {
        if !name.starts_with("refs/") || gix::validate::reference::name(name.into()).is_err() {
            return Err(WriteError::Name(name.to_owned()));
        }
        Ok(self.folder.join(name))
    }
}

fn failed(path: &Path, error: &io::Error) -> WriteError {
    WriteError::Io {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[derive(Default)]
struct Folder {
    entries: BTreeMap<String, Item>,
}

enum Item {
    Folder(Folder),
    File(Mode, Oid),
}

impl Folder {
    fn insert(&mut self, whole: &str, path: &str, mode: Mode, blob: Oid) -> Result<(), WriteError> {
        let wrong = || WriteError::Name(whole.to_owned());
        let (name, rest) = match path.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        if matches!(name, "" | "." | "..")
            || name.contains('\0')
            || name.eq_ignore_ascii_case(".git")
        {
            return Err(wrong());
        }
        match rest {
            None => match self.entries.insert(name.to_owned(), Item::File(mode, blob)) {
                Some(Item::Folder(_)) => Err(wrong()),
                _ => Ok(()),
            },
            Some(rest) => {
                let inner = self
                    .entries
                    .entry(name.to_owned())
                    .or_insert_with(|| Item::Folder(Self::default()));
                match inner {
                    Item::Folder(inner) => inner.insert(whole, rest, mode, blob),
                    Item::File(..) => Err(wrong()),
                }
            }
        }
    }
}
