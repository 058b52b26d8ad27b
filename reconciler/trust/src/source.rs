//! The port to a repository: what the loop needs of one, in terms of verdicts and not of git.
//!
//! A source gives raw objects to [`verify`](crate::verify) and files of what came out accepted; it never
//! judges by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::inputs::{Detail, Revocations, TagRef};
use crate::oid::{ObjectFormat, Oid};
use crate::outcome::Outcome;
use crate::verified::{Revision, Verified};

/// The files of a revision: their contents by path from the root.
pub type Files = BTreeMap<String, Arc<[u8]>>;

/// What a repository has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The watched branch's newest commit, whatever it is: a rewound branch is told as it is.
    pub head: Oid,
    /// Its tags under `approve/`, `alive/` and `revoke/`, by name.
    pub tags: Vec<TagRef>,
}

/// A verification to be done beside the objects. See [`Inputs`](crate::Inputs) for each field.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// The root of trust.
    pub introduction: Oid,
    /// The last accepted commit.
    pub floor: Option<Oid>,
    /// The candidate.
    pub head: Oid,
    /// The repository's tags.
    pub tags: Vec<TagRef>,
    /// The time.
    pub now: Timestamp,
    /// When commits and tags were first seen here.
    pub first_seen: BTreeMap<Oid, Timestamp>,
    /// Commits that were accepted once and then taken off the branch.
    pub tombstones: BTreeSet<Oid>,
    /// What this machine takes authority away from.
    pub revoked: Revocations,
    /// What signed tags took away before.
    pub revoked_before: Revocations,
    /// Commits that hosts have run.
    pub lower_bounds: Vec<Oid>,
    /// How much is told of accepted commits.
    pub detail: Detail,
}

impl VerifyRequest {
    /// The least that must be said; nothing was seen, revoked or buried before.
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
    /// Which: the address (without a password) and the branch, for people.
    fn describe(&self) -> String;

    /// Gets the watched branch and the tags that concern trust, and nothing else, within bounds.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>>;

    /// Verifies, beside the objects.
    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Outcome, SourceError>>;

    /// The files of a revision that manifests may come from.
    fn files(&self, revision: Verified<Revision>) -> BoxFuture<'_, Result<Files, SourceError>>;

    /// Whether one commit is another, or one of its ancestors by first parents.
    fn descends(&self, ancestor: Oid, descendant: Oid) -> BoxFuture<'_, Result<bool, SourceError>>;
}

/// When it is worth trying a source again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceRetry {
    /// It may pass by itself.
    Transient,
    /// It won't pass until somebody changes something; the next poll looks all the same.
    Stalled,
}

/// Why a repository couldn't be used. Its kind decides retry, condition and alert together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The server doesn't answer.
    #[error("{source_url} can't be reached: {reason}")]
    Unreachable {
        /// The address.
        source_url: String,
        /// What was seen.
        reason: String,
    },
    /// It answered and then fell silent, or took too long.
    #[error("{source_url} gave no answer within {} s", after.as_secs())]
    Timeout {
        /// The address.
        source_url: String,
        /// How long was waited.
        after: Duration,
    },
    /// It doesn't let us in.
    #[error("{source_url} doesn't let us in: {reason}")]
    Denied {
        /// The address.
        source_url: String,
        /// What it said.
        reason: String,
    },
    /// It shows a host key that isn't known.
    #[error("{source_url} shows a host key that ssh doesn't know: {reason}")]
    HostKey {
        /// The address.
        source_url: String,
        /// What ssh said.
        reason: String,
    },
    /// There is no repository.
    #[error("there is no repository at {source_url}: {reason}")]
    NoRepository {
        /// The address.
        source_url: String,
        /// What it said.
        reason: String,
    },
    /// The repository has no commit at all.
    #[error("the repository at {source_url} is empty")]
    Empty {
        /// The address.
        source_url: String,
    },
    /// The watched branch isn't there.
    #[error("{source_url} has no branch {}; it has {}", branch.strip_prefix("refs/heads/").unwrap_or(branch), branches.join(", "))]
    NoBranch {
        /// The address.
        source_url: String,
        /// The full name of the branch.
        branch: String,
        /// Short names of branches that are there, a few of them.
        branches: Vec<String>,
    },
    /// It sends more than may be sent.
    #[error("what {source_url} sends is refused: {reason}")]
    Excessive {
        /// The address.
        source_url: String,
        /// Which bound it passes.
        reason: String,
    },
    /// What it sends can't be read.
    #[error("what {source_url} sends can't be read: {reason}")]
    Garbled {
        /// The address.
        source_url: String,
        /// What is wrong.
        reason: String,
    },
    /// Its objects are named by another hash than before.
    #[error(
        "{source_url} names its objects by {found:?}, and what was fetched before by {known:?}"
    )]
    Format {
        /// The address.
        source_url: String,
        /// Its hash now.
        found: ObjectFormat,
        /// The hash of the objects here.
        known: ObjectFormat,
    },
    /// A program that is needed isn't there.
    #[error("{program} can't be started: {reason}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        reason: String,
    },
    /// The copy in the state folder fails.
    #[error("the copy of the repository in {folder} can't be used: {reason}")]
    Mirror {
        /// Where.
        folder: String,
        /// Why.
        reason: String,
    },
    /// A commit that isn't there.
    #[error("the commit {0} isn't in the repository")]
    Missing(Oid),
    /// The files of a revision can't be read.
    #[error("the files of {revision} can't be read: {reason}")]
    Files {
        /// The commit.
        revision: Oid,
        /// What is wrong, and where.
        reason: String,
    },
    /// The source was closed meanwhile.
    #[error("the source is closed")]
    Closed,
}

