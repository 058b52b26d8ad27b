//! Who moved: git, the host, or both; by three-way comparison, field by field.

use plumb_api::Spec;
use plumb_api::frame::Difference;
use plumb_api::plan::{Cause, FieldChange};
use plumb_api::resource::Manage;

use crate::desired::{DriftMode, DriftPolicy};

/// A field that is to change, and who moved it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moved {
    pub(super) change: FieldChange,
    pub(super) cause: Cause,
}

/// What becomes of the fields in which a resource differs.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// They change.
    pub(super) changed: Vec<Moved>,
    /// They drifted, and are left for somebody to look at.
    pub(super) told: Vec<FieldChange>,
    /// They drifted, and nobody wants to hear of it.
    pub(super) ignored: Vec<FieldChange>,
}

/// Judges the fields in which a resource differs.
pub(super) fn judge(
    policy: &DriftPolicy,
    mode: DriftMode,
    spec: &Spec,
    difference: &Difference,
) -> Judged {
    // The comparison is made here again: a host's own word on what differs isn't needed for it.
    let fields = match &difference.observed {
        Some(observed) => spec.compare(observed),
        None => difference.fields.clone(),
    };
    let found = difference.observed.as_ref();
    if spec.manage() == Manage::Once && found.is_some_and(plumb_api::Observed::exists) {
        return Judged::default();
    }
    let confirmed = difference.confirmed.as_ref();
    let drifted = match (confirmed, found) {
        (Some(confirmed), Some(observed)) => Some(confirmed.compare(observed)),
        (Some(_), None) => Some(fields.clone()),
        (None, _) => None,
    };
    let reactions = spec.kind().reaction_fields();
    let mut judged = Judged::default();
    for change in fields {
        let cause = if reactions.contains(&change.field.as_str()) {
            Cause::Intent
        } else {
            cause_of(&change, drifted.as_deref())
        };
        let listed = policy.ignore.iter().any(|ignored| {
            ignored.address == difference.address
                && ignored.field.as_ref().is_none_or(|f| *f == change.field)
        });
        match (cause, mode) {
            (Cause::Drift, _) if listed => judged.ignored.push(change),
            (Cause::Drift, DriftMode::Ignore) => judged.ignored.push(change),
            (Cause::Drift, DriftMode::Alert) => judged.told.push(change),
            _ => judged.changed.push(Moved { change, cause }),
        }
    }
    judged
}

/// Who moved one field. `drifted` is how the host differs from what was last confirmed there; none
/// where nothing was.
fn cause_of(change: &FieldChange, drifted: Option<&[FieldChange]>) -> Cause {
    let Some(drifted) = drifted else {
        return Cause::Intent;
    };
    match drifted.iter().find(|old| old.field == change.field) {
        None => Cause::Intent,
        Some(old) if old.to == change.to => Cause::Drift,
        Some(_) => Cause::Conflict,
    }
}

/// The cause of a change whose fields moved for several: conflict before intent before drift.
pub(super) fn united(causes: impl Iterator<Item = Cause>) -> Cause {
    let mut all = Cause::Drift;
    for cause in causes {
        match cause {
            Cause::Conflict => return Cause::Conflict,
            Cause::Intent => all = Cause::Intent,
            Cause::Drift => {}
        }
    }
    all
}
