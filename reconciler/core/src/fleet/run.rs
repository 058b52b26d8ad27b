//! The result of a run on a host, as data.

use jiff::SignedDuration;
use plumb_api::frame::LedgerSummary;
use plumb_api::plan::Change;
use plumb_api::report::{ChangeResult, Retry};
use plumb_api::{Address, HostName};

use super::effect::{PhaseTimes, RunId, StartRun};
use super::resource_report::ResourceReport;
use crate::message::Message;
use crate::plan::{Planned, Refusal};
use crate::ports::HostError;
use crate::reason::ConditionReason;
use crate::status::Target;

/// The mode of a run: observe only, or apply changes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// The run only observes: the host has no target yet, or another controller drives it.
    Look,
    /// The run applies changes to bring the host to its target.
    Drive,
}

/// The report of a run.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The id of the run.
    pub id: RunId,
    /// The target of the run.
    pub target: Target,
    /// The mode of the run.
    pub mode: RunMode,
    /// The host's answer to the observation; `None` if there was none.
    pub observed: Option<ObservedHost>,
    /// The plan and the drift that it leaves.
    pub planned: Option<Planned>,
    /// The outcome of each change.
    pub outcomes: Vec<(Change, ChangeOutcome)>,
    /// The resources that failed, that wait, or that couldn't be removed or restored.
    pub resources: ResourceReport,
    /// The resources that were dropped from the host's ledger because a person requested it.
    pub let_go: Vec<Address>,
    /// Set if the host's ledger shows an earlier run whose result the controller never received. Lists the
    /// resources that this earlier run changed.
    pub interrupted: Option<Vec<Address>>,
    /// The resources of the plan, if the run sent it and never received the agent's report.
    pub unheard: Vec<Address>,
    /// Problems on the host that didn't make any change fail.
    pub warnings: Vec<String>,
    /// The result of the run.
    pub end: RunEnd,
    /// The duration of each phase.
    pub phases: PhaseTimes,
}

/// The host's answer to an observation.
#[derive(Debug, Clone)]
pub struct ObservedHost {
    /// The summary of the host's ledger.
    pub ledger: LedgerSummary,
    /// The number of resources of the target.
    pub resources: u32,
    /// The host's clock minus the controller's; `None` if the host didn't send its time.
    pub clock_offset: Option<SignedDuration>,
}

impl ObservedHost {
    /// True if the host has no desired resources and its ledger is empty, so that nothing of Plumb is left on
    /// it.
    pub(super) fn is_left(&self) -> bool {
        self.resources == 0 && self.ledger.resources == 0
    }
}

/// The outcome of a change, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeOutcome {
    /// It was applied.
    Applied,
    /// There was nothing left to change.
    Unchanged,
    /// It failed.
    Failed,
    /// It was applied, and the host puts it back, because the controller couldn't connect again.
    Reverted,
    /// It was not attempted, because a change that it depends on failed.
    Skipped,
    /// It was not attempted, because the run stopped.
    Stopped,
    /// It was to remove a resource or restore its original, and failed. This doesn't count as a failure.
    Deferred,
}

impl ChangeOutcome {
    /// Returns the outcome as metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Skipped => "skipped",
            Self::Stopped => "stopped",
            Self::Deferred => "deferred",
        }
    }
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEnd {
    /// The host is as desired, apart from drift that the drift settings leave uncorrected.
    Settled,
    /// The host was observed; nothing may be changed yet.
    Looked,
    /// Some changes failed, or some resources can't be observed or aren't supported.
    Partly(RunFailure),
    /// The planner refused to change anything.
    Refused(Refusal),
    /// The run failed.
    Failed(RunFailure),
    /// The host ran this revision, which is newer than the target.
    Newer(String),
    /// The host ran this revision, which isn't on the verified chain.
    OffChain(String),
    /// The host's ledger is older than at an earlier contact.
    Rewound {
        /// The ledger's sequence number at the earlier contact.
        known: u64,
        /// The ledger's sequence number now.
        found: u64,
    },
}

/// The part of a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedIn {
    /// The connection to the host, or the observation.
    Contact,
    /// The changes on the host.
    Change,
    /// The controller itself.
    Controller,
}

/// The result of the attempt to contact the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// The host answered.
    Made,
    /// The host didn't answer, or the connection broke.
    Lost,
}

