//! Errors of the fleet's git repository.

use std::time::Duration;

use plumb_api::report::Retry;

use crate::reason::ConditionReason;

/// An error of the fleet's git repository. The variant determines whether a retry can help, the reason in
/// conditions, and the hint.
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
    /// This machine doesn't trust the issuer of the server's certificate.
    #[error("{source_url} can't be reached: {reason}")]
    Certificate {
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
        /// The time limit that was exceeded.
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
    /// git refuses to read a folder that belongs to another user.
    #[error("{source_url} doesn't let us in: {reason}")]
    ForeignOwner {
        /// The address.
        source_url: String,
        /// git's message.
        reason: String,
    },
    /// The server redirects to another server, to which Plumb doesn't send credentials.
    #[error("{source_url} redirects to {to}")]
    Redirected {
        /// The address.
        source_url: String,
        /// The address of the other server, without credentials.
        to: String,
    },
    /// ssh doesn't know the server's host key.
    #[error("{source_url} shows a host key that ssh doesn't know: {reason}")]
    HostKey {
        /// The address.
        source_url: String,
        /// ssh's message.
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
    /// The server uses another object format (SHA-1 or SHA-256) than before.
    #[error("{source_url} names its objects by {found}, and what was fetched before by {known}")]
    Format {
        /// The address.
        source_url: String,
        /// The server's object format now.
        found: &'static str,
        /// The object format of what was fetched before.
        known: &'static str,
    },
    /// A required program can't be started.
    #[error("{program} can't be started: {reason}")]
    Program {
        /// The program's name.
        program: String,
        /// The reason.
        reason: String,
    },
    /// The local copy of the repository in the state folder can't be used.
    #[error("the copy of the repository in {folder} can't be used: {reason}")]
    Mirror {
        /// The folder of the copy.
        folder: String,
        /// The reason.
        reason: String,
    },
    /// A commit isn't in the repository.
    #[error("the commit {0} isn't in the repository")]
    Missing(String),
    /// The files of a revision can't be read.
    #[error("the files of {revision} can't be read: {reason}")]
    Files {
        /// The id of the commit.
        revision: String,
        /// The problem, with the path of the file.
        reason: String,
    },
    /// The source was closed.
    #[error("the source is closed")]
    Closed,
}

impl SourceError {
    /// Returns whether a retry can help. The next poll retries in any case.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::Timeout { .. }
            | Self::Mirror { .. }
            | Self::Closed => Retry::Transient,
            Self::Denied { .. }
            | Self::ForeignOwner { .. }
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
            | Self::Files { .. } => Retry::Stalled,
        }
    }

    /// Returns the reason for the source's conditions.
    pub const fn reason(&self) -> ConditionReason {
        match self {
            Self::Unreachable { .. } | Self::Certificate { .. } => ConditionReason::Unreachable,
            Self::Timeout { .. } => ConditionReason::Timeout,
            Self::Denied { .. } | Self::ForeignOwner { .. } => ConditionReason::AccessDenied,
            Self::Redirected { .. } => ConditionReason::Redirected,
            Self::HostKey { .. } => ConditionReason::HostKeyUnknown,
            Self::NoRepository { .. } => ConditionReason::NoRepository,
            Self::Empty { .. } => ConditionReason::RepositoryEmpty,
            Self::NoBranch { .. } => ConditionReason::NoBranch,
            Self::Excessive { .. } => ConditionReason::TooLarge,
            Self::Garbled { .. } => ConditionReason::Garbled,
            Self::Format { .. } => ConditionReason::FormatChanged,
            Self::Program { .. } => ConditionReason::ProgramMissing,
            Self::Mirror { .. } => ConditionReason::MirrorFailed,
            Self::Missing(_) => ConditionReason::CommitMissing,
            Self::Files { .. } => ConditionReason::FilesUnreadable,
            Self::Closed => ConditionReason::Closed,
        }
    }

    /// Returns a hint for people, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ForeignOwner { .. } => Some(
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
            Self::Certificate { .. } => Some(
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
