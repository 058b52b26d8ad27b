//! What judging begins with: the introduction of the configuration, or the commit that was accepted
//! last. Where it isn't there, no commit of the branch can be judged, and none is to blame.
//!
//! The configuration is the operator's own, and is believed over what was kept: a floor that was
//! accepted from another introduction isn't taken as given. It stays a lower bound: what the new
//! introduction leads to must hold it, so that correcting the configuration never sets a fleet back.

use plumb_trust::source::{Source, SourceError};
use plumb_trust::{Oid, Outcome, Reason, ReasonCode, Verdict};

use crate::source::Look;

/// Why nothing of the branch can be judged.
#[derive(Debug, Clone)]
pub(crate) enum Unfounded {
    /// The introduction isn't in the repository.
    IntroductionMissing { introduction: Oid },
    /// It is there, and nothing can be judged from it.
    IntroductionUnusable { introduction: Oid, reason: Reason },
    /// What was accepted last isn't in the repository.
    FloorMissing { floor: Oid },
    /// What was accepted from another introduction isn't on what this one leads to.
    FloorOffChain { floor: Oid, introduction: Oid },
}

/// What to do where a repository was replaced on purpose.
const BEGIN_ANEW: &str = "to give up what was accepted on purpose, stop the controller, move state.redb out of its state folder and start it once with --take-over; each host still refuses to be set back";

impl Unfounded {
    /// The reason of a condition, in CamelCase.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::IntroductionMissing { .. } => "IntroductionMissing",
            Self::IntroductionUnusable { .. } => "IntroductionUnusable",
            Self::FloorMissing { .. } => "FloorMissing",
            Self::FloorOffChain { .. } => "FloorOffChain",
        }
    }

    /// What is wrong and what a person can do about it.
    pub(crate) fn message(&self, source: &str) -> String {
        match self {
            Self::IntroductionUnusable { reason, .. } => self.told(source, &reason.to_string()),
            _ => self.told(source, ""),
        }
    }

    /// The same for alerts: without the reason's text, which may quote what isn't trusted.
    pub(crate) fn because(&self, source: &str) -> String {
        match self {
            Self::IntroductionUnusable { reason, .. } => self.told(source, reason.code.as_str()),
            _ => self.told(source, ""),
        }
    }

    fn told(&self, source: &str, why: &str) -> String {
        match self {
            Self::IntroductionMissing { introduction } => format!(
                "the introduction {introduction} of the controller's configuration isn't in {source}; nothing is accepted: correct `introduction` or `source` there and restart the controller"
            ),
            Self::IntroductionUnusable { introduction, .. } => format!(
                "nothing can be judged from the introduction {introduction} of the controller's configuration ({why}), so nothing of {source} is accepted: it must be a commit on the branch with a trust/policy.yaml that holds; correct `introduction` there and restart the controller, or mend the branch"
            ),
            Self::FloorMissing { floor } => format!(
                "{floor}, which was accepted last, isn't in {source}; nothing new is accepted: push it again, for the branch was replaced or the address is another repository's; {BEGIN_ANEW}"
            ),
            Self::FloorOffChain {
                floor,
                introduction,
            } => format!(
                "{floor}, which was accepted last, isn't on what the introduction {introduction} of the controller's configuration leads to in {source}; nothing new is accepted: correct `introduction` there, or push a branch that holds both; {BEGIN_ANEW}"
            ),
        }
    }
}

/// Whether a verdict about the branch rests on something.
///
/// # Errors
/// When the source fails meanwhile.
pub(crate) async fn unfounded(
    source: &dyn Source,
    look: &Look,
    outcome: &Outcome,
) -> Result<Option<Unfounded>, SourceError> {
    let introduction = look.introduction;
    let lacking = outcome
        .revision()
        .is_none()
        .then(|| outcome.reasons.first())
        .flatten()
        .is_some_and(|reason| reason.code == ReasonCode::MissingObject);
    if let Some(floor) = look.floor {
        return Ok(lacking.then_some(Unfounded::FloorMissing { floor }));
    }
    if lacking {
        return Ok(Some(Unfounded::IntroductionMissing { introduction }));
    }
    let refused = outcome
        .reasons
        .iter()
        .find(|reason| reason.code.verdict() == Verdict::Reject);
    if let Some(reason) = refused {
        return Ok(Some(Unfounded::IntroductionUnusable {
            introduction,
            reason: reason.clone(),
        }));
    }
    let Some(floor) = look.bound.filter(|bound| outcome.off_chain.contains(bound)) else {
        return Ok(None);
    };
    Ok(Some(match source.descends(introduction, floor).await {
        Err(SourceError::Missing(missing)) if missing == floor => Unfounded::FloorMissing { floor },
        Ok(_) | Err(SourceError::Missing(_)) => Unfounded::FloorOffChain {
            floor,
            introduction,
        },
        Err(error) => return Err(error),
    }))
}
