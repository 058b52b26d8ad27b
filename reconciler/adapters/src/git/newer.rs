//! Which commits stand on top of one, and whose they say they are.

use std::collections::HashSet;

use plumb_trust::Oid;
use plumb_trust::object::{Commit, ObjectKind, Objects as _, limits};

use super::Repository;

/// How many commits are looked at; a person who is told of more reads none of them.
const MOST: usize = 1000;

/// How far below the older commit merged branches are followed to where they left it.
const BELOW: usize = 20_000;

/// How many characters of an address are taken.
const ADDRESS: usize = 100;

/// A commit on top of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// The commit.
    pub commit: Oid,
    /// Its committer's address, as far as it can be shown. Anybody can write any.
    pub committer: String,
}

struct Read {
    newer: Newer,
    parents: Vec<Oid>,
}

impl Repository {
    /// The commits that the newer of two has and the older hasn't, merged branches included, the oldest
    /// first. None where the older isn't a first parent on the way, where one can't be read, or where
    /// they are too many.
    pub fn newer(&self, older: Oid, newer: Oid) -> Option<Vec<Newer>> {
        let mut found = Vec::new();
        let mut sides = Vec::new();
        let mut seen = HashSet::new();
        let mut at = newer;
        while at != older {
            let Read { newer, parents } = self.read_newer(at).filter(|_| found.len() < MOST)?;
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
            let Read { newer, parents } = self.read_newer(side).filter(|_| found.len() < MOST)?;
            found.push(newer);
            sides.extend(parents);
        }
        found.reverse();
        Some(found)
    }

    fn read_newer(&self, id: Oid) -> Option<Read> {
        let raw = self
            .objects()
            .read(&id, ObjectKind::Commit, limits::COMMIT)
            .ok()?;
        let commit = Commit::parse(&raw, id.format()).ok()?;
        let address = String::from_utf8_lossy(commit.committer.email);
        let shown = address.chars().filter(char::is_ascii_graphic);
        Some(Read {
            newer: Newer {
                commit: id,
                committer: shown.take(ADDRESS).collect(),
            },
            parents: commit.parents,
        })
    }
}
