//! Resources in the ledger that nothing desires any more. Computes the specs that restore them, and the
//! originals that pass to another address of the same thing.

use std::collections::BTreeMap;

use plumb_api::{Address, Spec};

use crate::book::{Desired, Entry, Ledger, Original};
use crate::provider::{self, Identities, Inputs, Item, ObserveContext};
use crate::sys::Sys;

/// Returns the ledger's resources that nothing desires any more.
fn undesired<'a>(
    desired: &Desired,
    ledger: &'a Ledger,
) -> impl Iterator<Item = (&'a Address, &'a Entry)> {
    ledger
        .resources
        .iter()
        .filter(|(address, _)| desired.get(address).is_none())
}

/// Returns the spec that restores a resource's original, or `None` if the ledger has no original of it.
fn restore_spec(address: &Address, entry: &Entry) -> Option<Spec> {
    let original = entry.original.as_ref()?;
    let keeper = provider::of(address.kind()).give_back()?;
    Some(keeper.restore_spec(&original.observed, entry.managed()))
}

/// Resolves the undesired resources, and the desired resources of the same types, to the things that they
/// denote.
fn resolve(
    sys: &Sys,
    desired: &Desired,
    ledger: &Ledger,
    restored: &BTreeMap<Address, Spec>,
) -> Identities {
    let restored = restored.iter();
    let restored: Vec<Item<'_>> = restored
        .map(|(address, spec)| Item { address, spec })
        .collect();
    let same_type = |address: &Address| {
        let mut kinds = restored.iter().map(|item| item.address.kind());
        kinds.any(|kind| kind == address.kind())
    };
    let wanted = desired
        .iter()
        .filter(|(address, _)| same_type(address))
        .map(|(address, leaf)| Item {
            address,
            spec: &leaf.spec,
        });
    let items: Vec<Item<'_>> = restored.iter().copied().chain(wanted).collect();
    let inputs = Inputs { desired, ledger };
    let context = ObserveContext::new(sys, &ledger.owners, inputs, &items);
    Identities::resolve(&context, &items)
}

/// Returns the resources that nothing desires any more, each with the spec that restores it, or `None` if it
/// only has to be removed from the ledger. If a desired resource denotes the same thing by another address,
/// the thing stays as that resource wants it.
pub(crate) fn give_backs(
    sys: &Sys,
    desired: &Desired,
    ledger: &Ledger,
) -> BTreeMap<Address, Option<Spec>> {
    let mut all: BTreeMap<Address, Option<Spec>> = undesired(desired, ledger)
        .map(|(address, entry)| (address.clone(), restore_spec(address, entry)))
        .collect();
    let restored: BTreeMap<Address, Spec> = all
        .iter()
        .filter_map(|(address, spec)| Some((address.clone(), spec.clone()?)))
        .collect();
    if restored.is_empty() {
        return all;
    }
    let identities = resolve(sys, desired, ledger, &restored);
    for address in restored.keys() {
        let mut others = identities.others(address);
        if others.any(|other| desired.get(other).is_some()) {
            let keeper = provider::of(address.kind()).give_back();
            let left = keeper.and_then(provider::GiveBack::surrender_spec);
            all.insert(address.clone(), left);
        }
    }
    all
}

/// Returns the originals that desired resources take over, by the desired address: those of undesired
/// resources in the ledger that denote the same thing.
pub(crate) fn inherited(
    sys: &Sys,
    desired: &Desired,
    ledger: &Ledger,
) -> BTreeMap<Address, Original> {
    let restored: BTreeMap<Address, Spec> = undesired(desired, ledger)
        .filter_map(|(address, entry)| Some((address.clone(), restore_spec(address, entry)?)))
        .collect();
    if restored.is_empty() {
        return BTreeMap::new();
    }
    let identities = resolve(sys, desired, ledger, &restored);
    let mut originals = BTreeMap::new();
    for address in restored.keys() {
        let original = ledger
            .entry(address)
            .and_then(|entry| entry.original.as_ref());
        for heir in identities.others(address) {
            if let Some(original) = original.filter(|_| desired.get(heir).is_some()) {
                originals.insert(heir.clone(), original.clone());
            }
        }
    }
    originals
}
