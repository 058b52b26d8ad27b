//! Finds the fields of other resources that a run's changes altered: a file whose owner got another uid, or a
//! group that `userdel` removed together with its user. These differences aren't drift, and the next plan
//! corrects them as intent.

use std::collections::BTreeSet;

use plumb_api::Address;
use plumb_api::report::{AgentError, ErrorCode, Outcome};

use super::{Run, Step};
use crate::book::Record;
use crate::error::Result;
use crate::observe::left_alone;
use crate::provider::{self, Inputs, Item, ObserveContext};

impl Run<'_> {
    /// Observes confirmed resources again and records the fields in which they differ from git now. Resources in
    /// `differing`, which differed when the run began, are left out. Fails if anything was recorded: a change of
    /// this run has undone them, and only the next run corrects them.
    pub(super) fn note_moved(&mut self, differing: &BTreeSet<Address>) -> Result<()> {
        let reaches_others = self.steps.iter().any(|step| {
            step.outcome == Some(Outcome::Applied)
                && (step.spec.invalidates() || step.digest.is_none())
        });
        if !reaches_others {
            return Ok(());
        }
        let planned: BTreeSet<&Address> =
            self.steps.iter().map(|step| &step.change.address).collect();
        let items: Vec<Item<'_>> = self
            .desired
            .iter()
            .filter(|(address, leaf)| {
                let entry = self.ledger.entry(address);
                let confirmed = entry.and_then(|entry| entry.digest) == Some(leaf.digest);
                confirmed && !planned.contains(address) && !differing.contains(address)
            })
            .map(|(address, leaf)| Item {
                address,
                spec: &leaf.spec,
            })
            .collect();
        if items.is_empty() {
            return Ok(());
        }
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        let context = ObserveContext::new(self.sys, &self.ledger.owners, inputs, &items);
        let mut records = Vec::new();
        let mut moved = Vec::new();
        for (item, observed) in items.iter().zip(context.observe(&items)) {
            let Ok(observed) = observed else { continue };
            let kind = item.address.kind();
            let all = provider::of(kind).compare(item.spec, &observed);
            if left_alone(item.spec, self.ledger.entry(item.address), &all) {
                continue;
            }
            let reactions = kind.reaction_fields();
            let fields: BTreeSet<String> = all
                .into_iter()
                .map(|change| change.field)
                .filter(|field| !reactions.contains(&field.as_str()))
                .filter(|field| !item.spec.by_itself(&observed, field))
                .collect();
            if !fields.is_empty() {
                moved.push(item.address.to_string());
                records.push(Record::Moved {
                    address: item.address.clone(),
                    fields,
                });
            }
        }
        for record in &records {
            self.ledger.absorb(record);
        }
        let failed = |step: &Step<'_>| matches!(step.outcome, Some(Outcome::Failed(_)));
        // The controller retries a run that has failed changes anyway.
        if moved.is_empty() || self.steps.iter().any(failed) {
            return Ok(());
        }
        Err(AgentError::new(
            ErrorCode::PreconditionFailed,
            format!(
                "this run's own changes changed {} too; the next run puts that right",
                moved.join(", ")
            ),
        ))
    }
}
