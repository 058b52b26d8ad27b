//! The interface to a watched repository, in terms of verdicts and not of git.
//!
//! A source passes raw objects to [`verify`](crate::verify) and reads the files of accepted revisions. It
//! makes no trust decision itself.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use jiff::Timestamp;
pub use plumb_document::{SourceFile, TooLarge};

use crate::inputs::{Detail, Revocations, TagRef};
use crate::oid::Oid;
use crate::outcome::Outcome;
use crate::verified::{Revision, Verified};

/// The files of a revision by path from the root.
pub type Files = BTreeMap<String, SourceFile>;

/// The state of a repository after a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The newest commit of the watched branch. If the branch was reset to an older commit, it is that
    /// commit.
    pub head: Oid,
    /// The repository's tags under `approve/`, `alive/` and `revoke/`.
    pub tags: Vec<TagRef>,
}

/// A request to verify commits where the source keeps the objects. See [`Inputs`](crate::Inputs) for each
/// field.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// The root of trust.
    pub introduction: Oid,
    /// The last accepted commit.
    pub floor: Option<Oid>,
    /// The commit to verify up to.
    pub head: Oid,
    /// The repository's tags.
    pub tags: Vec<TagRef>,
    /// The current time, against which dates and expiries are checked.
    pub now: Timestamp,
    /// Times at which this machine first saw commits and tags.
    pub first_seen: BTreeMap<Oid, Timestamp>,
    /// Commits that were accepted once and then taken off the branch.
    pub tombstones: BTreeSet<Oid>,
    /// Keys that this machine's configuration revokes.
    pub revoked: Revocations,
    /// Keys that signed tags revoked in the past.
    pub revoked_before: Revocations,
    /// Commits that hosts have run.
    pub lower_bounds: Vec<Oid>,
    /// The amount of detail in the outcome about accepted commits.
    pub detail: Detail,
}

impl VerifyRequest {
    /// Makes a request from the required values, without tags, times of first sight, tombstones or
    /// revocations.
    pub fn new(introduction: Oid, head: Oid, now: Timestamp) -> Self {
        Self {
            introduction,
            floor: None,
            head,
            tags: Vec::new(),
            now,
            first_seen: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            revoked: Revocations::default(),
            revoked_before: Revocations::default(),
            lower_bounds: Vec::new(),
            detail: Detail::Brief,
        }
    }
}

/// A watched branch of a repository.
pub trait Source: Send + Sync {
    /// The error of the source.
    type Error;

    /// Returns the repository's address (without a password) and the branch, for messages.
    fn describe(&self) -> String;

    /// Fetches only the watched branch and the tags that concern trust. Fails if they exceed the source's
    /// limits.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Self::Error>>;

    /// Verifies a range of commits where the source keeps the objects.
    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Outcome, Self::Error>>;

    /// Reads the files of a revision that can belong to the fleet: manifests, and files that manifests refer
    /// to.
    fn files(&self, revision: Verified<Revision>) -> BoxFuture<'_, Result<Files, Self::Error>>;

    /// Returns `true` if `ancestor` is `descendant` or one of its ancestors by first parents.
    fn descends(&self, ancestor: Oid, descendant: Oid) -> BoxFuture<'_, Result<bool, Self::Error>>;
}
