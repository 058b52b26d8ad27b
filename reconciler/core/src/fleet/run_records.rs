//! The records of a run: its changes, its drift, its failures and the troubles of its host.

use plumb_api::HostName;
use plumb_api::plan::Cause;

use super::Step;
use super::run::{RunEnd, RunReport, with_hint};
use super::run_verdict::FailureSummary;
use crate::plan::Planned;
use crate::reason::ConditionReason;
use crate::status::{ConditionType, ResourceFailure};
use crate::view::EventKind;

/// The number of causes that a run records, each in a record of its own.
const TOLD: usize = 10;

impl Step<'_> {
    /// Records changes, drift and failures; a run without any leaves no record.
    pub(super) fn record_run(
        &mut self,
        name: &HostName,
        report: &RunReport,
        failure: Option<&FailureSummary>,
    ) {
        let revision = || Some(report.target.revision.clone());
        let applied = |intended: bool| -> Vec<String> {
            let changes = report.applied();
            changes
                .filter(|change| (change.cause == Cause::Intent) == intended)
                .map(|change| change.address.to_string())
                .collect()
        };
        let corrected = applied(false);
        if !corrected.is_empty() {
            let message = format!("drift corrected: {}", first_of(&corrected));
            let reason = ConditionReason::DriftCorrected;
            self.warn(Some(name), reason, message, revision());
        }
        let planned = report.planned.as_ref();
        let held: Vec<_> = planned
            .filter(|planned| planned.refusal.is_none())
            .into_iter()
            .flat_map(Planned::reportable_drift)
            .map(|held| held.address.to_string())
            .collect();
        let drifted = self.reason_of(name, ConditionType::Drifted);
        if !held.is_empty() && drifted != Some(ConditionReason::DriftHeld) {
            let message = format!("drift not corrected: {}", first_of(&held));
            self.warn(Some(name), ConditionReason::DriftFound, message, revision());
        }
        let intended = applied(true);
        if !intended.is_empty() {
            let count = intended.len();
            let changes = if count == 1 { "change" } else { "changes" };
            let message = format!("{count} {changes}: {}", first_of(&intended));
            let (kind, reason) = (EventKind::Normal, ConditionReason::Applied);
            self.record(Some(name), kind, reason, message, revision());
        }
        self.record_resources(name, report);
        self.record_warnings(name, report);
        let ready = self.reason_of(name, ConditionType::Ready);
        match failure {
            // Each failing resource has a record of its own.
            Some(_) if !report.resources.failing.is_empty() => {}
            Some((reason, message, _)) if ready != Some(*reason) => {
                self.warn(Some(name), *reason, message.clone(), revision());
            }
            None if report.end == RunEnd::Settled => {
                let recovered = ready.is_some_and(|ready| ready.retry().is_some());
                if recovered {
                    let message = "matches its target again".to_owned();
                    let (kind, reason) = (EventKind::Normal, ConditionReason::Recovered);
                    self.record(Some(name), kind, reason, message, revision());
                }
            }
            _ => {}
        }
    }

    /// Records each failure and each give-back that is new since the last run.
    fn record_resources(&mut self, name: &HostName, report: &RunReport) {
        let Some(host) = self.state.hosts.get(name) else {
            return;
        };
        let revision = || Some(report.target.revision.clone());
        let mut records = Vec::new();
        let is_new = |failure: &&ResourceFailure| {
            !host.failing.iter().any(|known| {
                known.reason == failure.reason
                    && known.resources.first() == failure.resources.first()
            })
        };
        let new: Vec<_> = report.resources.failing.iter().filter(is_new).collect();
        for failure in new.iter().take(TOLD) {
            let text = with_hint(failure.message.clone(), failure.hint.clone());
            let message = format!("{}: {text}", first_of(&failure.resources));
            records.push((failure.reason, message));
        }
        if let Some(first) = new.get(TOLD) {
            let more = new.len() - TOLD;
            let message = format!("{more} more causes; `plumb describe host {name}` lists them");
            records.push((first.reason, message));
        }
        for (address, error) in &report.resources.give_backs {
            let reason = ConditionReason::from(error.code);
            let known = host
                .give_backs
                .iter()
                .any(|known| known.resource == *address && known.reason == reason);
            if !known {
                let text = with_hint(error.message.clone(), error.hint.clone());
                let message = format!(
                    "{address} can't be given back: {text}; it is tried again at each resync, and `plumb forget {name} {address}` drops it"
                );
                records.push((ConditionReason::GiveBackFailed, message));
            }
        }
        for (reason, message) in records {
            self.warn(Some(name), reason, message, revision());
        }
        for address in &report.let_go {
            let message = format!("{address} is dropped from the ledger; it stays as it is");
            let (kind, reason) = (EventKind::Normal, ConditionReason::Forgotten);
            self.record(Some(name), kind, reason, message, revision());
        }
    }

    /// Records troubles of the host that failed no change, each once until it ends.
    fn record_warnings(&mut self, name: &HostName, report: &RunReport) {
        // Only a run that changed something could meet them.
        if report.outcomes.is_empty() {
            return;
        }
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        let known = std::mem::replace(&mut host.warnings, report.warnings.clone());
        for warning in report.warnings.iter().filter(|new| !known.contains(new)) {
            let revision = Some(report.target.revision.clone());
            self.warn(
                Some(name),
                ConditionReason::HostTrouble,
                warning.clone(),
                revision,
            );
        }
    }

    fn reason_of(&self, host: &HostName, kind: ConditionType) -> Option<ConditionReason> {
        let host = self.state.hosts.get(host)?;
        let condition = host.object.status.conditions.get(kind)?;
        Some(condition.reason)
    }
}

/// Lists the first addresses and counts the rest.
pub(super) fn first_of(all: &[String]) -> String {
    match all.len() {
        0..=3 => all.join(", "),
        n => format!("{} and {} more", all[..3].join(", "), n - 3),
    }
}
