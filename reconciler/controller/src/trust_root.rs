//! The trust root: the configured introduction, or the last accepted commit (the floor). If it isn't in the
//! repository, no commit of the branch can be verified, and none of them is the cause.
//!
//! The operator's configuration takes precedence over the stored state: a floor that was accepted from
//! another introduction isn't trusted. It remains a lower bound: the chain from the new introduction must
//! contain it, so that a corrected configuration never moves a fleet to an older revision.

use plumb_core::fleet::TrustRootFault;
use plumb_core::ports::SourceError;
use plumb_core::reason::ConditionReason;
use plumb_trust::{Oid, Outcome, Reason, ReasonCode, Verdict};

use crate::poll_input::Poll;
use crate::settings::SourcePort;

/// The reason why no commit of the branch can be verified.
#[derive(Debug, Clone)]
pub(crate) enum TrustRootError {
    /// The introduction isn't in the repository.
    IntroductionMissing { introduction: Oid },
    /// The introduction is in the repository, but no commit can be verified from it.
    IntroductionUnusable { introduction: Oid, reason: Reason },
    /// The last accepted commit isn't in the repository.
    FloorMissing { floor: Oid },
    /// The last accepted commit was accepted from another introduction, and isn't on the chain from the
    /// configured introduction.
    FloorOffChain { floor: Oid, introduction: Oid },
}

/// The hint for a repository that was replaced deliberately.
const BEGIN_ANEW: &str = "to give up the accepted commits on purpose, stop the controller, move state.redb out of its state folder and start it once with --take-over; hosts still refuse to be set back";

impl TrustRootError {
    /// Converts the error to the loop's type. The alert leaves out the reason's text, which may quote
    /// untrusted text.
    pub(crate) fn fault(&self, source: &str) -> TrustRootFault {
        let (reason, message, alert) = match self {
            Self::IntroductionMissing { .. } => {
                let message = self.describe(source, "");
                (
                    ConditionReason::IntroductionMissing,
                    message.clone(),
                    message,
                )
            }
            Self::IntroductionUnusable { reason, .. } => (
                ConditionReason::IntroductionUnusable,
                self.describe(source, &reason.to_string()),
                self.describe(source, reason.code.as_str()),
            ),
            Self::FloorMissing { .. } => {
                let message = self.describe(source, "");
                (ConditionReason::FloorMissing, message.clone(), message)
            }
            Self::FloorOffChain { .. } => {
                let message = self.describe(source, "");
                (ConditionReason::FloorOffChain, message.clone(), message)
            }
        };
        TrustRootFault {
            reason,
            message: message.into(),
            alert,
        }
    }

    fn describe(&self, source: &str, why: &str) -> String {
        match self {
            Self::IntroductionMissing { introduction } => format!(
                "the introduction {introduction} isn't in {source}, so nothing is accepted; correct `introduction` or `source` in the controller's configuration and restart the controller"
            ),
            Self::IntroductionUnusable { introduction, .. } => format!(
                "cannot judge from the introduction {introduction} ({why}), so nothing of {source} is accepted; `introduction` in the controller's configuration must name a commit of the branch with a valid trust/policy.yaml: correct it and restart the controller, or fix the branch"
            ),
            Self::FloorMissing { floor } => format!(
                "the last accepted commit {floor} isn't in {source}, so nothing new is accepted; the branch was replaced, or the address is another repository's: push the commit again; {BEGIN_ANEW}"
            ),
            Self::FloorOffChain {
                floor,
                introduction,
            } => format!(
                "the last accepted commit {floor} doesn't descend from the introduction {introduction} in {source}, so nothing new is accepted; correct `introduction` in the controller's configuration, or push a branch that has both; {BEGIN_ANEW}"
            ),
        }
    }
}

/// Returns the error of the trust root because of which the outcome of a verification says nothing about the
/// branch, if there is one.
///
/// # Errors
/// Returns an error if the source fails.
pub(crate) async fn trust_root_error(
    source: &SourcePort,
    poll: &Poll,
    outcome: &Outcome,
) -> Result<Option<TrustRootError>, SourceError> {
    let introduction = poll.introduction;
    let lacking = outcome
        .revision()
        .is_none()
        .then(|| outcome.reasons.first())
        .flatten()
        .is_some_and(|reason| reason.code == ReasonCode::MissingObject);
    if let Some(floor) = poll.floor() {
        return Ok(lacking.then_some(TrustRootError::FloorMissing { floor }));
    }
    if lacking {
        return Ok(Some(TrustRootError::IntroductionMissing { introduction }));
    }
    let refused = outcome
        .reasons
        .iter()
        .find(|reason| reason.code.verdict() == Verdict::Reject);
    if let Some(reason) = refused {
        return Ok(Some(TrustRootError::IntroductionUnusable {
            introduction,
            reason: reason.clone(),
        }));
    }
    let Some(floor) = poll
        .bound()
        .filter(|bound| outcome.off_chain.contains(bound))
    else {
        return Ok(None);
    };
    Ok(Some(match source.descends(introduction, floor).await {
        Err(SourceError::Missing(missing)) if missing == floor.to_string() => {
            TrustRootError::FloorMissing { floor }
        }
        Ok(_) | Err(SourceError::Missing(_)) => TrustRootError::FloorOffChain {
            floor,
            introduction,
        },
        Err(error) => return Err(error),
    }))
}
