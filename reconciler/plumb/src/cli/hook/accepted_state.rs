//! The state that the server's hooks store between pushes, so that they verify each push from the newest
//! accepted commit and not from the introduction.
//!
//! The state is a file in the bare repository. No push can change it, and whoever can write there can replace
//! the hooks too. It is used only for the introduction and the branch for which it was written. Its commit
//! must be on the branch, or the branch must have been set back to before the commit without the hooks.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use plumb_adapters::git::ObjectStore;
use plumb_trust::Oid;

use crate::report::{Failure, OrFail as _};
use crate::verdict::history::first_parents;

/// The file's path in the repository's git folder.
const PATH: &str = "plumb/accepted";

/// Maximum size of the file in bytes. A larger file wasn't written by the hooks.
const LARGEST: u64 = 4 << 20;

/// The accepted commit of a branch, as of the last push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcceptedState {
    /// The root of trust from which the accepted commit was verified.
    pub(super) introduction: Oid,
    /// The full name of the branch.
    pub(super) reference: String,
    /// The newest accepted commit.
    pub(super) accepted: Oid,
    /// Commits that were accepted and are no longer on the branch.
    pub(super) tombstones: BTreeSet<Oid>,
}

impl AcceptedState {
    /// Reads the state of a branch. Returns `None` if the file is missing or malformed, or is for another
    /// introduction or branch. The push is then verified from the introduction.
    pub(super) fn read(git_dir: &Path, introduction: &Oid, reference: &str) -> Option<Self> {
        let path = git_dir.join(PATH);
        if std::fs::metadata(&path).ok()?.len() > LARGEST {
            return None;
        }
        Self::parse(&std::fs::read_to_string(path).ok()?)
            .filter(|state| state.introduction == *introduction && state.reference == reference)
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

    /// Writes the file. If two pushes write at once, the last one wins; the content of both is correct.
    pub(super) fn write(&self, git_dir: &Path) -> Result<(), Failure> {
        let path = git_dir.join(PATH);
        let failed = || format!("cannot write {}", path.display());
        let folder: PathBuf = path.parent().unwrap_or(git_dir).to_owned();
        std::fs::create_dir_all(&folder).or_fail(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder).or_fail(failed)?;
        file.write_all(self.text().as_bytes()).or_fail(failed)?;
        // On a server where several people push, the repository's folders belong to a group.
        let mode = std::fs::metadata(&folder).or_fail(failed)?.permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode) & 0o666;
        file.as_file()
            .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
            .or_fail(failed)?;
        file.persist(&path).or_fail(failed)?;
        Ok(())
    }
}

/// The position of a branch relative to an accepted commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BranchPosition {
    /// The branch contains the commit.
    Contains,
    /// The branch ends before the commit: somebody set it back without running the hooks.
    SetBack,
    /// The branch was moved to other commits. It no longer contains these accepted commits.
    Diverged(Vec<Oid>),
}

/// Compares a branch with an accepted commit. `tip` is `None` if the branch was deleted.
pub(super) fn branch_position(
    objects: &ObjectStore,
    accepted: Oid,
    tip: Option<Oid>,
) -> BranchPosition {
    let Some(tip) = tip else {
        return BranchPosition::SetBack;
    };
    let mut chain = HashSet::new();
    for id in first_parents(objects, tip) {
        if id == accepted {
            return BranchPosition::Contains;
        }
        chain.insert(id);
    }
    let mut off = Vec::new();
    for id in first_parents(objects, accepted) {
        if id == tip {
            return BranchPosition::SetBack;
        }
        if chain.contains(&id) {
            break;
        }
        off.push(id);
    }
    BranchPosition::Diverged(off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> AcceptedState {
        let id = |digit: &str| digit.repeat(40).parse().unwrap();
        AcceptedState {
            introduction: id("1"),
            reference: "refs/heads/main".to_owned(),
            accepted: id("2"),
            tombstones: [id("3"), id("4")].into(),
        }
    }

    #[test]
    fn reads_what_was_written_for_the_same_introduction_and_branch() {
        let folder = tempfile::tempdir().unwrap();
        let state = state();
        let read = |introduction: &Oid, reference: &str| {
            AcceptedState::read(folder.path(), introduction, reference)
        };
        assert_eq!(read(&state.introduction, "refs/heads/main"), None);
        state.write(folder.path()).unwrap();
        assert_eq!(
            read(&state.introduction, "refs/heads/main"),
            Some(state.clone())
        );
        assert_eq!(read(&state.accepted, "refs/heads/main"), None);
        assert_eq!(read(&state.introduction, "refs/heads/next"), None);
    }

    #[test]
    fn ignores_a_file_that_does_not_parse() {
        let text = state().text();
        for wrong in [
            String::new(),
            text.replace("accepted", "believed"),
            text.replace("2222", "22"),
            text.lines().take(2).collect::<Vec<_>>().join("\n"),
            format!("{text}\n\n"),
        ] {
            assert_eq!(AcceptedState::parse(&wrong), None, "{wrong}");
        }
    }
}
