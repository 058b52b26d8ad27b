//! What runs because something else of the plan changes: restarts and reloads.

use std::collections::BTreeMap;

use plumb_api::frame::{Difference, DifferenceState};
use plumb_api::plan::{Cause, Consequence};
use plumb_api::{Address, Spec};

use super::cause;
use super::change::Draft;
use crate::desired::DesiredState;

/// Adds to each resource that answers changes what it will do, as a change of its own where it has
/// none.
pub(super) fn predict(
    goal: &DesiredState,
    found: &BTreeMap<&Address, &Difference>,
    drafts: &mut BTreeMap<Address, Draft>,
) {
    for (address, resource) in goal.resources() {
        let spec = resource.spec();
        let Some(answer) = answer(address, spec, drafts) else {
            continue;
        };
        let difference = found.get(address);
        if let Some(draft) = drafts.get_mut(address) {
            // Its inputs move before it, so what was observed of it needn't be found any more.
            draft.unforeseen();
        }
        let observed = difference.and_then(|difference| difference.observed.as_ref());
        let known = difference.is_none_or(|d| d.state == DifferenceState::Differs);
        if !known || !spec.answers(observed) {
            continue;
        }
        let draft = drafts
            .entry(address.clone())
            .or_insert_with(|| Draft::run(address, answer.cause));
        for effect in answer.effects {
            draft.answer(effect);
        }
    }
}

/// What a resource does because inputs of it change.
struct Answer {
    cause: Cause,
    effects: Vec<Consequence>,
}

fn answer(address: &Address, spec: &Spec, drafts: &BTreeMap<Address, Draft>) -> Option<Answer> {
    let mut causes = Vec::new();
    let mut effects = Vec::new();
    for trigger in spec.triggers(address.name()) {
        if let Some(input) = drafts.get(&trigger.on) {
            causes.push(input.cause());
            effects.push(trigger.effect);
        }
    }
    if let Some(effect) = spec.fed(address.name()) {
        let feeding = drafts.values().filter(|draft| {
            let input = draft.address();
            input.kind().feeds(input.name()).contains(address)
        });
        for input in feeding {
            causes.push(input.cause());
            effects.push(effect.clone());
        }
    }
    (!effects.is_empty()).then(|| Answer {
        cause: cause::united(causes.into_iter()),
        effects,
    })
}
