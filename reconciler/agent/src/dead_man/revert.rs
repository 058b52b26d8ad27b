//! Puts changes back from their pre-images: on the host, and in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::frame::LedgerState;
use plumb_api::report::AgentError;
use plumb_api::resource::ServiceObserved;
use plumb_api::{Address, Kind, Observed};

use super::pre_image::{PreImage, PreState};
use super::record::{Armed, RevertCause, Reverted};
use super::unit;
use crate::blobs::Blobs;
use crate::book::{self, Desired, Home, Ledger, Loaded, Original, Originals, Record};
use crate::error::Result;
use crate::provider::{
    self, ApplyContext, Direction, Inputs, Item, ItemChange, ObserveContext, Reaction,
};
use crate::recover::roll_forward;
use crate::sys::{Accounts, Sys};

/// Puts all changes back, records why, and disarms the timer. Neither resources that can't be put back nor a ledger
/// that can't be written keep the others from it. The caller must hold the host's lock. If this is interrupted, it
/// can be repeated.
pub(super) fn revert(sys: &Sys, home: &Home, armed: &Armed, cause: RevertCause) -> Result<()> {
    let loaded = recovered(sys, home);
    let unknown = Ledger::default();
    let ledger = loaded.as_ref().map_or(&unknown, |loaded| &loaded.ledger);
    let failed = restore(sys, home, ledger, armed)?;
    let mut loaded = loaded?;
    if !matches!(loaded.state, LedgerState::Lost(_)) {
        for pre_image in &armed.pre_images {
            loaded.ledger.absorb(&Record::Cancel {
                address: pre_image.address.clone(),
                entry: pre_image.entry.clone(),
            });
        }
        loaded.ledger.confirmed = armed.confirmed;
        book::write(home, &mut loaded.ledger)?;
    }
    let digests = |pre_image: &PreImage| (pre_image.address.clone(), pre_image.digest);
    let reverted = Reverted {
        nonce: armed.nonce.clone(),
        changes: armed.pre_images.iter().map(digests).collect(),
        why: why(armed, cause, &failed),
    };
    reverted.save(home)?;
    Armed::remove(home)?;
    Originals::open_pre_images(home)?.retain(&BTreeSet::new())?;
    unit::remove(sys, home)
}

/// Loads the ledger, with the journal of an interrupted run applied to it.
fn recovered(sys: &Sys, home: &Home) -> Result<Loaded> {
    let mut loaded = book::load(sys, Some(home))?;
    if !matches!(loaded.state, LedgerState::Lost(_)) {
        roll_forward(sys, home, &mut loaded)?;
    }
    Ok(loaded)
}

fn why(armed: &Armed, cause: RevertCause, failed: &BTreeMap<Address, AgentError>) -> String {
    let mut text = match cause {
        RevertCause::NotConfirmed => format!(
            "the controller couldn't connect again within {} s",
            armed.confirm
        ),
        RevertCause::Restarted => {
            "the machine restarted before the controller had connected again".to_owned()
        }
        RevertCause::RunEnded => "the run ended before it had made all of them".to_owned(),
    };
    let failed = failed
        .iter()
        .map(|(address, error)| format!("; {address} couldn't be put back: {error}"));
    text.extend(failed);
    text
}

/// Restores each resource in the reverse order of the changes. Services come last, as they read files, and then take
/// over their configuration. Returns the resources that couldn't be restored.
fn restore(
    sys: &Sys,
    home: &Home,
    ledger: &Ledger,
    armed: &Armed,
) -> Result<BTreeMap<Address, AgentError>> {
    let desired = Desired::default();
    let blobs = Blobs::default();
    let contents = Originals::open_pre_images(home)?;
    let temporary = format!(".plumb-dead-man-{}", std::process::id());
    let mut context = ApplyContext {
        sys,
        home,
        accounts: Accounts::load(sys),
        owners: ledger.owners.clone(),
        desired: &desired,
        blobs: &blobs,
        originals: &contents,
        temporary: &temporary,
        records: Vec::new(),
        warnings: Vec::new(),
        unsynced: Vec::new(),
    };
    let mut failed = BTreeMap::new();
    let reversed = armed.pre_images.iter().rev();
    let (services, others): (Vec<_>, Vec<_>) =
        reversed.partition(|one| matches!(one.state, PreState::Service(..)));
    for group in [others, services] {
        let mut kinds: BTreeSet<Kind> = BTreeSet::new();
        for pre_image in group {
            let address = &pre_image.address;
            let outcome = match &pre_image.state {
                PreState::Observed(original) | PreState::Service(original, _) => {
                    kinds.insert(address.kind());
                    put_back(&mut context, ledger, address, original)
                }
                PreState::Account(lines) => lines.restore(&mut context),
                PreState::Nothing => Ok(()),
            };
            if let Err(error) = outcome {
                failed.insert(address.clone(), error);
            }
        }
        context.sync_directories()?;
        for kind in kinds {
            provider::of(kind).settle(&mut context, &[])?;
        }
    }
    for (address, service, reaction) in armed.pre_images.iter().filter_map(running) {
        if sys.is_sandbox() {
            break;
        }
        if let Err(error) = provider::react(sys, address.name(), service, reaction) {
            failed.insert(address.clone(), error);
        }
    }
    Ok(failed)
}

/// Returns a service that ran before the changes.
fn running(pre_image: &PreImage) -> Option<(&Address, &ServiceObserved, Reaction)> {
    let PreState::Service(original, reaction) = &pre_image.state else {
        return None;
    };
    let Observed::Service(service) = &original.observed else {
        return None;
    };
    let ran = service
        .state
        .is_some_and(plumb_api::resource::RunState::is_live);
    ran.then_some((&pre_image.address, service, *reaction))
}

/// Restores one resource by its provider, if it differs from its pre-image.
fn put_back(
    context: &mut ApplyContext<'_>,
    ledger: &Ledger,
    address: &Address,
    original: &Original,
) -> Result<()> {
    let provider = provider::of(address.kind());
    let Some(keeper) = provider.give_back() else {
        return Ok(());
    };
    let spec = keeper.restore_spec(&original.observed, None);
    let item = Item {
        address,
        spec: &spec,
    };
    let inputs = Inputs {
        desired: context.desired,
        ledger,
    };
    let owners = context.owners.clone();
    let observing = ObserveContext::new(context.sys, &owners, inputs, &[item]);
    let observed = observing.observe(&[item]).into_iter().next().transpose()?;
    context.accounts = observing.accounts;
    let Some(observed) = observed else {
        return Ok(());
    };
    let fields = provider::compare(Direction::Restored, &spec, &observed);
    if fields.is_empty() {
        return Ok(());
    }
    let change = ItemChange {
        address,
        spec: &spec,
        observed: &observed,
        fields: &fields,
        original: Some(original),
    };
    let outcomes = provider.apply(context, &[change]);
    outcomes
        .into_iter()
        .next()
        .map_or(Ok(()), |one| one.map(drop))
}
