//! Refusals: the cases in which nothing may be changed on a host.

use plumb_api::frame::{LedgerState, ObserveReport};
use plumb_api::{Address, Digest};

use super::change::Draft;
use crate::desired::{DesiredState, Existing, HostIntent, Lifecycle};
use crate::reason::ConditionReason;

/// The reason why nothing may be changed on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ledger can't be trusted, so Plumb can't tell which resources it created itself.
    #[error("the ledger on the host can't be used: {0}")]
    LedgerLost(String),
    /// The desired state is empty, but the host has resources that Plumb created.
    #[error("the host has no resources in git any more, but Plumb still manages {resources} on it")]
    Empty {
        /// The number of resources in the ledger.
        resources: u32,
    },
    /// The plan would change resources that Plumb didn't create, and `existing: refuse` protects them.
    #[error("{} exists already and differs from the manifest{}", .addresses.first().map_or_else(String::new, ToString::to_string), more(.addresses))]
    Existing {
        /// The addresses of these resources.
        addresses: Vec<Address>,
    },
    /// Something else is at work on the host.
    #[error("the host is busy: {0}")]
    Waiting(String),
    /// The agent compared the host with another desired state.
    #[error("the agent compared the host with the desired state {reported}, not with {wanted}")]
    OtherTarget {
        /// The digest of the state that the agent used.
        reported: Digest,
        /// The digest of the desired state.
        wanted: Digest,
    },
}

fn more(addresses: &[Address]) -> String {
    match addresses.len() {
        0 | 1 => String::new(),
        n => format!(", as do {} others", n - 1),
    }
}

impl Refusal {
    /// Returns the reason for the host's conditions, which determines when the run is retried.
    pub fn reason(&self) -> ConditionReason {
        match self {
            Self::LedgerLost(_) => ConditionReason::LedgerLost,
            Self::Empty { .. } => ConditionReason::EmptyDesiredState,
            Self::Existing { .. } => ConditionReason::ExistingDiffers,
            Self::Waiting(_) => ConditionReason::Waiting,
            Self::OtherTarget { .. } => ConditionReason::OtherTarget,
        }
    }

    /// Returns advice on this refusal, if there is any.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty { .. } => Some(
                "write `state: retired` to remove them, or delete the Host from git to leave them",
            ),
            Self::Existing { .. } => Some(
                "write `existing: keep` to keep the originals and manage them, or change the manifest to match",
            ),
            Self::LedgerLost(_) | Self::Waiting(_) | Self::OtherTarget { .. } => None,
        }
    }
}

/// Returns a refusal for a reason other than the differences, if there is one.
pub(super) fn before(
    intent: &HostIntent,
    goal: &DesiredState,
    observed: &ObserveReport,
) -> Option<Refusal> {
    if let LedgerState::Lost(why) = &observed.ledger.state {
        return Some(Refusal::LedgerLost(why.clone()));
    }
    if observed.target != goal.digest() {
        return Some(Refusal::OtherTarget {
            reported: observed.target,
            wanted: goal.digest(),
        });
    }
    if let Some(waiting) = &observed.waiting {
        return Some(Refusal::Waiting(waiting.clone()));
    }
    let made = observed.ledger.resources;
    let retired = intent.lifecycle == Lifecycle::Retired;
    (goal.resources().is_empty() && made > 0 && !retired)
        .then_some(Refusal::Empty { resources: made })
}

/// Returns a refusal if the manifest says `existing: refuse` and a change would affect something that Plumb
/// didn't create.
pub(super) fn existing<'a>(
    intent: &HostIntent,
    drafts: impl Iterator<Item = &'a Draft>,
) -> Option<Refusal> {
    if intent.existing != Existing::Refuse {
        return None;
    }
    let addresses: Vec<_> = drafts
        .filter(|draft| draft.is_foreign())
        .map(|draft| draft.address().clone())
        .collect();
    (!addresses.is_empty()).then_some(Refusal::Existing { addresses })
}
