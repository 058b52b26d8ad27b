//! Ends a batch: the agent observes the resources again, determines the outcome of each change and records
//! it.

use plumb_api::plan::FieldChange;
use plumb_api::read_back::ReadBacks;
use plumb_api::report::{AgentError, ErrorCode, Outcome};
use plumb_api::resource::Content;
use plumb_api::{Address, Observed};

use super::{Doing, Run};
use crate::book::Record;
use crate::error::Result;
use crate::observe::differing;
use crate::provider::{self, Batch, Effect, RefusedField, is_refused, of_refused};

impl Run<'_> {
    /// Observes the changed resources again, records the outcomes in the ledger and reports them to the
    /// controller.
    pub(super) fn verify(&mut self, doing: Vec<Doing>) -> Result<()> {
        let (acted, stopped): (Vec<Doing>, Vec<Doing>) =
            doing.into_iter().partition(|work| work.effect.is_some());
        let mut records: Vec<Record> = stopped.into_iter().map(|work| self.cancel(work)).collect();
        let places: Vec<usize> = acted.iter().map(|work| work.step).collect();
        let observed = self.look(&places);
        for (work, observed) in acted.into_iter().zip(observed) {
            let place = work.step;
            let (outcome, read_back) = self.outcome(&work, &observed);
            let outcome = with_refused(outcome, &work.refused);
            match &outcome {
                Outcome::Applied => {
                    let done = (&work, observed.as_ref().ok());
                    records.push(self.settled(place, Some(done), read_back));
                }
                _ if observed
                    .as_ref()
                    .is_ok_and(|observed| *observed == work.observed) =>
                {
                    records.push(self.cancel(work));
                }
                _ => {}
            }
            self.conclude(place, outcome);
        }
        self.record(&records)
    }

    fn cancel(&self, work: Doing) -> Record {
        Record::Cancel {
            address: self.steps[work.step].change.address.clone(),
            entry: work.before.map(Box::new),
        }
    }

    /// Determines the outcome of a change from a new observation. Also returns the values that the host shows
    /// in another form than Plumb wrote them.
    fn outcome(&self, work: &Doing, observed: &Result<Observed>) -> (Outcome, ReadBacks) {
        let address = &self.steps[work.step].change.address;
        let plain = |outcome| (outcome, ReadBacks::default());
        let observed = match observed {
            Ok(observed) => observed,
            Err(error) => return plain(Outcome::Failed(error.clone())),
        };
        let provider = provider::of(address.kind());
        let entry = self.ledger.entry(address);
        let spec = work.spec(&self.steps[work.step]);
        let direction = self.steps[work.step].direction();
        let mut rest = differing(direction, spec, entry, observed);
        rest.retain(|change| !is_refused(&work.refused, &change.field));
        match &work.effect {
            Some(Ok(Effect::Left)) => plain(Outcome::Applied),
            // The batch failed as a whole, but this resource is as desired.
            Some(Err(_)) if rest.is_empty() && provider.batch() == Batch::Whole => {
                plain(Outcome::Applied)
            }
            Some(Err(error)) => plain(Outcome::Failed(error.clone())),
            Some(Ok(_)) => {
                // If a value changed but isn't the desired one, it is the form that the host gave to the
                // desired value.
                let (made, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|change| {
                    let before = work.fields.iter().find(|old| old.field == change.field);
                    provider.read_back_fields().contains(&change.field.as_str())
                        && before.is_some_and(|old| old.from != change.from)
                });
                if rest.is_empty() {
                    (Outcome::Applied, ReadBacks::of(&made))
                } else {
                    plain(Outcome::Failed(unchanged(address, &rest)))
                }
            }
            None => plain(Outcome::Stopped),
        }
    }

    /// Returns the record for a step whose resource is as desired: confirmed or, if nothing desires it any
    /// more, forgotten.
    pub(super) fn settled(
        &self,
        place: usize,
        done: Option<(&Doing, Option<&Observed>)>,
        read_back: ReadBacks,
    ) -> Record {
        let step = &self.steps[place];
        let address = step.change.address.clone();
        let Some(digest) = step.digest else {
            return Record::Forgotten { address };
        };
        let inputs = done.and_then(|(work, observed)| match (&work.effect, observed) {
            (Some(Ok(effect @ (Effect::Started | Effect::Reloaded))), _) => {
                self.inputs_after(work, *effect)
            }
            (_, Some(now)) if provider::of(address.kind()).has_read_inputs(now) => {
                self.inputs_after(work, Effect::Done)
            }
            _ => None,
        });
        Record::Confirmed {
            address,
            spec: Box::new(step.spec.clone().into_owned()),
            digest,
            original: None,
            inputs,
            read_back,
        }
    }

    /// Adds the records that need no change of the host to the ledger in memory: confirmed and forgotten
    /// resources, and the target if every resource is confirmed.
    pub(super) fn settle_ledger(&mut self, stopped: Option<&AgentError>) {
        let mut records = self.confirmations();
        for address in &self.request.plan.forget {
            if self.desired.get(address).is_none() {
                records.push(Record::Forgotten {
                    address: address.clone(),
                });
            }
        }
        for record in &records {
            self.ledger.absorb(record);
        }
        let whole = self.desired.iter().all(|(address, leaf)| {
            self.ledger.entry(address).and_then(|entry| entry.digest) == Some(leaf.digest)
        });
        if stopped.is_none() && whole {
            self.ledger.absorb(&Record::Whole {
                target: self.request.plan.target,
            });
        }
    }
}

/// Returns the outcome of a change, given the fields that the host refused: if there are any, the change
/// failed, even if its other fields were applied.
fn with_refused(outcome: Outcome, refused: &[RefusedField]) -> Outcome {
    let error = match &outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Applied | Outcome::Unchanged | Outcome::Skipped(_) | Outcome::Stopped => None,
    };
    match of_refused(refused, error) {
        Ok(()) => outcome,
        Err(error) => Outcome::Failed(error),
    }
}

/// Returns the error for a resource that still differs after its change. The error names no culprit, because
/// the agent can't tell what keeps the value.
fn unchanged(address: &Address, rest: &[FieldChange]) -> AgentError {
    let fields: Vec<String> = rest.iter().map(still).collect();
    let error = AgentError::new(
        ErrorCode::CommandFailed,
        format!(
            "{address} was changed and still differs: {}",
            fields.join(", ")
        ),
    );
    let kept = provider::of(address.kind()).read_back_fields();
    if rest
        .iter()
        .any(|change| kept.contains(&change.field.as_str()))
    {
        return error.hint("the host kept its value; write that one if it is what you mean");
    }
    error
}

/// Describes a field that still differs, for people.
fn still(change: &FieldChange) -> String {
    let show = |value: &Option<serde_json::Value>| match value {
        None => "nothing".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => match serde_json::from_value::<Content>(value.clone()) {
            Ok(content) => format!(
                "{} bytes with sha256 {:.12}…",
                content.size,
                content.sha256.to_string()
            ),
            Err(_) => value.to_string(),
        },
    };
    format!(
        "{} is {}, not {}",
        change.field,
        show(&change.from),
        show(&change.to)
    )
}
