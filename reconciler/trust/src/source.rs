//! The port to a repository, in terms of verdicts and not of git.
//!
//! A source gives raw objects to [`verify`](crate::verify) and reads the files of accepted revisions. It
//! never judges by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
pub use plumb_document::{SourceFile, TooLarge};

use crate::inputs::{Detail, Revocations, TagRef};
use crate::oid::{ObjectFormat, Oid};
use crate::outcome::Outcome;
use crate::verified::{Revision, Verified};

/// The files of a revision by path from the root.
pub type Files = BTreeMap<String, SourceFile>;

/// The state of a repository at a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The newest commit of the watched branch. A rewound branch is reported as it is.
    pub head: Oid,
    /// Its tags under `approve/`, `alive/` and `revoke/`, by name.
    pub tags: Vec<TagRef>,
}

/// A verification that the source runs where it keeps the objects. See [`Inputs`](crate::Inputs) for each
/// field.
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
    /// The time to verify at.
    pub now: Timestamp,
    /// Times of first sight of commits and tags on this machine.
    pub first_seen: BTreeMap<Oid, Timestamp>,
    /// Commits that were accepted once and then taken off the branch.
    pub tombstones: BTreeSet<Oid>,
    /// Keys that this machine's configuration revokes.
    pub revoked: Revocations,
    /// Keys that signed tags revoked before.
    pub revoked_before: Revocations,
    /// Commits that hosts have run.
    pub lower_bounds: Vec<Oid>,
    /// The amount of detail that is reported of accepted commits.
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
    /// Returns the address (without a password) and the branch, for people.
    fn describe(&self) -> String;

    /// Fetches the watched branch and the tags that concern trust, and nothing else, within limits.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, SourceError>>;

    /// Verifies a range of commits where the source keeps the objects.
    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Outcome, SourceError>>;

    /// Reads the files of a revision that manifests may come from.
    fn files(&self, revision: Verified<Revision>) -> BoxFuture<'_, Result<Files, SourceError>>;

    /// Returns `true` if `ancestor` is `descendant` or one of its ancestors by first parents.
    fn descends(&self, ancestor: Oid, descendant: Oid) -> BoxFuture<'_, Result<bool, SourceError>>;
}

/// The chance that trying a source again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceRetry {
    /// The error may pass by itself.
    Transient,
    /// The error lasts until somebody changes something. The next poll tries all the same.
    Stalled,
}

/// An error of a repository. Its kind decides retry, condition and alert together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The server doesn't answer.
    #[error("{source_url} can't be reached: {reason}")]
    Unreachable {
        /// The address.
        source_url: String,
        /// The observed error.
        reason: String,
    },
    /// The server answered and then fell silent, or took too long.
    #[error("{source_url} gave no answer within {} s", after.as_secs())]
    Timeout {
        /// The address.
        source_url: String,
        /// The time that was waited.
        after: Duration,
    },
    /// The server denies access.
    #[error("{source_url} doesn't let us in: {reason}")]
    Denied {
        /// The address.
        source_url: String,
        /// The server's message.
        reason: String,
    },
    /// The server redirects to another server, to which no login is sent.
    #[error("{source_url} redirects to {to}")]
    Redirected {
        /// The address.
        source_url: String,
        /// The other address, without a login.
        to: String,
    },
    /// The server shows a host key that isn't known.
    #[error("{source_url} shows a host key that ssh doesn't know: {reason}")]
    HostKey {
        /// The address.
        source_url: String,
        /// The message of ssh.
        reason: String,
    },
    /// The server has no such repository.
    #[error("there is no repository at {source_url}: {reason}")]
    NoRepository {
        /// The address.
        source_url: String,
        /// The server's message.
        reason: String,
    },
    /// The repository has no commit at all.
    #[error("the repository at {source_url} is empty")]
    Empty {
        /// The address.
        source_url: String,
    },
    /// The watched branch doesn't exist.
    #[error("{source_url} has no branch {}; it has {}", branch.strip_prefix("refs/heads/").unwrap_or(branch), branches.join(", "))]
    NoBranch {
        /// The address.
        source_url: String,
        /// The full name of the branch.
        branch: String,
        /// Short names of a few branches that exist.
        branches: Vec<String>,
    },
    /// The server sends more than a limit allows.
    #[error("what {source_url} sends is refused: {reason}")]
    Excessive {
        /// The address.
        source_url: String,
        /// The limit that was exceeded.
        reason: String,
    },
    /// The server's data can't be read.
    #[error("what {source_url} sends can't be read: {reason}")]
    Garbled {
        /// The address.
        source_url: String,
        /// The problem.
        reason: String,
    },
    /// The server names objects by another hash than before.
    #[error(
        "{source_url} names its objects by {found:?}, and what was fetched before by {known:?}"
    )]
    Format {
        /// The address.
        source_url: String,
        /// The server's hash now.
        found: ObjectFormat,
        /// The hash of the objects that were fetched before.
        known: ObjectFormat,
    },
    /// A program that is needed doesn't start.
    #[error("{program} can't be started: {reason}")]
    Program {
        /// The program.
        program: String,
        /// The reason.
        reason: String,
    },
    /// The local copy in the state folder fails.
    #[error("the copy of the repository in {folder} can't be used: {reason}")]
    Mirror {
        /// The folder.
        folder: String,
        /// The reason.
        reason: String,
    },
    /// A commit isn't in the repository.
    #[error("the commit {0} isn't in the repository")]
    Missing(Oid),
    /// The files of a revision can't be read.
    #[error("the files of {revision} can't be read: {reason}")]
    Files {
        /// The commit.
        revision: Oid,
        /// The problem and its place.
        reason: String,
    },
    /// The source was closed.
    #[error("the source is closed")]
    Closed,
}

impl SourceError {
    /// Returns the chance that trying again helps.
    pub const fn retry(&self) -> SourceRetry {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Mirror { .. }
            | Self::Closed => SourceRetry::Transient,
            Self::Denied { .. }
            | Self::Redirected { .. }
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

    /// Returns the reason of a condition, in CamelCase.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Timeout { .. } => "Timeout",
            Self::Denied { .. } => "AccessDenied",
            Self::Redirected { .. } => "Redirected",
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

    /// Returns a hint for people, if there is one.
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
            Self::Redirected { to, .. } => Some(format!("set `source.url` to {to}")),
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
