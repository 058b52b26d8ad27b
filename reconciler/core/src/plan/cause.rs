//! Finds the cause of each difference (git, the host, or both) by a three-way comparison of each field: in the
//! desired spec, in the last confirmed spec and on the host.

use plumb_api::Spec;
use plumb_api::frame::Difference;
use plumb_api::plan::{Cause, FieldChange};

use crate::desired::{DriftMode, DriftPolicy};

/// A field that must change, with the cause of its difference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CausedField {
    pub(super) change: FieldChange,
    pub(super) cause: Cause,
}

/// The differing fields of a resource, grouped by their treatment in the plan.
#[derive(Debug, Default)]
pub(super) struct SortedFields {
    /// Fields that the plan changes.
    pub(super) changed: Vec<CausedField>,
    /// Drifted fields that the plan leaves as they are and reports.
    pub(super) told: Vec<FieldChange>,
    /// Drifted fields that the plan leaves as they are and doesn't report.
    pub(super) ignored: Vec<FieldChange>,
}

/// Groups the differing fields of a resource by drift settings and cause.
pub(super) fn judge(
    policy: &DriftPolicy,
    mode: DriftMode,
    spec: &Spec,
    difference: &Difference,
) -> SortedFields {
    // The controller compares the fields again, so that the plan doesn't depend on the host's own comparison.
    let mut fields = match &difference.observed {
        Some(observed) => difference.read_back.unexplained(spec.compare(observed)),
        None => difference.fields.clone(),
    };
    // For sets, the host's own comparison is used: only its ledger knows which elements Plumb added that git
    // no longer contains.
    let sets = spec.kind().sets();
    for told in &difference.fields {
        if !sets.contains(&told.field.as_str()) {
            continue;
        }
        match fields.iter_mut().find(|change| change.field == told.field) {
            Some(change) => *change = told.clone(),
            None => fields.push(told.clone()),
        }
    }
    // The agent doesn't report a resource with `manage: once` that it leaves alone. Only its ledger knows which
    // ones those are.
    let found = difference.observed.as_ref();
    let confirmed = difference.confirmed.as_ref();
    let drifted = match (confirmed, found) {
        (Some(confirmed), Some(observed)) => Some(
            difference
                .read_back
                .unexplained(confirmed.compare(observed)),
        ),
        (Some(_), None) => Some(fields.clone()),
        (None, _) => None,
    };
    let reactions = spec.kind().reaction_fields();
    let mut judged = SortedFields::default();
    for change in fields {
        let by_itself = found.is_some_and(|found| spec.by_itself(found, &change.field));
        let cause = if by_itself || reactions.contains(&change.field.as_str()) {
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
            _ => judged.changed.push(CausedField { change, cause }),
        }
    }
    judged
}

/// Returns the cause of one field's difference. `drifted` lists the differences between the host and the last
/// confirmed spec; `None` if no spec was confirmed.
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

/// Combines the causes of several fields: conflict wins over intent, and intent over drift.
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
