//! What the server's hooks remember from one push to the next, so that each push is judged from the
//! newest accepted commit and not from the introduction.
//!
//! It is a file in the bare repository, where no push reaches; whoever can write there can replace the
//! hooks too. It counts only for the introduction and the branch that it was written for, and only
//! while the commit that it names lies on the branch, or the branch was set back below it past the hooks.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use plumb_adapters::git::ObjectStore;
use plumb_trust::Oid;

use crate::judgement::floor::first_parents;
use crate::report::{Failure, OrFail as _};

/// Where it lies, from the repository's git folder.
const PATH: &str = "plumb/accepted";

/// A longer file isn't ours.
const LARGEST: u64 = 4 << 20;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    /// The root of trust that it follows from.
    pub(super) introduction: Oid,
    /// The branch.
    pub(super) reference: String,
    /// The newest accepted commit.
    pub(super) accepted: Oid,
    /// Commits that were accepted and are no longer on the branch.
    pub(super) tombstones: BTreeSet<Oid>,
}

impl Memory {
    /// What is remembered of a branch. Whatever doesn't fit is nothing: it is only found out anew.
    pub(super) fn read(git_dir: &Path, introduction: &Oid, reference: &str) -> Option<Self> {
        let path = git_dir.join(PATH);
        if std::fs::metadata(&path).ok()?.len() > LARGEST {
            return None;
        }
        Self::parse(&std::fs::read_to_string(path).ok()?)
            .filter(|memory| memory.introduction == *introduction && memory.reference == reference)
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut introduction, mut reference, mut accepted) = (None, None, None);
        let mut tombstones = BTreeSet::new();
        for line in text.lines() {
            match line.split_once(' ')? {
                ("introduction", id) => introduction = Some(id.parse().ok()?),
                ("ref", name) => reference = Some(name.to_owned()),
                ("accepted", id) => accepted = Some(id.parse().ok()?),
                ("tombstone", id) => {
                    tombstones.insert(id.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(Self {
            introduction: introduction?,
            reference: reference?,
            accepted: accepted?,
            tombstones,
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "introduction {}\nref {}\naccepted {}\n",
            self.introduction, self.reference, self.accepted
        );
        for id in &self.tombstones {
            let _ = writeln!(text, "tombstone {id}");
        }
        text
    }

    /// Writes it down. Of two pushes at once one wins, and both are true.
    pub(super) fn write(&self, git_dir: &Path) -> Result<(), Failure> {
        let path = git_dir.join(PATH);
        let failed = || format!("{} can't be written", path.display());
        let folder: PathBuf = path.parent().unwrap_or(git_dir).to_owned();
        std::fs::create_dir_all(&folder).or_fail(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder).or_fail(failed)?;
        file.write_all(self.text().as_bytes()).or_fail(failed)?;
        // Servers on which several people push give the repository's folders to a group.
        let mode = std::fs::metadata(&folder).or_fail(failed)?.permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode) & 0o666;
        file.as_file()
            .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
            .or_fail(failed)?;
        file.persist(&path).or_fail(failed)?;
        Ok(())
    }
}

/// How a branch stands to an accepted commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The commit is on it.
    On,
    /// It ends below the commit: it was set back, past the hooks.
    SetBack,
    /// It went another way: these accepted commits aren't on it.
    Elsewhere(Vec<Oid>),
}

/// How the branch with this tip stands to an accepted commit; none is a branch that was deleted.
pub(super) fn standing(objects: &ObjectStore, accepted: Oid, tip: Option<Oid>) -> Standing {
    let Some(tip) = tip else {
        return Standing::SetBack;
    };
    let mut chain = HashSet::new();
    for id in first_parents(objects, tip) {
        if id == accepted {
            return Standing::On;
        }
        chain.insert(id);
    }
    let mut off = Vec::new();
    for id in first_parents(objects, accepted) {
        if id == tip {
            return Standing::SetBack;
        }
        if chain.contains(&id) {
            break;
        }
        off.push(id);
    }
    Standing::Elsewhere(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let id = |digit: &str| digit.repeat(40).parse().unwrap();
        Memory {
            introduction: id("1"),
            reference: "refs/heads/main".to_owned(),
            accepted: id("2"),
            tombstones: [id("3"), id("4")].into(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_only_for_what_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let memory = memory();
        let read = |introduction: &Oid, reference: &str| {
            Memory::read(folder.path(), introduction, reference)
        };
        assert_eq!(read(&memory.introduction, "refs/heads/main"), None);
        memory.write(folder.path()).unwrap();
        assert_eq!(
            read(&memory.introduction, "refs/heads/main"),
            Some(memory.clone())
        );
        assert_eq!(read(&memory.accepted, "refs/heads/main"), None);
        assert_eq!(read(&memory.introduction, "refs/heads/next"), None);
    }

    #[test]
    fn what_isnt_ours_is_nothing() {
        let text = memory().text();
        for wrong in [
            String::new(),
            text.replace("accepted", "believed"),
            text.replace("2222", "22"),
            text.lines().take(2).collect::<Vec<_>>().join("\n"),
            format!("{text}\n\n"),
        ] {
            assert_eq!(Memory::parse(&wrong), None, "{wrong}");
        }
    }
}
