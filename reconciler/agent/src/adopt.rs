//! Describes what a host has as specs, for a manifest.

mod deviations;

use std::collections::BTreeSet;

use plumb_api::frame::{AdoptOutcome, AdoptScope, Adopted};
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::{Address, Observed, Spec};

use crate::book::{Desired, Ledger};
use crate::error::Result;
use crate::observe;
use crate::provider::{self, GiveBack, Inputs, Item, ObserveContext};
use crate::sys::Sys;

/// Maximum size of all texts of an answer together, in bytes.
const MAX_TEXTS: usize = 8 << 20;

/// Describes the resources of a scope as they are on the host.
pub(crate) fn adopted(sys: &Sys, ledger: &Ledger, scope: &AdoptScope) -> Vec<Adopted> {
    let addresses: BTreeSet<Address> = match scope {
        AdoptScope::Named(addresses) => addresses.iter().cloned().collect(),
        AdoptScope::Deviations => deviations::find(sys)
            .into_iter()
            .filter(|address| ledger.entry(address).is_none())
            .collect(),
    };
    let specs: Vec<(Address, Option<Spec>)> = addresses
        .into_iter()
        .map(|address| {
            let give_back = provider::of(address.kind()).give_back();
            (address, give_back.map(GiveBack::full_spec))
        })
        .collect();
    let items: Vec<Item<'_>> = specs
        .iter()
        .filter_map(|(address, spec)| {
            let spec = spec.as_ref()?;
            Some(Item { address, spec })
        })
        .collect();
    let desired = Desired::default();
    let inputs = Inputs {
        desired: &desired,
        ledger,
    };
    let context = ObserveContext::new(sys, &ledger.owners, inputs, &items);
    let mut observed = context.observe(&items).into_iter();
    let mut room = MAX_TEXTS;
    let mut found = Vec::new();
    for (address, spec) in &specs {
        let outcome = match spec.as_ref().and_then(|_| observed.next()) {
            Some(observed) => outcome(sys, address, observed, &mut room),
            None => {
                AdoptOutcome::Failed(unknowable(address, "it isn't a lasting state of the host"))
            }
        };
        found.push(Adopted {
            address: address.clone(),
            outcome,
        });
    }
    if *scope == AdoptScope::Deviations {
        found.retain(|one| one.outcome != AdoptOutcome::Missing);
    }
    found
}

fn outcome(
    sys: &Sys,
    address: &Address,
    observed: Result<Observed>,
    room: &mut usize,
) -> AdoptOutcome {
    let observed = match observed {
        Ok(observed) => observed,
        Err(error) => return AdoptOutcome::Failed(error),
    };
    let give_back = provider::of(address.kind()).give_back();
    let Some(spec) = give_back.and_then(|give_back| give_back.adopt_spec(&observed)) else {
        return AdoptOutcome::Missing;
    };
    // Such as an archive: the host doesn't know the address that it came from.
    if let Some(problem) = spec.check(address.name()).into_iter().next() {
        return AdoptOutcome::Failed(unknowable(address, &problem.message));
    }
    let text = observe::text(sys, address, &observed).filter(|text| text.len() <= *room);
    *room -= text.as_ref().map_or(0, String::len);
    AdoptOutcome::Found {
        spec: Box::new(spec),
        text,
    }
}

fn unknowable(address: &Address, why: &str) -> AgentError {
    AgentError::new(
        ErrorCode::Unsupported,
        format!("the host doesn't show what a manifest of {address} would say: {why}"),
    )
}
