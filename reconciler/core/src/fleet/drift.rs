//! Computes the drift that a run found, and the resources that still differ after it.

use plumb_api::Address;

use super::host::Drift;
use super::run::{ChangeOutcome, RunReport};
use super::run_records::first_of;
use crate::message::Message;
use crate::plan::Planned;
use crate::reason::ConditionReason;

/// Maximum length of a condition's detail, in bytes.
const MAX_DETAIL: usize = 4096;

/// Maximum number of differing addresses in a status.
pub(super) const NAMED: usize = 20;

/// Returns the drift that a driving run found, and the number of consecutive runs with drift. Drift that the
/// run didn't correct makes the condition `Drifted` true at once; corrected drift does so only if it recurs.
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
    // Drift that the last run couldn't correct is still the same drift, so it doesn't count as a recurrence.
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
    let detail = lines_of(planned, &all).unwrap_or_default();
    let drift = Drift {
        reason,
        message: Message::new(message).with_detail(detail),
    };
    (drift, runs)
}

/// Returns the lines in which these resources differ from git, shortened to about [`MAX_DETAIL`] bytes.
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

/// Returns the addresses of resources that still differ after the run, at most [`NAMED`].
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
