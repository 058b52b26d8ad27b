//! A range of commits to verify, and the source of its floor.

use jiff::Timestamp;
use plumb_trust::{Oid, TagRef};

/// A range of commits to verify.
pub(crate) struct Range<'a> {
    /// The commit after which verification begins. It is trusted without being verified.
    pub(crate) floor: Oid,
    /// The source of the floor. It decides which commits are new and which are history. Emergencies and
    /// freezes that are over don't count against history.
    ///
    /// - [`FloorSource::Accepted`]: all commits are new.
    /// - Any other source: commits that the server's branch has are history, the others are new.
    /// - If the server's branch isn't known: all commits are history after [`FloorSource::Introduction`], and
    ///   new after any other floor.
    pub(crate) source: FloorSource,
    /// The newest commit to verify.
    pub(crate) head: Oid,
    /// The repository's tags, such as approvals and revocations.
    pub(crate) tags: &'a [TagRef],
    /// The time as of which new commits are verified.
    pub(crate) now: Timestamp,
}

/// The source of a range's floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloorSource {
    /// An earlier verdict accepted the floor.
    Accepted,
    /// The user named the floor.
    Given,
    /// Git's `plumb.introduction` names the floor.
    Introduction,
    /// The floor is the tip of the upstream branch.
    Upstream,
}
