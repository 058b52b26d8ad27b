//! Reactions to other changes of the plan: restarts, reloads, commands and checks.

use std::collections::BTreeMap;

use plumb_api::frame::{Difference, DifferenceState};
use plumb_api::plan::{Cause, Consequence};
use plumb_api::resource::Couplings;
use plumb_api::{Address, Spec};

use super::cause;
use super::change::Draft;
use crate::desired::DesiredState;

/// Adds to each resource its reactions to other changes of the plan. A resource without a change gets a new
/// one for them.
pub(super) fn predict(
    goal: &DesiredState,
    found: &BTreeMap<&Address, &Difference>,
    couplings: &Couplings,
    drafts: &mut BTreeMap<Address, Draft>,
) {
    for (address, resource) in goal.resources() {
        let spec = resource.spec();
        let Some(reaction) = reaction(address, spec, couplings, drafts) else {
            continue;
        };
        let difference = found.get(address);
        if let Some(draft) = drafts.get_mut(address) {
            // Its inputs change first, so the observed state may no longer hold when it runs.
            draft.unforeseen();
        }
        let observed = difference.and_then(|difference| difference.observed.as_ref());
        let known = difference.is_none_or(|d| d.state == DifferenceState::Differs);
        if known && spec.reacts(observed) {
            add(address, spec, reaction, drafts);
        }
    }
    if drafts.is_empty() {
        return;
    }
    for (address, resource) in goal.resources() {
        let spec = resource.spec();
        let known = found
            .get(address)
            .is_none_or(|d| d.state == DifferenceState::Differs);
        if let Some(effect) = spec.on_any_change(address.name()).filter(|_| known) {
            let reaction = Reaction {
                cause: Cause::Intent,
                effects: vec![effect],
            };
            add(address, spec, reaction, drafts);
        }
    }
}

/// The reaction of a resource to other changes.
struct Reaction {
    cause: Cause,
    effects: Vec<Consequence>,
}

fn add(address: &Address, spec: &Spec, reaction: Reaction, drafts: &mut BTreeMap<Address, Draft>) {
    let draft = drafts
        .entry(address.clone())
        .or_insert_with(|| Draft::run(address, spec, reaction.cause));
    for effect in reaction.effects {
        draft.react(effect);
    }
}

fn reaction(
    address: &Address,
    spec: &Spec,
    couplings: &Couplings,
    drafts: &BTreeMap<Address, Draft>,
) -> Option<Reaction> {
    let mut causes = Vec::new();
    let mut effects = Vec::new();
    for trigger in spec.triggers(address.name()) {
        if let Some(input) = drafts.get(&trigger.on) {
            causes.push(input.cause());
            effects.push(trigger.effect);
        }
    }
    for input in drafts.values() {
        if let Some(effect) = couplings.reaction(address, spec, input.address()) {
            causes.push(input.cause());
            effects.push(effect);
        }
    }
    (!effects.is_empty()).then(|| Reaction {
        cause: cause::united(causes.into_iter()),
        effects,
    })
}
