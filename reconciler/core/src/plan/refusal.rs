//! When nothing may be done on a host at all.

use plumb_api::frame::{LedgerState, ObserveReport};
use plumb_api::{Address, Digest};

use super::change::Draft;
use crate::desired::{DesiredState, Existing, HostIntent, Lifecycle};
use crate::reason::ConditionReason;

/// Why nothing may be done on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its ledger can't be trusted: what Plumb made there can't be told from what was there before.
    #[error("the ledger on the host can't be used: {0}")]
    LedgerLost(String),
    /// Nothing is desired of it and Plumb has made things there.
    #[error(
        "nothing is desired of this host any more, and Plumb has made {resources} resources there"
    )]
    Empty {
        /// How many the ledger holds.
        resources: u32,
    },
    /// Things are there that Plumb didn't make, and `existing: refuse` keeps them.
    #[error("{} is there already and differs from what is desired{}", .addresses.first().map_or_else(String::new, ToString::to_string), more(.addresses))]
    Existing {
        /// What is there.
        addresses: Vec<Address>,
    },
    /// Something else is at work there.
    #[error("the host is busy: {0}")]
    Waiting(String),
    /// It was compared with another state than this one.
    #[error(
        "the host compared itself with another desired state ({reported}) than this one ({wanted})"
    )]
    OtherTarget {
        /// What it was compared with.
        reported: Digest,
        /// What is desired.
        wanted: Digest,
    },
}

fn more(addresses: &[Address]) -> String {
    match addresses.len() {
        0 | 1 => String::new(),
        n => format!(", and so {} others", n - 1),
    }
}

impl Refusal {
    /// The reason of the host's conditions; it owns when the run is tried again.
    pub fn reason(&self) -> ConditionReason {
        match self {
            Self::LedgerLost(_) => ConditionReason::LedgerLost,
            Self::Empty { .. } => ConditionReason::EmptyDesiredState,
            Self::Existing { .. } => ConditionReason::ExistingDiffers,
            Self::Waiting(_) => ConditionReason::Waiting,
            Self::OtherTarget { .. } => ConditionReason::OtherTarget,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty { .. } => Some(
                "to take back what Plumb made write `state: retired`; to leave it as it is delete the Host from git",
            ),
            Self::Existing { .. } => Some(
                "write `existing: keep` to keep the originals and manage them, or make the manifest say what is there",
            ),
            Self::LedgerLost(_) | Self::Waiting(_) | Self::OtherTarget { .. } => None,
        }
    }
}

/// What stands against any change, before differences are looked at.
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

/// What `existing: refuse` stands against: things found at first contact that would be changed.
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
