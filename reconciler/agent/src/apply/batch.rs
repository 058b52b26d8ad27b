//! Carries out the batches of a run. For each batch, the agent observes the resources, computes the changes,
//! writes intents to the journal and applies the changes; `verify` then observes the resources again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use plumb_api::frame::ProgressState;
use plumb_api::plan::{Certainty, ChangeId, Op};
use plumb_api::read_back::ReadBacks;
use plumb_api::report::{AgentError, ErrorCode, Outcome};
use plumb_api::{Address, Digest, Kind, Observed, Spec};

use super::{Doing, Phase, Run, Step};
use crate::book::{CreationStep, Entry, Holder, Journal, Moment, Record};
use crate::dead_man::Armed;
use crate::error::{Result, fail};
use crate::observe::{differing, left_alone};
use crate::provider::{
    self, Batch, Effect, Inputs, Item, ItemChange, Lane, ObserveContext, inputs_after, is_refused,
};

impl Run<'_> {
    /// Carries out as many changes of the plan as possible. An error gives the reason why the run stopped
    /// early.
    pub(super) fn drive(&mut self) -> Result<Option<Armed>> {
        self.drive_phase()?;
        self.cut_off()
    }

    pub(super) fn drive_phase(&mut self) -> Result<()> {
        loop {
            while let Some(batch) = self.next_batch() {
                self.batch(&batch)?;
            }
            if self.settling.is_empty() {
                return Ok(());
            }
            self.settle()?;
        }
    }

    /// Skips the changes whose dependencies failed. Returns the indices of the next changes that can be made
    /// together, or `None` if no change is ready.
    fn next_batch(&mut self) -> Option<Vec<usize>> {
        let settling: BTreeSet<usize> = self.settling.iter().map(|work| work.step).collect();
        let mut outcomes: BTreeMap<ChangeId, Option<Outcome>> = BTreeMap::new();
        let mut ready = Vec::new();
        for (place, step) in self.steps.iter_mut().enumerate() {
            if step.outcome.is_none() {
                let mut waits = false;
                for id in &step.change.after {
                    match outcomes.get(id) {
                        Some(Some(Outcome::Applied | Outcome::Unchanged)) => {}
                        Some(Some(Outcome::Skipped(cause))) => {
                            step.outcome = Some(Outcome::Skipped(*cause));
                        }
                        Some(Some(_)) => step.outcome = Some(Outcome::Skipped(*id)),
                        _ => waits = true,
                    }
                }
                let waits = waits || !self.phase.allows(place);
                if step.outcome.is_none() && !waits && !settling.contains(&place) {
                    ready.push((place, provider::of(step.change.address.kind()).lane()));
                }
            }
            outcomes.insert(step.change.id, step.outcome.clone());
        }
        let lanes = || ready.iter().map(|(_, lane)| *lane);
        let chosen = lanes()
            .find(|lane| !matches!(lane, Lane::Last(_)))
            .or_else(|| lanes().min())?;
        // A later lane reads resources that are still settling, so it has to wait.
        let lane_of = |place: &usize| {
            let kind = self.steps[*place].change.address.kind();
            provider::of(kind).lane()
        };
        if matches!(chosen, Lane::Last(_)) && settling.iter().any(|one| lane_of(one) < chosen) {
            return None;
        }
        Some(
            ready
                .into_iter()
                .filter(|(_, lane)| *lane == chosen)
                .map(|(place, _)| place)
                .collect(),
        )
    }

    /// Fails if the run must not make its next change: the connection to the controller is lost, or another
    /// controller or epoch has taken over the host.
    pub(super) fn gate(&self) -> Result<()> {
        // Under the dead-man timer, the changes may be what ended the connection. They are made to their end, and
        // the timer puts them back.
        let guarded = matches!(self.phase, Phase::CutOff(_));
        if self.wire.is_gone() && !guarded {
            return fail(
                ErrorCode::Io,
                "the controller went away, so the run stopped after the change it was at",
            );
        }
        Holder::still(self.home, &self.request.fence)
    }

    pub(super) fn record(&mut self, records: &[Record]) -> Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(records)?;
        }
        for record in records {
            self.ledger.absorb(record);
        }
        Ok(())
    }

    fn sync_journal(&self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), Journal::sync)
    }

    /// Observes the resources of the given steps again, after reloading accounts and unit states.
    pub(super) fn look(&mut self, places: &[usize]) -> Vec<Result<Observed>> {
        let items: Vec<Item<'_>> = places
            .iter()
            .map(|place| Item {
                address: &self.steps[*place].change.address,
                spec: &self.steps[*place].spec,
            })
            .collect();
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        let context = ObserveContext::new(self.sys, &self.ledger.owners, inputs, &items);
        let outcomes = context.observe(&items);
        self.context.accounts = context.accounts;
        outcomes
    }

    pub(super) fn conclude(&mut self, place: usize, outcome: Outcome) {
        let step = &mut self.steps[place];
        let state = match &outcome {
            Outcome::Applied => Some(ProgressState::Finished),
            Outcome::Failed(_) => Some(ProgressState::Failed),
            _ => None,
        };
        step.outcome = Some(outcome);
        if let Some(state) = state {
            self.wire.progress(&step.change.address, state);
        }
    }

    /// Carries out one batch; an error ends the run.
    fn batch(&mut self, places: &[usize]) -> Result<()> {
        self.gate()?;
        let outcomes = self.look(places);
        let mut doing = Vec::new();
        let mut settled = Vec::new();
        for (&place, outcome) in places.iter().zip(outcomes) {
            match self.judge(place, outcome) {
                Ok(Some(work)) => doing.push(work),
                Ok(None) => {
                    settled.push(self.settled(place, None, ReadBacks::default()));
                    self.conclude(place, Outcome::Unchanged);
                }
                Err(error) => self.conclude(place, Outcome::Failed(error)),
            }
        }
        self.record(&settled)?;
        let doing = self.admit(doing);
        if doing.is_empty() {
            return Ok(());
        }
        let mut doing = self.intend(doing)?;
        let stopped = self.act(&mut doing).err();
        let (settling, done) = doing
            .into_iter()
            .partition(|work| stopped.is_none() && self.has_to_settle(work));
        self.settling.extend::<Vec<Doing>>(settling);
        self.verify(done)?;
        stopped.map_or(Ok(()), Err)
    }

    /// Compares an observed resource with the step's spec. Returns the change to make, or `None` if the
    /// resource is already as desired.
    fn judge(&self, place: usize, observed: Result<Observed>) -> Result<Option<Doing>> {
        let step = &self.steps[place];
        let observed = observed?;
        let address = &step.change.address;
        let entry = self.ledger.entry(address);
        let spare = spared(step, entry, &observed);
        let spec = spare.as_ref().unwrap_or(&*step.spec);
        let fields = differing(step.direction(), spec, entry, &observed);
        if fields.is_empty() || step.digest.is_some() && left_alone(spec, entry, &fields) {
            return Ok(None);
        }
        // If an earlier change of the plan determines this resource's state, the plan couldn't compute its
        // precondition.
        let exact = step.change.certainty == Certainty::Exact;
        if let Some(expected) = step.change.precondition.filter(|_| exact) {
            let found = observed
                .digest()
                .map_err(|error| AgentError::new(ErrorCode::Internal, error.to_string()))?;
            if found != expected {
                return fail(
                    ErrorCode::PreconditionFailed,
                    format!(
                        "{address} isn't as it was when the plan was made; the next plan sees what it is now"
                    ),
                );
            }
        }
        Ok(Some(Doing {
            step: place,
            spare,
            observed,
            fields,
            refused: Vec::new(),
            before: entry.cloned(),
            original: None,
            inputs: None,
            effect: None,
            since: Instant::now(),
        }))
    }

    /// Marks as failed each change that the host refuses as a whole. Returns the other changes, without the
    /// fields that the host refuses.
    fn admit(&mut self, mut doing: Vec<Doing>) -> Vec<Doing> {
        for work in &mut doing {
            if self.steps[work.step].digest.is_none() {
                let entry = work.before.as_ref();
                work.original = entry.and_then(|entry| entry.original.clone());
            }
        }
        let items: Vec<Item<'_>> = doing
            .iter()
            .map(|work| Item {
                address: &self.steps[work.step].change.address,
                spec: work.spec(&self.steps[work.step]),
            })
            .collect();
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        let context = ObserveContext::new(self.sys, &self.ledger.owners, inputs, &items);
        let changes = doing.iter().map(|work| work.change(&self.steps[work.step]));
        let verdicts: Vec<_> = changes
            .map(|change| provider::check_change(&context, &change))
            .collect();
        let mut admitted = Vec::new();
        for (mut work, verdict) in doing.into_iter().zip(verdicts) {
            match verdict {
                Ok(refused) => {
                    work.fields
                        .retain(|change| !is_refused(&refused, &change.field));
                    work.refused = refused;
                    admitted.push(work);
                }
                Err(error) => self.conclude(work.step, Outcome::Failed(error)),
            }
        }
        admitted
    }

    /// Stores the originals of resources that Plumb changes for the first time, writes the intents to the
    /// journal and syncs it. Returns the changes whose intent was written.
    fn intend(&mut self, doing: Vec<Doing>) -> Result<Vec<Doing>> {
        let mut intents = Vec::new();
        let mut intended = Vec::new();
        let mut counter = self.ledger.counter;
        let at = Moment::now();
        let originals = self.capture(&doing);
        for (work, original) in doing.into_iter().zip(originals) {
            let step = &self.steps[work.step];
            let address = step.change.address.clone();
            let original = match original {
                Ok(original) => original,
                Err(error) => {
                    self.conclude(work.step, Outcome::Failed(error));
                    continue;
                }
            };
            counter += 1;
            let desired = step.digest.map(|_| work.spec(step));
            intents.push(Record::Intent {
                generation: counter,
                at: at.clone(),
                original,
                pending: desired.map_or_else(BTreeSet::new, |spec| creation_steps(spec, &work)),
                spec: desired.cloned().map(Box::new),
                address,
            });
            intended.push(work);
        }
        self.record(&intents)?;
        self.sync_journal()?;
        Ok(intended)
    }

    /// Applies the changes. An error says why the run stopped before the rest of the batch.
    fn act(&mut self, doing: &mut [Doing]) -> Result<()> {
        let kinds: Vec<Kind> = doing
            .iter()
            .map(|work| self.steps[work.step].change.address.kind())
            .collect();
        let mut stopped = Ok(());
        let mut rest = &mut doing[..];
        while !rest.is_empty() {
            stopped = self.gate();
            if stopped.is_err() {
                break;
            }
            let step = self.in_one_step(rest);
            let (now, later) = std::mem::take(&mut rest).split_at_mut(step);
            self.perform(now);
            let started: Vec<Record> = now.iter().filter_map(|work| self.started(work)).collect();
            if !started.is_empty() {
                self.record(&started)?;
                self.sync_journal()?;
            }
            rest = later;
        }
        // Run the closing step of each resource type, once per batch. If it fails, every change of that type
        // fails.
        for kind in kinds.iter().collect::<BTreeSet<_>>() {
            let is_made = |work: &Doing| {
                self.steps[work.step].change.address.kind() == *kind
                    && matches!(work.effect, Some(Ok(_)))
            };
            let made: Vec<ItemChange<'_>> = doing
                .iter()
                .filter(|work| is_made(work))
                .map(|work| work.change(&self.steps[work.step]))
                .collect();
            if made.is_empty() {
                continue;
            }
            if let Err(error) = provider::of(*kind).settle(&mut self.context, &made) {
                for work in doing.iter_mut().filter(|work| is_made(work)) {
                    work.effect = Some(Err(error.clone()));
                }
            }
        }
        self.context.sync_directories()?;
        let records = std::mem::take(&mut self.context.records);
        self.record(&records)?;
        stopped
    }

    /// Returns how many changes, counted from the first, the provider applies in one call.
    fn in_one_step(&self, doing: &[Doing]) -> usize {
        let kind = |work: &Doing| self.steps[work.step].change.address.kind();
        let Some(first) = doing.first().map(kind) else {
            return 0;
        };
        let provider = provider::of(first);
        let joins = |work: &&Doing| {
            let step = &self.steps[work.step];
            kind(work) == first && provider.joins(work.spec(step), &work.fields)
        };
        match provider.batch() {
            Batch::Whole => doing.len(),
            Batch::Each => doing.iter().take_while(joins).count().max(1),
        }
    }

    /// Passes changes of one type to their provider, and stores the effect of each change.
    fn perform(&mut self, doing: &mut [Doing]) {
        let mut work = Vec::new();
        for doing in doing.iter_mut() {
            let step = &self.steps[doing.step];
            let address = &step.change.address;
            self.wire.progress(address, ProgressState::Started);
            if step.digest.is_some() {
                let inputs = Inputs {
                    desired: self.desired,
                    ledger: &self.ledger,
                };
                let own = doing.observed.own_address();
                doing.inputs = inputs.marks(address, own.as_ref(), &step.spec);
            }
        }
        for doing in doing.iter() {
            work.push(doing.change(&self.steps[doing.step]));
        }
        let Some(kind) = work.first().map(|work| work.address.kind()) else {
            return;
        };
        let since = Instant::now();
        let effects = provider::of(kind).apply(&mut self.context, &work);
        drop(work);
        for (doing, effect) in doing.iter_mut().zip(effects) {
            doing.since = since;
            doing.effect = Some(effect);
        }
    }

    /// Returns the journal record for a service or command that was just started or reloaded, or `None` for
    /// other changes. This record must be on disk before the next change, so that a later run doesn't repeat
    /// the start.
    fn started(&self, work: &Doing) -> Option<Record> {
        let step = &self.steps[work.step];
        let Some(Ok(effect @ (Effect::Started | Effect::Reloaded))) = &work.effect else {
            return None;
        };
        Some(Record::Started {
            address: step.change.address.clone(),
            inputs: self.inputs_after(work, *effect)?,
        })
    }

    pub(super) fn inputs_after(
        &self,
        work: &Doing,
        effect: Effect,
    ) -> Option<BTreeMap<Address, Digest>> {
        let step = &self.steps[work.step];
        let address = &step.change.address;
        let before = self
            .ledger
            .entry(address)
            .and_then(|entry| entry.inputs.as_ref());
        let now = work.inputs.clone()?;
        Some(inputs_after(address, &step.spec, before, now, effect))
    }
}

/// Returns the steps that belong to the creation of a resource, such as making a user's home. Returns none if
/// the resource exists already.
fn creation_steps(spec: &Spec, work: &Doing) -> BTreeSet<CreationStep> {
    if work.observed.exists() || spec.wants_absent() {
        return BTreeSet::new();
    }
    provider::of(spec.kind()).creation_steps(spec)
}

/// Returns the spec without the fields that differ from the host but that the plan doesn't change, or `None`
/// if there are no such fields. This way, drift that the plan leaves alone stays, even if the run changes
/// other fields of the resource.
fn spared(step: &Step<'_>, entry: Option<&Entry>, observed: &Observed) -> Option<Spec> {
    let change = step.change;
    let exact = change.op == Op::Update && change.certainty == Certainty::Exact;
    if step.digest.is_none() || !exact || change.fields.is_empty() {
        return None;
    }
    let all = differing(step.direction(), &step.spec, entry, observed);
    let named = |field: &str| change.fields.iter().any(|planned| planned.field == field);
    let held: Vec<&str> = all
        .iter()
        .map(|field| field.field.as_str())
        .filter(|field| !named(field))
        .collect();
    if held.is_empty() {
        None
    } else {
        step.spec.without(&held)
    }
}
