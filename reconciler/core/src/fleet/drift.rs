//! The drift that a run found, and what still differs after it.

use plumb_api::Address;

use super::host::Drift;
use super::run::{ChangeOutcome, RunReport};
use super::run_records::first_of;
use crate::plan::Planned;
use crate::reason::ConditionReason;

/// The longest detail of a condition, in bytes.
const MAX_DETAIL: usize = 4096;

/// The number of differing addresses in a status.
const NAMED: usize = 20;

/// Returns the drift that a driving run found, and the number of runs in a row with drift. Drift that stays
/// is reported at once; corrected drift only if it recurs after a correction.
pub(super) fn drift_of(
    report: &RunReport,
    planned: &Planned,
    before: Option<&Drift>,
    runs: u32,
) -> (Drift, u32) {
    let names =
        |all: Vec<&Address>| -> Vec<String> { all.into_iter().map(ToString::to_string).collect() };
    let held = planned.reportable_drift().map(|held| &held.address);
    let held = names(held.collect());
    let mut corrected = Vec::new();
    let mut remaining = Vec::new();
    for change in planned.corrections() {
        if report.applied().any(|applied| applied.id == change.id) {
            corrected.push(&change.address);
        } else {
            remaining.push(&change.address);
        }
    }
    let (corrected, remaining) = (names(corrected), names(remaining));
    // Drift that the last run couldn't correct is still the same drift.
    let uncorrected = before.is_some_and(|drift| {
        matches!(
            drift.reason,
            ConditionReason::DriftCorrecting | ConditionReason::DriftRemains
        )
    });
    let runs = match (corrected.is_empty(), remaining.is_empty()) {
        (true, true) => 0,
        (false, true) if uncorrected => 1,
        _ => runs.saturating_add(1),
    };
    let (reason, message) = if !held.is_empty() {
        (
            ConditionReason::DriftHeld,
            format!(
                "{} drifted, not corrected (drift mode: alert)",
                first_of(&held)
            ),
        )
    } else if !remaining.is_empty() && runs == 1 {
        (
            ConditionReason::DriftCorrecting,
            format!("{} drifted, not corrected yet", first_of(&remaining)),
        )
    } else if !remaining.is_empty() {
        (
            ConditionReason::DriftRemains,
            format!(
                "{} drifted, not corrected in {runs} runs",
                first_of(&remaining)
            ),
        )
    } else if runs > 1 {
        (
            ConditionReason::DriftRecurs,
            format!(
                "{} drifted again, {runs} runs in a row",
                first_of(&corrected)
            ),
        )
    } else if runs == 1 {
        (
            ConditionReason::DriftCorrected,
            format!("{} drifted, corrected", first_of(&corrected)),
        )
    } else {
        (ConditionReason::NoDrift, "no drift was found".to_owned())
    };
    let all = [held, remaining, corrected].concat();
    let drift = Drift {
        reason,
        message,
        detail: lines_of(planned, &all),
    };
    (drift, runs)
}

/// Returns the lines in which the first of these resources differ from git.
fn lines_of(planned: &Planned, addresses: &[String]) -> Option<String> {
    let mut detail = String::new();
    let diffs = planned
        .diffs
        .iter()
        .filter(|(address, _)| addresses.contains(&address.to_string()));
    for (address, diff) in diffs {
        let lines = format!("{address}\n{diff}");
        if detail.len() + lines.len() > MAX_DETAIL {
            detail.push_str("… more in `plumb plan`\n");
            break;
        }
        detail.push_str(&lines);
    }
    (!detail.is_empty()).then_some(detail)
}

/// Returns the first addresses that still differ.
pub(super) fn differing(report: &RunReport, planned: &Planned) -> Vec<String> {
    let done: std::collections::BTreeSet<_> = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, ChangeOutcome::Applied | ChangeOutcome::Unchanged))
        .map(|(change, _)| &change.address)
        .collect();
    planned
        .differing()
        .into_iter()
        .filter(|address| !done.contains(address))
        .take(NAMED)
        .map(ToString::to_string)
        .collect()
}
