//! What came of a plan, and errors of a host as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Address;
use crate::plan::ChangeId;

/// When it is worth trying again: a property of the error, not of who meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// It may pass by itself: try again with backoff, count it as a failure.
    Transient,
    /// Something else is at work (a package lock, cloud-init): try again soon, not a failure.
    Waiting,
    /// It won't pass until a person or a commit changes something.
    Stalled,
}

/// What went wrong, as a closed list that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// A frame that isn't one, or of another version.
    Protocol,
    /// A newer epoch, or another controller, holds the host.
    Superseded,
    /// Another run holds the host's lock.
    Locked,
    /// The ledger is lost, corrupt, cloned or rewound: nothing is changed.
    LedgerLost,
    /// A format on disk is newer than this agent.
    NewerFormat,
    /// No room, or a read-only disk: nothing was changed.
    NoSpace,
    /// What was observed for the plan is no longer so.
    PreconditionFailed,
    /// A content that was needed didn't come.
    MissingContent,
    /// The resource type, or this use of it, can't be had on this host.
    Unsupported,
    /// Something of another type is in the way, or it is not ours to replace.
    Refused,
    /// A symbolic link in a folder that others may write to was in the path.
    UnsafePath,
    /// `validate` didn't accept the candidate.
    ValidateFailed,
    /// A program failed.
    CommandFailed,
    /// Something that must hold doesn't.
    CheckFailed,
    /// A program took too long.
    TimedOut,
    /// The package manager is locked by another.
    PackageLock,
    /// A name that isn't there: a user, a unit, a package, a sysctl.
    NotFound,
    /// An error of the system.
    Io,
    /// The host remembers a newer revision than this one, and no signed rollback was shown.
    WouldGoBack,
    /// The agent itself failed; a defect of Plumb.
    Internal,
}

impl ErrorCode {
    /// When it is worth trying again.
    pub fn retry(self) -> Retry {
        match self {
            Self::Locked | Self::PackageLock => Retry::Waiting,
            Self::Superseded
            | Self::LedgerLost
            | Self::NewerFormat
            | Self::Unsupported
            | Self::Refused
            | Self::UnsafePath
            | Self::ValidateFailed
            | Self::WouldGoBack => Retry::Stalled,
            Self::Protocol
            | Self::NoSpace
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

/// The longest message of a host's error, in bytes; longer ones are cut where they are made.
pub const MAX_MESSAGE: usize = 4096;

/// An error of a host, as data: the agent's errors are the controller's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentError {
    /// What went wrong.
    pub code: ErrorCode,
    /// What to tell people: lower-case, what happened and to what.
    pub message: String,
    /// What they can do, if there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl AgentError {
    /// An error with its message, cut to [`MAX_MESSAGE`].
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

    /// The same with a hint.
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

/// What came of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was done and found done.
    Applied,
    /// It needed nothing any more.
    Unchanged,
    /// It failed; those that come after it were skipped.
    Failed(AgentError),
    /// It was not tried, because this one failed.
    Skipped(ChangeId),
    /// It was not tried, because the run stopped before it (superseded, cancelled).
    Stopped,
}

/// One change and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeResult {
    /// The change.
    pub id: ChangeId,
    /// Its resource.
    pub address: Address,
    /// What came of it.
    pub outcome: Outcome,
}
