//! Evaluates the result of a run: as a failure of the host, and as an outcome for the rollout.

use plumb_api::HostName;
use plumb_api::report::Retry;

use super::run::{Contact, FailedIn, RunEnd, RunFailure};
use super::short_commit;
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::rollout::HostOutcome;

/// A failure of a run of any kind: reason, message, and the kind of retry.
pub(super) type FailureSummary = (ConditionReason, Message, Retry);

/// Returns the failure with which a run ended; `None` if it didn't fail.
pub(super) fn failure_of(host: &HostName, end: &RunEnd) -> Option<FailureSummary> {
    let stalled = |reason, message: String, hint: String| {
        let message = Message::new(message).with_hint(Some(hint));
        Some((reason, message, Retry::Stalled))
    };
    match end {
        RunEnd::Settled | RunEnd::Looked => None,
        RunEnd::Partly(failure) | RunEnd::Failed(failure) => {
            Some((failure.reason, failure.message.clone(), failure.retry))
        }
        RunEnd::Refused(refusal) => {
            let reason = refusal.reason();
            let hint = refusal.hint().map(str::to_owned);
            let message = Message::new(refusal.to_string()).with_hint(hint);
            Some((reason, message, reason.retry().unwrap_or(Retry::Transient)))
        }
        RunEnd::Newer(ran) => stalled(
            ConditionReason::WouldGoBack,
            format!(
                "the host ran {}, which is newer than its target",
                short_commit(ran)
            ),
            "push a signed commit with a `Rollback-To:` trailer to go back".to_owned(),
        ),
        RunEnd::OffChain(ran) => stalled(
            ConditionReason::OffVerifiedChain,
            format!(
                "the host ran {}, which isn't on the verified chain; nothing is changed on it",
                short_commit(ran)
            ),
            "find out which controller drives it".to_owned(),
        ),
        RunEnd::Rewound { known, found } => stalled(
            ConditionReason::LedgerRewound,
            format!(
                "the host's ledger went back from {known} to {found}: the machine was restored or is a clone"
            ),
            format!("run `plumb forget {host}` to accept that"),
        ),
    }
}

/// Returns the outcome of a driving run for the rollout. A run that ended before it could change anything is
/// no evidence for or against the change that is rolled out.
pub(super) fn outcome_of(end: &RunEnd) -> Option<HostOutcome> {
    Some(match end {
        RunEnd::Settled => HostOutcome::Reached,
        RunEnd::Looked => return None,
        RunEnd::Refused(refusal) if refusal.reason().retry() == Some(Retry::Waiting) => {
            HostOutcome::Busy
        }
        RunEnd::Refused(_) | RunEnd::Newer(_) | RunEnd::OffChain(_) | RunEnd::Rewound { .. } => {
            HostOutcome::Refused
        }
        RunEnd::Partly(failure) | RunEnd::Failed(failure) => outcome_of_failure(failure),
    })
}

fn outcome_of_failure(failure: &RunFailure) -> HostOutcome {
    match (failure.failed_in, failure.contact, failure.retry) {
        // A service that is still starting may fail because of the change. Any other wait has its cause on the
        // host itself.
        (FailedIn::Change, _, Retry::Waiting) if failure.reason == ConditionReason::UnitPending => {
            HostOutcome::UnderWay
        }
        (FailedIn::Change, _, Retry::Waiting) => HostOutcome::Waits,
        (FailedIn::Change, ..) => failed(failure),
        (FailedIn::Contact, Contact::Lost, _) => {
            HostOutcome::Unreachable(failure.message.headline().to_owned())
        }
        (FailedIn::Contact, Contact::Made, Retry::Waiting) => HostOutcome::Busy,
        // A run that crashed in the controller may have changed the host. Other errors of the controller, such
        // as an unreadable source, don't concern the host.
        (FailedIn::Controller, ..) if failure.reason == ConditionReason::Panicked => {
            failed(failure)
        }
        (FailedIn::Contact, Contact::Made, _) | (FailedIn::Controller, ..) => HostOutcome::Refused,
    }
}

fn failed(failure: &RunFailure) -> HostOutcome {
    HostOutcome::Failed {
        reason: failure.message.headline().to_owned(),
        retry: failure.retry,
    }
}