/// The failure of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFailure {
    /// The reason.
    pub reason: ConditionReason,
    /// The reason, for people.
    pub message: Message,
    /// The kind of retry.
    pub retry: Retry,
    /// The part of the run that failed.
    pub failed_in: FailedIn,
    /// The result of the attempt to contact the host.
    pub contact: Contact,
}

impl RunReport {
    /// Creates the report of a run that hasn't done anything yet.
    pub fn begun(run: &StartRun) -> Self {
        Self {
            id: run.id,
            target: run.target.clone(),
            mode: run.mode,
            observed: None,
            planned: None,
            outcomes: Vec::new(),
            resources: ResourceReport::default(),
            let_go: Vec::new(),
            interrupted: None,
            unheard: Vec::new(),
            warnings: Vec::new(),
            end: RunEnd::Looked,
            phases: Vec::new(),
        }
    }

    /// Returns the changes that were applied.
    pub fn applied(&self) -> impl Iterator<Item = &Change> {
        let outcomes = self.outcomes.iter();
        outcomes
            .filter(|(_, outcome)| *outcome == ChangeOutcome::Applied)
            .map(|(change, _)| change)
    }
}

impl RunFailure {
    /// Creates the failure of a run because of the controller itself, with the retry kind of its reason.
    pub fn of_controller(reason: ConditionReason, message: impl Into<Message>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry: reason.retry().unwrap_or(Retry::Transient),
            failed_in: FailedIn::Controller,
            contact: Contact::Made,
        }
    }

    /// Creates the failure of a run that crashed.
    pub fn panicked(host: &HostName) -> Self {
        Self::of_controller(
            ConditionReason::Panicked,
            format!(
                "the run of {host} crashed in the controller, a defect of Plumb; see the controller's log"
            ),
        )
    }

    /// Creates the failure for an error of the session with the host.
    pub fn of_host(error: &HostError, failed_in: FailedIn) -> Self {
        let contact = match error {
            HostError::Agent { .. } | HostError::NoAgent { .. } | HostError::AgentFailed { .. } => {
                Contact::Made
            }
            HostError::Unreachable { .. }
            | HostError::HostKeyMismatch { .. }
            | HostError::NoCommonAlgorithm { .. }
            | HostError::NoSession { .. }
            | HostError::NoHostKey { .. }
            | HostError::Denied { .. }
            | HostError::SudoDenied { .. }
            | HostError::Broken { .. }
            | HostError::Silent { .. } => Contact::Lost,
        };
        Self {
            reason: error.reason(),
            retry: error.reason().retry().unwrap_or(Retry::Transient),
            message: Message::new(error.to_string()).with_hint(error.hint()),
            failed_in,
            contact,
        }
    }

    /// Creates the failure of a run from its failing resources: from the first transient failure, else from
    /// the first one that waits, else from the first stalled one. Returns `None` if no resource fails.
    fn of_resources(report: &ResourceReport) -> Option<Self> {
        // A transient error makes a retry worthwhile, even next to permanent ones. It counts as a failure,
        // even if other resources only wait.
        let order = |retry: &Retry| match retry {
            Retry::Transient => 0,
            Retry::Waiting => 1,
            Retry::Stalled => 2,
        };
        let retries = report
            .failing
            .iter()
            .filter_map(|failure| failure.reason.retry());
        let retry = retries.min_by_key(order)?;
        let mut failing = report.failing.iter();
        let first = failing.find(|failure| failure.reason.retry() == Some(retry))?;
        Some(Self {
            reason: first.reason,
            message: report.message(first),
            retry,
            failed_in: FailedIn::Change,
            contact: Contact::Made,
        })
    }
}

impl RunEnd {
    /// Returns the result of a run that had nothing to change.
    pub fn of_plan(planned: &Planned) -> Self {
        Self::of_changes(planned, &[])
    }

    /// Returns the result of a run from the results of its changes.
    pub fn of_changes(planned: &Planned, results: &[ChangeResult]) -> Self {
        let report = ResourceReport::of(planned, results);
        let incomplete = |message: String| {
            Self::Partly(RunFailure {
                reason: ConditionReason::Incomplete,
                message: message.into(),
                retry: Retry::Transient,
                failed_in: FailedIn::Change,
                contact: Contact::Made,
            })
        };
        match RunFailure::of_resources(&report) {
            Some(failure) => Self::Partly(failure),
            None if !report.waiting.is_empty() => incomplete(report.waits_for()),
            None if planned.plan.changes.len() > results.len() => {
                incomplete("the run ended before all changes were made".to_owned())
            }
            None => Self::Settled,
        }
    }
}
