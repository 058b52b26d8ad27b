//! Writes raw objects and refs: what `plumb init` and `plumb demo` make, and tests.
//!
//! Objects are put together byte by byte, so that a signer sees exactly what git will show a verifier.

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

/// A bare repository that is written to.
pub struct Writer {
    folder: PathBuf,
    format: ObjectFormat,
    store: gix::odb::loose::Store,
}

/// It couldn't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk, or the rights to it.
    #[error("{path} can't be written: {reason}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It isn't a repository.
    #[error("there is no bare repository at {0}")]
    NoRepository(PathBuf),
    /// The signer failed.
    #[error("it can't be signed: {0}")]
    Sign(#[from] SignError),
    /// A path or a name that git can't hold.
    #[error("{0:?} can't be a name in a repository")]
    Name(String),
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A file.
    #[default]
    File,
    /// A file that can be executed.
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

/// Who, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// Seconds since 1970.
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

/// A commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// Its files.
    pub tree: Oid,
    /// Its parents, in order.
    pub parents: Vec<Oid>,
    /// Who made it.
    pub author: Person,
    /// Its message.
    pub message: String,
}

/// A tag of a commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTag {
    /// Its name, without `refs/tags/`.
    pub name: String,
    /// The commit.
    pub target: Oid,
    /// Who made it.
    pub tagger: Person,
    /// Its message.
    pub message: String,
}

impl Writer {
    /// Makes an empty bare repository whose `HEAD` is this branch (its full name).
    pub fn create(folder: &Path, format: ObjectFormat, head: &str) -> Result<Self, WriteError> {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        layout::create(folder, format, head).map_err(|error| failed(folder, &error))?;
        Ok(Self::at(folder, format))
    }

    /// Opens a bare repository.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes raw bytes as an object, whatever they are.
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

    /// Writes these files and their folders; the tree's name.
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
                // Git sorts folders as if their names ended in a slash.
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
        // Each line of a header's value but the first begins with a space.
        let folded = signature.trim_end().replace('\n', "\n ");
        self.raw(
            ObjectKind::Commit,
            format!("{head}{header} {folded}\n{body}").as_bytes(),
        )
    }

    /// Writes an annotated tag, signed if there is a signer, and the ref that names it.
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

    /// Makes a branch or tag (by its full name) name this, whatever it named before.
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

    /// What a branch or tag names, if it was written here.
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
