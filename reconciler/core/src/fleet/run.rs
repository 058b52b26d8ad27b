//! What a run on a host came to, as data.

use plumb_api::HostName;
use plumb_api::frame::LedgerSummary;
use plumb_api::plan::Change;
use plumb_api::report::{AgentError, ChangeResult, Outcome, Retry};

use super::effect::{PhaseTimes, RunId, StartRun};
use crate::plan::{Planned, Refusal};
use crate::ports::HostError;
use crate::reason::ConditionReason;
use crate::status::Target;

/// Whether a run may change the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// It only observes: what the host ran before isn't known yet.
    Look,
    /// It drives the host to its target.
    Drive,
}

/// The report of a run.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The run.
    pub id: RunId,
    /// What it led to.
    pub target: Target,
    /// Whether it was allowed to change anything.
    pub mode: RunMode,
    /// What the host told of itself.
    pub observed: Option<ObservedHost>,
    /// What was planned.
    pub planned: Option<Planned>,
    /// What came of each change.
    pub outcomes: Vec<(Change, ChangeOutcome)>,
    /// How it ended.
    pub end: RunEnd,
    /// How long its phases took.
    pub phases: PhaseTimes,
}

/// What a host told of itself.
#[derive(Debug, Clone)]
pub struct ObservedHost {
    /// Its ledger.
    pub ledger: LedgerSummary,
    /// How many resources are desired on it.
    pub resources: u32,
}

/// What came of a change, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeOutcome {
    /// It was made.
    Applied,
    /// It needed nothing any more.
    Unchanged,
    /// It failed.
    Failed,
    /// It was not tried, because another one failed.
    Skipped,
    /// It was not tried, because the run stopped.
    Stopped,
}

impl ChangeOutcome {
    /// The outcome as metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Stopped => "stopped",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEnd {
    /// The host is as desired, as far as anything may be done about it.
    Settled,
    /// It was observed; nothing may be changed yet.
    Looked,
    /// Some changes failed, or some resources can't be observed or had.
    Partly(RunFailure),
    /// Nothing may be done.
    Refused(Refusal),
    /// It failed.
    Failed(RunFailure),
    /// The host ran this revision, which is newer than the target.
    Newer(String),
    /// The host ran this revision, which isn't on the verified chain.
    OffChain(String),
    /// The host's ledger is older than what was seen of it.
    Rewound {
        /// The sequence that was seen.
        known: u64,
        /// The sequence that it has now.
        found: u64,
    },
}

/// Where a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedIn {
    /// On the way to the host, or while it was observed.
    Contact,
    /// While the host was changed.
    Change,
    /// In the controller.
    Controller,
}

/// Whether the host could be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It could.
    Made,
    /// It couldn't, or the connection broke.
    Lost,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFailure {
    /// Why.
    pub reason: ConditionReason,
    /// Why, in a sentence.
    pub message: String,
    /// When it is worth trying again.
    pub retry: Retry,
    /// Where it failed.
    pub failed_in: FailedIn,
    /// Whether the host could be talked to.
    pub contact: Contact,
}

impl RunReport {
    /// The report of a run before anything happened in it.
    pub fn begun(run: &StartRun) -> Self {
        Self {
            id: run.id,
            target: run.target.clone(),
            mode: run.mode,
            observed: None,
            planned: None,
            outcomes: Vec::new(),
            end: RunEnd::Looked,
            phases: Vec::new(),
        }
    }

    /// The changes that were made.
    pub fn applied(&self) -> impl Iterator<Item = &Change> {
        let outcomes = self.outcomes.iter();
        outcomes
            .filter(|(_, outcome)| *outcome == ChangeOutcome::Applied)
            .map(|(change, _)| change)
    }
}

/// A message with its hint, as one text.
pub fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}

impl RunFailure {
    /// A failure of the controller itself, with the retry class of its reason.
    pub fn of_controller(reason: ConditionReason, message: String) -> Self {
        Self {
            reason,
            message,
            retry: reason.retry().unwrap_or(Retry::Transient),
            failed_in: FailedIn::Controller,
            contact: Contact::Made,
        }
    }

    /// The failure of a run that crashed.
    pub fn panicked(host: &HostName) -> Self {
        Self::of_controller(
            ConditionReason::Panicked,
            format!("the run of {host} crashed; this is a defect of Plumb, its log says where"),
        )
    }

    /// The failure that an error of the host's port stands for.
    pub fn of_host(error: &HostError, failed_in: FailedIn) -> Self {
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
        Self {
            reason: error.reason(),
            retry: error.reason().retry().unwrap_or(Retry::Transient),
            message: with_hint(error.to_string(), error.hint()),
            failed_in,
            contact,
        }
    }

    /// Several errors of resources: the message of the first, the most hopeful retry.
    fn of_resources(errors: &[(String, &AgentError)], more: usize) -> Option<Self> {
        let (address, first) = errors.first()?;
        let retry_of = |error: &AgentError| ConditionReason::from(error.code).retry();
        // One that may pass by itself is worth trying for, whatever else is hopeless.
        let retry = errors
            .iter()
            .filter_map(|(_, error)| retry_of(error))
            .min_by_key(|retry| match retry {
                Retry::Waiting => 0,
                Retry::Transient => 1,
                Retry::Stalled => 2,
            })?;
        let others = match errors.len() - 1 + more {
            0 => String::new(),
            n => format!(" ({n} more resources wait or fail)"),
        };
        let message = with_hint(format!("{address}: {}", first.message), first.hint.clone());
        Some(Self {
            reason: first.code.into(),
            message: format!("{message}{others}"),
            retry,
            failed_in: FailedIn::Change,
            contact: Contact::Made,
        })
    }
}

impl RunEnd {
    /// The end of a run that had nothing to change.
    pub fn of_plan(planned: &Planned) -> Self {
        Self::of_changes(planned, &[])
    }

    /// The end of a run by the results of its changes.
    pub fn of_changes(planned: &Planned, results: &[ChangeResult]) -> Self {
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
        match RunFailure::of_resources(&errors, waiting) {
            Some(failure) => Self::Partly(failure),
            None if planned.plan.changes.len() > results.len() || waiting > 0 => {
                Self::Partly(RunFailure {
                    reason: ConditionReason::Incomplete,
                    message: "the run ended before all changes were made".to_owned(),
                    retry: Retry::Transient,
                    failed_in: FailedIn::Change,
                    contact: Contact::Made,
                })
            }
            None => Self::Settled,
        }
    }
}
