//! Finds the commit that last changed a line or a file, as `git blame` does without looking for renames.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use plumb_adapters::git::files::FILE;
use plumb_adapters::git::{ObjectStore, Repository};
use plumb_core::explain::{Changed, CommitHeader, LastChange};
use plumb_document::SourceMap;
use plumb_trust::object::{Commit, Tree, limits};
use plumb_trust::{EntryMode, ObjectKind, Objects as _, Oid};
use similar::{DiffOp, TextDiff};

use crate::repository::repository_of;

/// The maximum number of commits that are searched for one change.
const MOST: usize = 20_000;

/// The maximum time for the comparison of two versions of a file. After it, the comparison is coarser.
const COMPARING: Duration = Duration::from_millis(500);

/// The history of a working folder.
pub(crate) struct History {
    repository: Repository,
    head: Oid,
    /// The folder's path within the repository.
    prefix: PathBuf,
    /// For a commit and a path, the oldest commit that the file goes back to unchanged.
    unchanged: HashMap<(Oid, String), Version>,
}

/// A file as of a commit that changed it.
#[derive(Debug, Clone)]
struct Version {
    blob: Oid,
    parents: Vec<Oid>,
    header: CommitHeader,
}

/// A line's number, from 0.
type Line = usize;

impl History {
    /// Opens the history of a folder; `None` if the folder has no commits.
    pub(crate) fn of_folder(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let root = folder.ancestors().find(|at| at.join(".git").exists())?;
        let repository = repository_of(root).ok()?;
        Some(Self {
            head: repository.resolve("HEAD").ok()?,
            prefix: folder.strip_prefix(root).ok()?.to_owned(),
            repository,
            unchanged: HashMap::new(),
        })
    }

    /// Returns the last change of a line or a file whose current text is in `sources`. Returns `None` if it
    /// is older than the commits that are searched.
    pub(crate) fn last_change(
        &mut self,
        changed: Changed<'_>,
        sources: &SourceMap,
    ) -> Option<LastChange> {
        let (file, line) = match changed {
            Changed::Line(span) => (&**span.file(), Some(span.line().saturating_sub(1) as Line)),
            Changed::File(path) => (path, None),
        };
        let path = self.prefix.join(file).to_str()?.to_owned();
        let now = sources.text(file)?;
        let Some(blob) = entry(self.objects(), &self.head, &path) else {
            return Some(LastChange::NotCommitted);
        };
        let then = self.text(&blob)?;
        let mut line = match (line, then == now) {
            (line, true) => line,
            (Some(line), false) => match earlier(now, &then, line) {
                Some(line) => Some(line),
                None => return Some(LastChange::NotCommitted),
            },
            (None, false) => return Some(LastChange::NotCommitted),
        };
        let mut at = self.head;
        for _ in 0..MOST {
            let version = self.version(at, &path)?;
            let Some(number) = line else {
                return Some(LastChange::Commit(version.header));
            };
            let text = self.text(&version.blob)?;
            let before = version.parents.iter().find_map(|parent| {
                let then = self.text(&entry(self.objects(), parent, &path)?)?;
                Some((*parent, earlier(&text, &then, number)?))
            });
            let Some((parent, number)) = before else {
                return Some(LastChange::Commit(version.header));
            };
            at = parent;
            line = Some(number);
        }
        None
    }

    fn objects(&self) -> &ObjectStore {
        self.repository.objects()
    }

    fn text(&self, blob: &Oid) -> Option<String> {
        let raw = self.objects().read(blob, ObjectKind::Blob, FILE).ok()?;
        String::from_utf8(raw.into_owned()).ok()
    }

    /// Follows a file back to the commit that gave it the content that it has at `from`.
    fn version(&mut self, from: Oid, path: &str) -> Option<Version> {
        let key = (from, path.to_owned());
        if let Some(version) = self.unchanged.get(&key) {
            return Some(version.clone());
        }
        let blob = entry(self.objects(), &from, path)?;
        let mut at = from;
        for _ in 0..MOST {
            let version = version(self.objects(), at, blob)?;
            let same = |parent: &&Oid| entry(self.objects(), parent, path) == Some(blob);
            let Some(parent) = version.parents.iter().find(same) else {
                self.unchanged.insert(key, version.clone());
                return Some(version);
            };
            at = *parent;
        }
        None
    }
}

fn version(objects: &ObjectStore, commit: Oid, blob: Oid) -> Option<Version> {
    let raw = objects
        .read(&commit, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    let parsed = Commit::parse(&raw, commit.format()).ok()?;
    let header = CommitHeader {
        id: commit.to_string(),
        subject: parsed.subject(),
        author: parsed.author_name(),
        date: Timestamp::from_second(parsed.author.seconds).ok()?,
    };
    Some(Version {
        blob,
        parents: parsed.parents,
        header,
    })
}

/// Returns the blob at a path of a commit; `None` if there is no file.
fn entry(objects: &ObjectStore, commit: &Oid, path: &str) -> Option<Oid> {
    let raw = objects
        .read(commit, ObjectKind::Commit, limits::COMMIT)
        .ok()?;
    let mut at = Commit::parse(&raw, commit.format()).ok()?.tree;
    let mut rest = path;
    loop {
        let (name, below) = match rest.split_once('/') {
            Some((name, below)) => (name, Some(below)),
            None => (rest, None),
        };
        let raw = objects.read(&at, ObjectKind::Tree, limits::TREE).ok()?;
        let tree = Tree::parse(&raw, at.format()).ok()?;
        let entry = tree.entries().iter().find(|entry| entry.name == name)?;
        match (entry.mode, below) {
            (EntryMode::Folder, Some(below)) => (at, rest) = (entry.id, below),
            (EntryMode::File | EntryMode::Executable, None) => return Some(entry.id),
            _ => return None,
        }
    }
}

/// Returns the number of a line in an earlier version of its file; `None` if that has no such line.
fn earlier(now: &str, then: &str, line: Line) -> Option<Line> {
    let diff = TextDiff::configure()
        .timeout(COMPARING)
        .diff_lines(then, now);
    diff.ops().iter().find_map(|op| match *op {
        DiffOp::Equal {
            old_index,
            new_index,
            len,
        } if (new_index..new_index + len).contains(&line) => Some(old_index + line - new_index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::earlier;

    #[test]
    fn follows_a_line_past_lines_that_were_added_and_removed() {
        let (then, now) = ("a\nb\nc\n", "new\na\nc\n");
        assert_eq!(earlier(now, then, 0), None);
        assert_eq!(earlier(now, then, 1), Some(0));
        assert_eq!(earlier(now, then, 2), Some(2));
    }
}
