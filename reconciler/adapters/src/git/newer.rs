//! Lists the commits between two commits, with their committers.

use std::collections::HashSet;

use plumb_trust::Oid;
use plumb_trust::object::{Commit, ObjectKind, Objects as _, limits};

use super::Repository;

/// The maximum number of commits to list; nobody reads a longer list.
const MOST: usize = 1000;

/// Maximum number of first-parent ancestors of the older commit that are marked as known. The list of a side
/// branch ends at a known commit.
const BELOW: usize = 20_000;

/// The maximum length of a committer's address, in characters.
const ADDRESS: usize = 100;

/// A commit that is in the newer history and not in the older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerCommit {
    /// The commit.
    pub commit: Oid,
    /// The committer's address, printable characters only. It is unverified: anybody can write any.
    pub committer: String,
}

struct NewerEntry {
    newer: NewerCommit,
    parents: Vec<Oid>,
}

impl Repository {
    /// Lists the commits in the history of `newer` that aren't in that of `older`: the commits of merged
    /// branches first, then those of the mainline, oldest first. Only first parents of `older` count as
    /// known: commits that were merged into it are listed too if a later side branch starts from them.
    ///
    /// Returns `None` if `older` isn't on the mainline of `newer`, if a commit can't be read, or if there are
    /// more than 1000.
    pub fn newer(&self, older: Oid, newer: Oid) -> Option<Vec<NewerCommit>> {
        let mut found = Vec::new();
        let mut sides = Vec::new();
        let mut seen = HashSet::new();
        let mut at = newer;
        while at != older {
            let NewerEntry { newer, parents } =
                self.read_newer(at).filter(|_| found.len() < MOST)?;
            seen.insert(at);
            found.push(newer);
            at = *parents.first()?;
            sides.extend_from_slice(&parents[1..]);
        }
        if !sides.is_empty() {
            let mut below = Some(older);
            for _ in 0..BELOW {
                let Some(id) = below else { break };
                seen.insert(id);
                below = self
                    .read_newer(id)
                    .and_then(|read| read.parents.first().copied());
            }
        }
        while let Some(side) = sides.pop() {
            if !seen.insert(side) {
                continue;
            }
            let NewerEntry { newer, parents } =
                self.read_newer(side).filter(|_| found.len() < MOST)?;
            found.push(newer);
            sides.extend(parents);
        }
        found.reverse();
        Some(found)
    }

    fn read_newer(&self, id: Oid) -> Option<NewerEntry> {
        let raw = self
            .objects()
            .read(&id, ObjectKind::Commit, limits::COMMIT)
            .ok()?;
        let commit = Commit::parse(&raw, id.format()).ok()?;
        let address = String::from_utf8_lossy(commit.committer.email);
        let shown = address.chars().filter(char::is_ascii_graphic);
        Some(NewerEntry {
            newer: NewerCommit {
                commit: id,
                committer: shown.take(ADDRESS).collect(),
            },
            parents: commit.parents,
        })
    }
}
