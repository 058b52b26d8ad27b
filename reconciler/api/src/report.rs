//! The outcomes of a plan, and a host's errors as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Address;
use crate::plan::ChangeId;

/// The time at which another try is worthwhile: a property of the error, not of its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// The error may pass by itself: retry with backoff, and count a failure.
    Transient,
    /// Something else is at work (a package lock, cloud-init): retry soon, and count no failure.
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
    /// A newer epoch, or another controller, holds the host.
    Superseded,
    /// Another run holds the host's lock.
    Locked,
    /// The ledger is lost, corrupt, cloned or rewound: nothing is changed.
    LedgerLost,
    /// A format on disk is newer than this agent.
    NewerFormat,
    /// A file system is full or read-only: what lies on it wasn't changed.
    NoSpace,
    /// The state differs from the one that the plan was made for.
    PreconditionFailed,
    /// A required content wasn't sent.
    MissingContent,
    /// This host doesn't support the resource type, or this use of it.
    Unsupported,
    /// Something of another type is in the way, or Plumb must not replace it.
    Refused,
    /// The path has a symbolic link in a folder that others may write to.
    UnsafePath,
    /// `validate` didn't accept the candidate.
    ValidateFailed,
    /// A program failed.
    CommandFailed,
    /// A check didn't pass.
    CheckFailed,
    /// A program took too long.
    TimedOut,
    /// A unit is still starting or stopping, or hasn't settled yet, within its time.
    UnitPending,
    /// Another program holds the package manager's lock.
    PackageLock,
    /// Something on the host uses it: a user has processes.
    InUse,
    /// A name doesn't exist: a user, a unit, a package, a sysctl.
    NotFound,
    /// A system error.
    Io,
    /// The host ran a newer revision than this one, and no signed rollback was shown.
    WouldGoBack,
    /// The agent itself failed: a defect of Plumb.
    Internal,
}

impl ErrorCode {
    /// Returns the time at which another try is worthwhile.
    pub fn retry(self) -> Retry {
        match self {
            Self::Locked | Self::PackageLock | Self::InUse | Self::UnitPending => Retry::Waiting,
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

/// The longest message of a host's error, in bytes; longer ones are cut when they are made.
pub const MAX_MESSAGE: usize = 4096;

/// A host's error, as data: the agent's errors are the controller's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentError {
    /// The kind of error.
    pub code: ErrorCode,
    /// The message for people, in lower case: the failure and its object.
    pub message: String,
    /// The remedy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl AgentError {
    /// Makes an error with its message, cut to [`MAX_MESSAGE`].
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
    /// The change failed, and those that depend on it were skipped.
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
