//! The failures of a run by resource, with similar failures grouped under one cause.

use plumb_api::Address;
use plumb_api::report::{AgentError, ChangeResult, Outcome};

use crate::message::Message;
use crate::plan::Planned;
use crate::reason::ConditionReason;
use crate::status::{ResourceFailure, ResourceWait};

/// Maximum number of causes in a status.
const CAUSES: usize = 50;

/// Maximum number of addresses per cause in a status.
const NAMED: usize = 20;

/// Maximum length of a cause's message in a status, in characters.
const MESSAGE: usize = 1500;

/// The failures of one run, by resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceReport {
    /// Desired resources that fail, grouped by cause.
    pub failing: Vec<ResourceFailure>,
    /// Desired resources whose change wasn't attempted, grouped by what they wait for.
    pub waiting: Vec<ResourceWait>,
    /// Resources that are no longer desired and that the run couldn't remove or restore. They don't count as
    /// failures.
    pub give_backs: Vec<(Address, AgentError)>,
}

impl ResourceReport {
    /// Creates the report of a run from its plan and the results of its changes.
    pub fn of(planned: &Planned, results: &[ChangeResult]) -> Self {
        let mut report = Self::default();
        for result in results {
            match &result.outcome {
                Outcome::Failed(error) => report.fails(planned, &result.address, error),
                Outcome::Skipped(because) => {
                    let mut changes = planned.plan.changes.iter();
                    let on = changes.find(|change| change.id == *because);
                    let on = on.map_or_else(String::new, |change| planned.name(&change.address));
                    report.waits(planned, &result.address, on);
                }
                Outcome::Stopped => {
                    report.waits(planned, &result.address, "the next run".to_owned());
                }
                Outcome::Applied | Outcome::Unchanged => {}
            }
        }
        for troubled in &planned.problems {
            report.fails(planned, &troubled.address, &troubled.error);
        }
        for blocked in &planned.blocked {
            report.waits(planned, &blocked.address, planned.name(&blocked.on));
        }
        report
    }

    fn fails(&mut self, planned: &Planned, address: &Address, error: &AgentError) {
        if planned.leaving.contains(address) {
            if self.give_backs.len() < CAUSES {
                self.give_backs.push((address.clone(), error.clone()));
            }
            return;
        }
        let reason = ConditionReason::from(error.code);
        let alike = |message: &str, of: &str| {
            let name = of.split_once(':').map_or(of, |(_, name)| name);
            message.replace(name, "")
        };
        let message = Message::new(error.message.chars().take(MESSAGE).collect::<String>())
            .with_hint(error.hint.clone());
        let key = alike(&message.full_text(), &address.to_string());
        let known = self.failing.iter_mut().find(|known| {
            let first = known.resources.first().map_or("", String::as_str);
            let first = first.split(" (from ").next().unwrap_or_default();
            known.reason == reason && alike(&known.message.full_text(), first) == key
        });
        let name = planned.name(address);
        if let Some(known) = known {
            known.count = known.count.saturating_add(1);
            if known.resources.len() < NAMED {
                known.resources.push(name);
            }
        } else if self.failing.len() < CAUSES {
            self.failing.push(ResourceFailure {
                resources: vec![name],
                count: 1,
                reason,
                message,
            });
        } else if let Some(last) = self.failing.last_mut() {
            last.count = last.count.saturating_add(1);
        }
    }

    fn waits(&mut self, planned: &Planned, address: &Address, on: String) {
        if planned.leaving.contains(address) {
            return;
        }
        let name = planned.name(address);
        if let Some(known) = self.waiting.iter_mut().find(|known| known.on == on) {
            known.count = known.count.saturating_add(1);
            if known.resources.len() < NAMED {
                known.resources.push(name);
            }
        } else if self.waiting.len() < CAUSES {
            self.waiting.push(ResourceWait {
                resources: vec![name],
                count: 1,
                on,
            });
        }
    }

    /// Returns the message of the failure `lead`, with the names of the other failing and waiting resources in
    /// the detail.
    pub(super) fn message(&self, lead: &ResourceFailure) -> Message {
        let address = lead.resources.first().map_or("", String::as_str);
        let mut message = lead.message.about(address);
        let others = self.failing.iter().flat_map(|one| &one.resources);
        let names = others.filter(|name| name.as_str() != address);
        let count: u32 = self.failing.iter().map(|one| one.count).sum();
        if count > 1 {
            message = message.with_detail(format!(
                "{} more {}: {}",
                count - 1,
                if count == 2 { "fails" } else { "fail" },
                listed(names, count - 1)
            ));
        }
        if !self.waiting.is_empty() {
            message = message.with_detail(self.waits_for());
        }
        message
    }

    /// Returns a phrase that says which resources wait, and for what.
    pub(super) fn waits_for(&self) -> String {
        let names = self.waiting.iter().flat_map(|one| &one.resources);
        let count: u32 = self.waiting.iter().map(|one| one.count).sum();
        let on: Vec<&str> = self.waiting.iter().map(|one| one.on.as_str()).collect();
        format!(
            "{} {} for {}",
            listed(names, count),
            if count == 1 { "waits" } else { "wait" },
            on.join(", ")
        )
    }
}

/// Returns the first three names and the number of the others.
fn listed<'a>(names: impl Iterator<Item = &'a String>, count: u32) -> String {
    let shown: Vec<&str> = names.take(3).map(String::as_str).collect();
    match count as usize - shown.len().min(count as usize) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
#[path = "resource_report/tests.rs"]
mod tests;
