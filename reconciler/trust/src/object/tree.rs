//! A strict parser of trees: it refuses names that some file system or program treats as another name.

use std::borrow::Cow;
use std::sync::Arc;

use super::checked::{Checked, ReadError};
use super::{Malformed, ObjectKind, Objects, limits};
use crate::oid::{ObjectFormat, Oid};
use crate::work::count;

/// The mode of an entry. The parser refuses other modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryMode {
    /// A file.
    File,
    /// A file that can be executed.
    Executable,
    /// A symbolic link.
    Link,
    /// A folder.
    Folder,
    /// A submodule: a commit of another repository.
    Gitlink,
}

impl EntryMode {
    fn parse(mode: &[u8]) -> Option<Self> {
        match mode {
            b"100644" => Some(Self::File),
            b"100755" => Some(Self::Executable),
            b"120000" => Some(Self::Link),
            b"40000" => Some(Self::Folder),
            b"160000" => Some(Self::Gitlink),
            _ => None,
        }
    }
}

/// One entry of a tree object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The entry's mode.
    pub mode: EntryMode,
    /// The entry's name within the folder.
    pub name: &'a str,
    /// Name of the object that the entry refers to.
    pub id: Oid,
}

impl TreeEntry<'_> {
    /// Compares in git's order: folders compare as if their names ended in a slash.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (self.name.as_bytes(), other.name.as_bytes());
        let common = a.len().min(b.len());
        let end = |entry: &Self, bytes: &[u8]| match bytes.get(common) {
            Some(byte) => *byte,
            None if entry.mode == EntryMode::Folder => b'/',
            None => 0,
        };
        a[..common]
            .cmp(&b[..common])
            .then_with(|| end(self, a).cmp(&end(other, b)))
    }
}

/// The entries of a tree object, in git's order.
#[derive(Debug, Clone, Default)]
pub struct Tree<'a> {
    entries: Vec<TreeEntry<'a>>,
}

impl<'a> Tree<'a> {
    /// Parses a raw tree.
    pub fn parse(raw: &'a [u8], format: ObjectFormat) -> Result<Self, Malformed> {
        let mut entries: Vec<TreeEntry<'a>> = Vec::with_capacity(raw.len() / 32);
        let mut rest = raw;
        while !rest.is_empty() {
            if entries.len() == limits::ENTRIES {
                return Err(Malformed::TooMany("entries in one folder", limits::ENTRIES));
            }
            let space = rest
                .iter()
                .take(7)
                .position(|b| *b == b' ')
                .ok_or(Malformed::Tree)?;
            let mode = EntryMode::parse(&rest[..space]);
            rest = &rest[space + 1..];
            let end = rest.iter().position(|b| *b == 0).ok_or(Malformed::Tree)?;
            let (name, id) = (
                &rest[..end],
                rest.get(end + 1..end + 1 + format.width())
                    .ok_or(Malformed::Tree)?,
            );
            rest = &rest[end + 1 + format.width()..];
            let refused = |why| Malformed::Entry {
                name: super::quoted(name),
                why,
            };
            let mode = mode.ok_or_else(|| refused("its mode is none that is taken"))?;
            let name = acceptable(name).map_err(refused)?;
            let id = Oid::from_bytes(id).map_err(|_| Malformed::Tree)?;
            let entry = TreeEntry { mode, name, id };
            if let Some(last) = entries.last()
                && (last.order(&entry).is_ge() || last.name == name)
            {
                return Err(refused("it is out of order or there twice"));
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Returns the entries.
    pub fn entries(&self) -> &[TreeEntry<'a>] {
        &self.entries
    }

    /// Returns the entry with this name.
    pub fn get(&self, name: &str) -> Option<&TreeEntry<'a>> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Returns the first pair of names that are the same to a file system that folds case or normalizes
    /// Unicode, or `None` if there is no such pair. If every entry is also in `before`, returns `None`
    /// without a check, because the names were checked when they were added.
    ///
    /// Adds the size of the folded names that aren't ASCII to `folded`, and fails if it exceeds
    /// [`limits::FOLDED`].
    pub(crate) fn collision(
        &self,
        before: &Tree<'_>,
        folded: &mut u64,
    ) -> Result<Option<(&'a str, &'a str)>, Malformed> {
        // Both trees are in git's order, in which a folder and a file of one name are different entries.
        let mut old = before.entries.iter().peekable();
        let is_new = |entry: &TreeEntry<'_>| {
            while old.next_if(|other| other.order(entry).is_lt()).is_some() {}
            old.next_if(|other| other.order(entry).is_eq()).is_none()
        };
        if !self.entries.iter().any(is_new) {
            return Ok(None);
        }
        let mut seen = std::collections::HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            let name = fold(entry.name);
            if !entry.name.is_ascii() {
                *folded += count(name.len());
            }
            if *folded > limits::FOLDED {
                let most = usize::try_from(limits::FOLDED).unwrap_or(usize::MAX);
                return Err(Malformed::TooMany(
                    "bytes of names after case folding",
                    most,
                ));
            }
            if let Some(other) = seen.insert(name, entry.name) {
                return Ok(Some((other, entry.name)));
            }
        }
        Ok(None)
    }
}

fn fold(name: &str) -> Cow<'_, str> {
    use unicode_normalization::UnicodeNormalization as _;
    if name.is_ascii() {
        return if name.bytes().any(|b| b.is_ascii_uppercase()) {
            name.to_ascii_lowercase().into()
        } else {
            name.into()
        };
    }
    name.nfkc()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfkc()
        .collect::<String>()
        .into()
}

