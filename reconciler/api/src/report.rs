//! The outcomes of a plan, and a host's errors as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Address;
use crate::plan::ChangeId;

/// Says when to retry after an error. The kind of error decides this, not the code that handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// The error may pass by itself: retry with backoff, and count a failure.
    Transient,
    /// Something else is running on the host (a package lock, cloud-init): retry soon, and count no failure.
    Waiting,
    /// The error stays until a person or a commit changes something.
    Stalled,
}

/// The kind of an error, as a closed list that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// A frame or message is invalid, or of another version.
    Protocol,
    /// The request is from an older start of the controller, or the host obeys another controller.
    Superseded,
    /// Another run holds the host's lock.
    Locked,
    /// The ledger is lost, corrupt, cloned or rewound, so the agent changes nothing.
    LedgerLost,
    /// A format on disk is newer than this agent.
    NewerFormat,
    /// A file system has no room or no inode free, so the agent couldn't change what is on it.
    NoSpace,
    /// A file system is mounted read-only, so the agent couldn't change what is on it.
    ReadOnly,
    /// The state differs from the one that the plan was made for.
    PreconditionFailed,
    /// The controller didn't send a file content that the plan needs.
    MissingContent,
    /// This host doesn't support the resource type, or this use of it.
    Unsupported,
    /// Something of another type is in the way, or Plumb must not replace it.
    Refused,
    /// The path has a symbolic link in a folder that others may write to.
    UnsafePath,
    /// The program in `validate` rejected the new content.
    ValidateFailed,
    /// A secret can't be decrypted, or isn't what it came as.
    SecretRefused,
    /// A program failed.
    CommandFailed,
    /// A check didn't pass.
    CheckFailed,
    /// A program took too long.
    TimedOut,
    /// A unit is still starting, stopping or settling, and its time limit isn't over.
    UnitPending,
    /// Another program holds the package manager's lock.
    PackageLock,
    /// Something on the host still uses the resource, such as the processes of a user.
    InUse,
    /// A name doesn't exist: a user, a unit, a package, a sysctl.
    NotFound,
    /// A system error.
    Io,
    /// The host ran a newer revision than the request's, and the request has no signed rollback.
    WouldGoBack,
    /// Changes that could cut the controller off wait for their confirmation.
    Unconfirmed,
    /// The host has put the change back, because the controller didn't confirm it over a new connection.
    Reverted,
    /// The agent itself failed: a defect of Plumb.
    Internal,
}

impl ErrorCode {
    /// Returns when to retry after an error of this kind.
    pub fn retry(self) -> Retry {
        match self {
            Self::Locked
            | Self::PackageLock
            | Self::InUse
            | Self::UnitPending
            | Self::Unconfirmed => Retry::Waiting,
            Self::Superseded
            | Self::LedgerLost
            | Self::NewerFormat
            | Self::Unsupported
            | Self::Refused
            | Self::UnsafePath
            | Self::ValidateFailed
            | Self::SecretRefused
            | Self::WouldGoBack
            | Self::Reverted => Retry::Stalled,
            Self::Protocol
            | Self::NoSpace
            | Self::ReadOnly
            | Self::PreconditionFailed
            | Self::MissingContent
            | Self::CommandFailed
            | Self::CheckFailed
            | Self::TimedOut
            | Self::NotFound
            | Self::Io
            | Self::Internal => Retry::Transient,
        }
    }
}

/// Maximum length of an error message in bytes. [`AgentError::new`] truncates longer messages.
pub const MAX_MESSAGE: usize = 4096;

/// An error on a host, as data that the agent sends to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentError {
    /// The kind of error.
    pub code: ErrorCode,
    /// The message for people, in lower case: what failed, and on what.
    pub message: String,
    /// The remedy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl AgentError {
    /// Creates an error. The message is truncated to [`MAX_MESSAGE`].
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE {
            let mut end = MAX_MESSAGE;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        Self {
            code,
            message,
            hint: None,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AgentError {}

/// The outcome of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The change was made, and a new observation confirmed it.
    Applied,
    /// The resource needed no change any more.
    Unchanged,
    /// The change failed, and the changes that depend on it were skipped.
    Failed(AgentError),
    /// The change wasn't tried, because this one failed.
    Skipped(ChangeId),
    /// The change wasn't tried, because the run stopped before it (superseded, cancelled).
    Stopped,
}

/// A change's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeResult {
    /// The change's index in the plan.
    pub id: ChangeId,
    /// The resource.
    pub address: Address,
    /// The outcome.
    pub outcome: Outcome,
}
