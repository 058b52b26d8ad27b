//! Adds the records of a run: its changes, drift, failures and warnings.

use plumb_api::HostName;
use plumb_api::plan::Cause;

use super::Step;
use super::run::{RunEnd, RunReport};
use super::run_verdict::FailureSummary;
use crate::message::Message;
use crate::plan::Planned;
use crate::reason::ConditionReason;
use crate::status::{ConditionType, ResourceFailure};
use crate::view::EventKind;

/// Maximum number of causes of failures that get a record of their own in a run. One more record covers the
/// rest.
const TOLD: usize = 10;

impl Step<'_> {
    /// Records changes, drift and failures. A run without any of these adds no record.
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
        if let Some(made) = &report.interrupted {
            let mut made: Vec<String> = made.iter().map(ToString::to_string).collect();
            if made.is_empty() {
                made = self.no_longer_differing(name, report);
            }
            let message = match made.as_slice() {
                [] => "an interrupted run changed the host".to_owned(),
                made => format!("made by an interrupted run: {}", first_of(made)),
            };
            let (kind, reason) = (EventKind::Normal, ConditionReason::Applied);
            self.record(Some(name), kind, reason, message, revision());
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
            // Failing resources have records of their own.
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

    /// Returns the resources that differed after the previous run and no longer differed when this run
    /// observed them.
    fn no_longer_differing(&self, name: &HostName, report: &RunReport) -> Vec<String> {
        let open = report.planned.as_ref().map(Planned::differing);
        let is_open = |address: &String| {
            let open = open.iter().flatten();
            open.into_iter().any(|open| open.to_string() == *address)
        };
        let host = self.state.hosts.get(name);
        let before = host.into_iter().flat_map(|host| &host.differing);
        before.filter(|one| !is_open(one)).cloned().collect()
    }

    /// Records each failure, and each failed removal or restoration, that the previous run didn't have. Also
    /// records the resources that were dropped from the ledger.
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
            let names = first_of(&failure.resources);
            records.push((failure.reason, failure.message.about(&names)));
        }
        if let Some(first) = new.get(TOLD) {
            let more = new.len() - TOLD;
            let hint = format!("run `plumb describe host {name}` to list them");
            let message = Message::new(format!("{more} more causes")).with_hint(Some(hint));
            records.push((first.reason, message));
        }
        for (address, error) in &report.resources.give_backs {
            let reason = ConditionReason::from(error.code);
            let known = host
                .give_backs
                .iter()
                .any(|known| known.resource == *address && known.reason == reason);
            if !known {
                let mut message =
                    Message::new(format!("{address} can't be given back: {}", error.message));
                if let Some(hint) = &error.hint {
                    message = message.with_detail(hint.clone());
                }
                let hint = format!(
                    "it is tried again at each resync; run `plumb forget {name} {address}` to drop it"
                );
                let message = message.with_hint(Some(hint));
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

    /// Records warnings of the host. A warning that stays is recorded once.
    fn record_warnings(&mut self, name: &HostName, report: &RunReport) {
        // Only a run with changes can report warnings. Other runs don't end a warning.
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

/// Returns the first three addresses and the number of the others.
pub(super) fn first_of(all: &[String]) -> String {
    match all.len() {
        0..=3 => all.join(", "),
        n => format!("{} and {} more", all[..3].join(", "), n - 3),
    }
}
