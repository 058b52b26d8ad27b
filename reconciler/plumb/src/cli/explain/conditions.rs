//! The reasons of conditions and records with their meaning, for `plumb explain REASON`.

use plumb_core::reason::ConditionReason;

/// Lists every reason with its meaning.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let reasons = ConditionReason::ALL.iter();
    reasons.map(|reason| (reason.as_str(), reason.meaning()))
}
