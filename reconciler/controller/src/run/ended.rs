//! How a run ends, and what follows: when to try again, and in which words.

use plumb_api::report::{AgentError, ChangeResult, ErrorCode, Outcome, Retry};
use plumb_api::{Digest, HostName};
use plumb_core::plan::{Planned, Refusal};
use plumb_core::ports::HostError;
use plumb_trust::source::{SourceError, SourceRetry};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    /// The host is as desired, as far as anything may be done about it.
    Settled,
    /// It was looked at; nothing may be changed yet.
    Looked,
    /// Some changes failed, or some resources can't be had or looked at.
    Partly(Failed),
    /// Nothing may be done.
    Refused(Refusal),
    /// It went wrong.
    Failed(Failed),
    /// The host ran a newer revision than this one.
    Newer {
        /// Which.
        ran: String,
    },
    /// The host ran a revision that isn't on the verified chain.
    OffChain {
        /// Which.
        ran: String,
    },
    /// The host's ledger is older than what was seen of it.
    Rewound {
        /// The sequence that was seen.
        known: u64,
        /// The one that it has now.
        found: u64,
    },
}

/// Whether the host had been changed when it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// On the way to it, or while it was looked at.
    Contact,
    /// While it was changed.
    Change,
    /// Here, not on the host.
    Here,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed {
    /// In one CamelCase word.
    pub(crate) reason: &'static str,
    /// In a sentence.
    pub(crate) message: String,
    /// When it is worth trying again.
    pub(crate) retry: Retry,
    /// When it happened.
    pub(crate) cause: Cause,
    /// Whether the host couldn't be talked to.
    pub(crate) contact: Contact,
}

/// Whether a host could be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// It could.
    Made,
    /// It couldn't, or the connection broke.
    Lost,
}

/// An error's code as the reason of a condition.
fn reason(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Protocol => "ProtocolError",
        ErrorCode::Superseded => "Superseded",
        ErrorCode::Locked => "Locked",
        ErrorCode::LedgerLost => "LedgerLost",
        ErrorCode::NewerFormat => "NewerFormat",
        ErrorCode::NoSpace => "NoSpace",
        ErrorCode::PreconditionFailed => "PreconditionFailed",
        ErrorCode::MissingContent => "MissingContent",
        ErrorCode::Unsupported => "Unsupported",
        ErrorCode::Refused => "Refused",
        ErrorCode::UnsafePath => "UnsafePath",
        ErrorCode::ValidateFailed => "ValidateFailed",
        ErrorCode::CommandFailed => "CommandFailed",
        ErrorCode::CheckFailed => "CheckFailed",
        ErrorCode::TimedOut => "TimedOut",
        ErrorCode::PackageLock => "PackageLock",
        ErrorCode::NotFound => "NotFound",
        ErrorCode::Io => "IoError",
        ErrorCode::WouldGoBack => "WouldGoBack",
        ErrorCode::Internal => "AgentFault",
    }
}

/// A message and what to do about it, as one text.
fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

impl Failed {
    pub(crate) fn of(error: &HostError, cause: Cause) -> Self {
        let contact = match error {
            HostError::Agent { .. } | HostError::NoAgent { .. } | HostError::AgentFailed { .. } => {
                Contact::Made
            }
            HostError::Unreachable { .. }
            | HostError::HostKeyMismatch { .. }
            | HostError::NoHostKey { .. }
            | HostError::Denied { .. }
            | HostError::Broken { .. }
            | HostError::Silent { .. } => Contact::Lost,
        };
        let reason = match error {
            HostError::Agent { error, .. } => reason(error.code),
            other => other.reason(),
        };
        Self {
            reason,
            retry: error.retry(),
            message: with_hint(error.to_string(), error.hint()),
            cause,
            contact,
        }
    }

    pub(crate) fn of_source(host: &HostName, error: &SourceError) -> Self {
        Self {
            reason: "SourceFailed",
            message: format!("what {host} ran last can't be compared: {error}"),
            retry: match error.retry() {
                SourceRetry::Transient => Retry::Transient,
                SourceRetry::Stalled => Retry::Stalled,
            },
            cause: Cause::Here,
            contact: Contact::Made,
        }
    }

    pub(crate) fn missing_content(host: &HostName, digest: &Digest) -> Self {
        Self {
            reason: "MissingContent",
            message: format!("a content that {host} needs isn't here: {digest}"),
            retry: Retry::Transient,
            cause: Cause::Here,
            contact: Contact::Made,
        }
    }

    pub(crate) fn panicked(host: &HostName) -> Self {
        Self {
            reason: "Panicked",
            message: format!(
                "the run of {host} crashed; this is a defect of Plumb, its log says where"
            ),
            retry: Retry::Transient,
            cause: Cause::Here,
            contact: Contact::Made,
        }
    }

    /// Several errors of resources: the message of the first, the most hopeful retry.
    fn of_resources(errors: &[(String, &AgentError)], more: usize) -> Option<Self> {
        let (address, first) = errors.first()?;
        // One that may pass by itself is worth trying for, whatever else is hopeless.
        let retry = errors
            .iter()
            .map(|(_, error)| error.code.retry())
            .min_by_key(|retry| match retry {
                Retry::Waiting => 0,
                Retry::Transient => 1,
                Retry::Stalled => 2,
            })?;
        let others = errors.len() - 1 + more;
        let others = match others {
            0 => String::new(),
            n => format!(" ({n} more resources wait or fail)"),
        };
        let message = with_hint(format!("{address}: {}", first.message), first.hint.clone());
        Some(Self {
            reason: reason(first.code),
            message: format!("{message}{others}"),
            retry,
            cause: Cause::Change,
            contact: Contact::Made,
        })
    }
}

impl Ended {
    /// The end of a run that had nothing to change.
    pub(crate) fn of_plan(planned: &Planned) -> Self {
        Self::of_report(planned, &[])
    }

    /// The end of a run by what came of its changes.
    pub(crate) fn of_report(planned: &Planned, results: &[ChangeResult]) -> Self {
        let mut errors: Vec<(String, &AgentError)> = Vec::new();
        let mut waiting = planned.blocked.len();
        for result in results {
            match &result.outcome {
                Outcome::Failed(error) => errors.push((planned.name(&result.address), error)),
                Outcome::Skipped(_) | Outcome::Stopped => waiting += 1,
                Outcome::Applied | Outcome::Unchanged => {}
            }
        }
        errors.extend(
            planned
                .problems
                .iter()
                .map(|troubled| (planned.name(&troubled.address), &troubled.error)),
        );
        match Failed::of_resources(&errors, waiting) {
            Some(failed) => Self::Partly(failed),
            None if planned.plan.changes.len() > results.len() || waiting > 0 => {
                Self::Partly(Failed {
                    reason: "Incomplete",
                    message: "the run ended before all changes were made".to_owned(),
                    retry: Retry::Transient,
                    cause: Cause::Change,
                    contact: Contact::Made,
                })
            }
            None => Self::Settled,
        }
    }
}