/// Returns the name as text, or why some file system or program could treat it as another name.
fn acceptable(name: &[u8]) -> Result<&str, &'static str> {
    if name.is_empty() || name.len() > limits::NAME {
        return Err("it is empty or too long");
    }
    let text = std::str::from_utf8(name).map_err(|_| "it isn't UTF-8")?;
    if text.contains('/') {
        return Err("it holds a slash");
    }
    if !text.is_ascii() && text.chars().any(invisible)
        || text.bytes().any(|b| b < b' ' || b == 0x7f)
    {
        return Err("it holds a control character or one that can't be seen");
    }
    if matches!(text, "." | "..") {
        return Err("it leads out of its folder");
    }
    // Names that some file system takes for `.git`: in other case, with trailing dots or spaces, as an NTFS
    // stream or short name.
    if matches!(name[0], b'.' | b'g' | b'G')
        && text.split(['\\', ':']).take(1).any(|part| {
            let part = part.trim_end_matches([' ', '.']);
            part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1")
        })
    {
        return Err("some file systems take it for .git");
    }
    Ok(text)
}

/// True if `c` is a control character, is shown as nothing, or changes the direction of text.
pub fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A file, symbolic link or submodule in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root of the tree.
    pub path: String,
    /// The mode; never a folder.
    pub mode: EntryMode,
    /// Name of the object that holds the content.
    pub id: Oid,
}

/// An error of reading a revision's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct WalkError {
    /// The folder or file.
    pub path: String,
    /// The problem.
    pub what: String,
}

impl WalkError {
    fn new(path: &str, what: &impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}

/// Iterates over the files of a tree in order of path. Verifies each tree object's name, and checks the
/// limits.
pub fn entries<'a>(objects: &'a dyn Objects, tree: &Oid) -> Entries<'a> {
    Entries {
        objects: Checked(objects),
        root: Some(*tree),
        pending: Vec::new(),
        folders: 0,
    }
}

/// Reads a file's content, at most `limit` bytes, and verifies its object name.
pub fn content<'a>(
    objects: &'a dyn Objects,
    entry: &Entry,
    limit: u64,
) -> Result<Cow<'a, [u8]>, WalkError> {
    let read = Checked(objects).read(&entry.id, ObjectKind::Blob, limit);
    read.map_err(|e: ReadError| WalkError::new(&entry.path, &e))
}

/// An entry that wasn't listed yet. The entries of one folder share the folder's path, which may be long.
struct Pending {
    folder: Arc<str>,
    name: Box<str>,
    mode: EntryMode,
    id: Oid,
    depth: usize,
}

/// An iterator over a tree's files; see [`entries`]. It ends after an error.
pub struct Entries<'a> {
    objects: Checked<'a>,
    /// The root tree, until it is opened.
    root: Option<Oid>,
    pending: Vec<Pending>,
    folders: usize,
}

impl Entries<'_> {
    fn open(&mut self, path: &str, id: &Oid, depth: usize) -> Result<(), WalkError> {
        if depth > limits::DEPTH {
            return Err(WalkError::new(
                path,
                &"more folders within folders than there may be",
            ));
        }
        self.folders += 1;
        if self.folders > limits::FOLDERS {
            return Err(WalkError::new(path, &"more folders than there may be"));
        }
        let raw = self
            .objects
            .read(id, ObjectKind::Tree, limits::TREE)
            .map_err(|e| WalkError::new(path, &e))?;
        let tree = Tree::parse(&raw, id.format()).map_err(|e| WalkError::new(path, &e))?;
        let folder: Arc<str> = path.into();
        let pending = tree.entries().iter().rev().map(|entry| Pending {
            folder: folder.clone(),
            name: entry.name.into(),
            mode: entry.mode,
            id: entry.id,
            depth: depth + 1,
        });
        self.pending.extend(pending);
        Ok(())
    }

    fn take(&mut self, pending: &Pending) -> Result<Option<Entry>, WalkError> {
        let path = join(&pending.folder, &pending.name);
        if path.len() > limits::PATH {
            return Err(WalkError::new(&path, &"the path is too long"));
        }
        if pending.mode == EntryMode::Folder {
            self.open(&path, &pending.id, pending.depth)?;
            return Ok(None);
        }
        Ok(Some(Entry {
            path,
            mode: pending.mode,
            id: pending.id,
        }))
    }
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        return name.to_owned();
    }
    let mut path = String::with_capacity(folder.len() + 1 + name.len());
    path.push_str(folder);
    path.push('/');
    path.push_str(name);
    path
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take()
            && let Err(error) = self.open("", &root, 0)
        {
            return Some(Err(error));
        }
        loop {
            let pending = self.pending.pop()?;
            match self.take(&pending) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(error) => {
                    self.pending.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