impl SourceError {
    /// When it is worth trying again.
    pub const fn retry(&self) -> SourceRetry {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Mirror { .. }
            | Self::Closed => SourceRetry::Transient,
            Self::Denied { .. }
            | Self::HostKey { .. }
            | Self::NoRepository { .. }
            | Self::Empty { .. }
            | Self::NoBranch { .. }
            | Self::Excessive { .. }
            | Self::Garbled { .. }
            | Self::Format { .. }
            | Self::Program { .. }
            | Self::Missing(_)
            | Self::Files { .. } => SourceRetry::Stalled,
        }
    }

    /// The reason of a condition, in CamelCase.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Timeout { .. } => "Timeout",
            Self::Denied { .. } => "AccessDenied",
            Self::HostKey { .. } => "HostKeyUnknown",
            Self::NoRepository { .. } => "NoRepository",
            Self::Empty { .. } => "RepositoryEmpty",
            Self::NoBranch { .. } => "NoBranch",
            Self::Excessive { .. } => "TooLarge",
            Self::Garbled { .. } => "Garbled",
            Self::Format { .. } => "FormatChanged",
            Self::Program { .. } => "ProgramMissing",
            Self::Mirror { .. } => "MirrorFailed",
            Self::Missing(_) => "CommitMissing",
            Self::Files { .. } => "FilesUnreadable",
            Self::Closed => "Closed",
        }
    }

    /// What a person can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { reason, .. } if reason.contains("dubious ownership") => Some(
                "the folder belongs to another user; `git config --system --add safe.directory FOLDER` allows it"
                    .to_owned(),
            ),
            Self::Denied { .. } => Some(
                "the user that this runs as needs read access: an ssh key that the server knows, or a login in the https:// address"
                    .to_owned(),
            ),
            Self::HostKey { .. } => Some(
                "log in once by hand as the user that this runs as, compare the key, and let ssh remember it in known_hosts"
                    .to_owned(),
            ),
            Self::NoRepository { .. } => {
                Some("check the address; `git ls-remote ADDRESS` must list its branches".to_owned())
            }
            Self::Empty { .. } => Some("push the first commit: `plumb init` makes one".to_owned()),
            Self::NoBranch { .. } => {
                Some("push that branch, or name another in the controller's `source.ref`".to_owned())
            }
            Self::Excessive { .. } => {
                Some("take the large file out of the branch's history; a fleet's repository holds text".to_owned())
            }
            Self::Format { .. } => {
                Some("it is another repository than before; give it a state folder and an introduction of its own".to_owned())
            }
            Self::Program { program, .. } => Some(format!("install {program}, or put it on the PATH")),
            Self::Missing(_) => Some("check the commit's name, and that it is on the watched branch".to_owned()),
            Self::Mirror { folder, .. } => Some(format!(
                "make room and check who owns it; {folder} may be deleted, it is fetched again"
            )),
            Self::Unreachable { reason, .. } if reason.contains("certificate") => Some(
                "the machine must believe who signed the server's certificate; the variable SSL_CERT_FILE can name a file of others"
                    .to_owned(),
            ),
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Garbled { .. }
            | Self::Files { .. }
            | Self::Closed => None,
        }
    }
}
