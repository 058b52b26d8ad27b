//! A range of commits to judge, and the source of its floor.

use jiff::Timestamp;
use plumb_trust::{Oid, TagRef};

/// A range of commits to judge.
pub(crate) struct Range<'a> {
    /// The commit that is trusted as given.
    pub(crate) floor: Oid,
    /// The source of the floor. Commits after an accepted floor have just arrived. In any other range,
    /// commits that the server's branch has are history: emergencies and freezes that are over don't count
    /// against them. Without a known server branch, everything after an introduction is history, and
    /// everything after any other floor has just arrived.
    pub(crate) source: FloorSource,
    /// The candidate.
    pub(crate) head: Oid,
    /// The tags that count.
    pub(crate) tags: &'a [TagRef],
    /// The time of the verdict.
    pub(crate) now: Timestamp,
}

/// The source of a range's floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloorSource {
    /// An earlier verdict accepted it.
    Accepted,
    /// The user named it.
    Given,
    /// Git's `plumb.introduction` names it.
    Introduction,
    /// It is the upstream branch.
    Upstream,
}
