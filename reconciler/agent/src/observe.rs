//! Compares the host with its desired state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use plumb_api::frame::{
    Difference, DifferenceState, LedgerState, LedgerSummary, ObserveReport, Reveal,
};
use plumb_api::plan::FieldChange;
use plumb_api::read_back::ReadBacks;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::Manage;
use plumb_api::{Address, Digest, Observed, Spec};

use crate::book::{Desired, Entry, Holder, Ledger, Loaded};
use crate::dead_man::Reverted;
use crate::error::Result;
use crate::provider::{self, Direction, Inputs, Item, ItemChange, ObserveContext};
use crate::sys::Sys;
use crate::undesired::give_backs;

/// Maximum size of a file whose text is included in a report, in bytes.
const MAX_TEXT: u64 = 64 << 10;

/// Returns a summary of the ledger for the controller.
pub(crate) fn summary(
    ledger: &Ledger,
    state: LedgerState,
    holder: Option<&Holder>,
) -> LedgerSummary {
    let holder = holder.or(ledger.holder.as_ref());
    LedgerSummary {
        state,
        sequence: ledger.sequence,
        epoch: holder.map(|holder| holder.epoch),
        controller: holder.map(|holder| holder.controller.clone()),
        revision: ledger.revision.clone(),
        confirmed: ledger.confirmed,
        resources: u32::try_from(ledger.resources.len()).unwrap_or(u32::MAX),
    }
}

/// True if the agent ignores the differences of a resource with `manage: once`. That is so if no step of its
/// creation is pending and the resource was confirmed before or exists on the host.
pub(crate) fn left_alone(spec: &Spec, entry: Option<&Entry>, fields: &[FieldChange]) -> bool {
    if spec.manage() != Manage::Once {
        return false;
    }
    if entry.is_some_and(|entry| !entry.pending.is_empty()) {
        return false;
    }
    let confirmed = entry.is_some_and(|entry| entry.spec.is_some());
    confirmed || spec.kind().made(fields)
}

/// Returns the fields in which an observed resource differs from its spec. A value isn't a difference if the
/// host shows a value that Plumb wrote in another form. An element that an earlier spec added to a set, and
/// that the current spec doesn't have, is a difference.
pub(crate) fn differing(
    direction: Direction,
    spec: &Spec,
    entry: Option<&Entry>,
    observed: &Observed,
) -> Vec<FieldChange> {
    let mut fields = provider::compare(direction, spec, observed);
    let Some(entry) = entry else {
        return fields;
    };
    if let (Some(managed), Some(original)) = (entry.managed(), &entry.original) {
        let provider = provider::of(spec.kind());
        provider.withdraw(spec, managed, &original.observed, observed, &mut fields);
    }
    entry.read_back.unexplained(fields)
}

/// Compares the host with its desired state and returns the report for the controller.
pub(crate) fn report(
    sys: &Sys,
    target: Digest,
    desired: &Desired,
    loaded: &Loaded,
    holder: Option<&Holder>,
    reveal: Reveal,
    held: Option<&Reverted>,
) -> ObserveReport {
    let ledger = &loaded.ledger;
    let undesired = give_backs(sys, desired, ledger);
    let wanted = desired.iter().map(|(address, leaf)| Item {
        address,
        spec: &leaf.spec,
    });
    let unwanted = undesired.iter().filter_map(|(address, spec)| {
        Some(Item {
            address,
            spec: spec.as_ref()?,
        })
    });
    let items: Vec<Item<'_>> = wanted.chain(unwanted).collect();
    let context = ObserveContext::new(sys, &ledger.owners, Inputs { desired, ledger }, &items);
    let outcomes = context.observe(&items);
    let mut report = ObserveReport {
        target,
        ledger: summary(ledger, loaded.state.clone(), holder),
        facts: sys.facts(),
        clock: clock(),
        in_sync: 0,
        differences: Vec::new(),
        unconfirmed: Vec::new(),
        aliases: BTreeMap::new(),
        gone: undesired
            .iter()
            .filter(|(_, spec)| spec.is_none())
            .map(|(address, _)| address.clone())
            .collect(),
        waiting: waiting(sys),
    };
    for (item, outcome) in items.iter().zip(outcomes) {
        let leaf = desired.get(item.address).map(|leaf| leaf.digest);
        add(&mut report, &context, item, outcome, leaf);
    }
    if let Some(held) = held {
        for difference in &mut report.differences {
            if held.changes.contains_key(&difference.address) {
                difference.refusal = Some(held.refusal(&report.facts.hostname, holder));
            }
        }
    }
    if reveal == Reveal::WorldReadable {
        for difference in &mut report.differences {
            let observed = difference.observed.as_ref();
            difference.text = observed.and_then(|found| text(sys, &difference.address, found));
        }
    }
    report
}

/// Returns the host's clock, in seconds since 1970.
fn clock() -> Option<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.ok()?.as_secs()).ok()
}

/// Adds one resource to a report. `digest` is the digest of its spec, or `None` if nothing desires the
/// resource.
fn add(
    report: &mut ObserveReport,
    context: &ObserveContext<'_>,
    item: &Item<'_>,
    outcome: Result<Observed>,
    digest: Option<Digest>,
) {
    let entry = context.inputs.ledger.entry(item.address);
    let original = entry
        .and_then(|entry| entry.original.as_ref())
        .and_then(provider::describe);
    let mut difference = Difference {
        address: item.address.clone(),
        state: DifferenceState::Differs,
        observed: None,
        fields: Vec::new(),
        losses: Vec::new(),
        refusal: None,
        confirmed: entry.and_then(Entry::confirmed),
        read_back: entry.map_or_else(ReadBacks::default, |entry| entry.read_back.clone()),
        original,
        text: None,
    };
    let observed = match outcome {
        Ok(observed) => observed,
        Err(error) => {
            difference.state = match error.code {
                ErrorCode::Unsupported => DifferenceState::Unsupported(error),
                _ => DifferenceState::Unobservable(error),
            };
            report.differences.push(difference);
            return;
        }
    };
    let direction = match digest {
        Some(_) => Direction::Desired,
        None => Direction::Restored,
    };
    let fields = differing(direction, item.spec, entry, &observed);
    if let Some(own) = observed.own_address() {
        report.aliases.insert(item.address.clone(), own);
    }
    let in_sync = fields.is_empty() || digest.is_some() && left_alone(item.spec, entry, &fields);
    match (in_sync, digest) {
        (true, Some(digest)) => {
            report.in_sync += 1;
            if entry.and_then(|entry| entry.digest) != Some(digest) {
                report.unconfirmed.push(item.address.clone());
            }
        }
        (true, None) => report.gone.push(item.address.clone()),
        (false, digest) => {
            if digest.is_none() {
                difference.state = DifferenceState::Undesired;
                // If the resource was never confirmed, the plan orders its removal by the spec that Plumb
                // tried to apply.
                difference.confirmed = entry.and_then(|entry| entry.managed().cloned());
            }
            let change = ItemChange {
                address: item.address,
                spec: item.spec,
                observed: &observed,
                fields: &fields,
                original: entry
                    .filter(|_| digest.is_none())
                    .and_then(|entry| entry.original.as_ref()),
            };
            difference.refusal = provider::check_change(context, &change).err();
            difference.losses = provider::of(item.address.kind()).losses(context, &change);
            difference.observed = Some(observed);
            difference.fields = fields;
            report.differences.push(difference);
        }
    }
}

/// Returns a sentence about something that a run should wait for: cloud-init, or a package transaction of an
/// earlier run. Returns `None` if there is nothing to wait for.
fn waiting(sys: &Sys) -> Option<String> {
    if sys.is_sandbox() {
        return None;
    }
    let cloud_init = sys.exists("/run/cloud-init")
        && !sys.exists("/run/cloud-init/result.json")
        && !sys.exists("/run/cloud-init/disabled");
    if cloud_init {
        return Some("cloud-init hasn't finished its first boot yet.".to_owned());
    }
    let transaction = provider::transactions(sys).into_iter().next()?;
    Some(format!(
        "The package transaction {transaction} of an earlier run is still at work."
    ))
}

/// End of the first line of a private key, in each of its text formats.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Returns the text of the observed file for a diff. Returns `None` unless the file is world-readable, short
/// enough and UTF-8, and contains no private key.
pub(crate) fn text(sys: &Sys, address: &Address, observed: &Observed) -> Option<String> {
    let provider = provider::of(address.kind());
    let path = provider.text_path(address, observed)?;
    let (dir, leaf) = sys.root().parent(&path).ok()??;
    let file = dir.open(leaf).ok()??;
    let found = dir.look_at(&file, leaf).ok()?;
    if found.mode & 0o004 == 0 || found.size > MAX_TEXT {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_TEXT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(PRIVATE_KEY)).then(|| provider.managed_text(observed, text))
}

/// Returns the addresses that a plan may contain: the desired resources and the resources in the ledger.
pub(crate) fn known(desired: &Desired, ledger: &Ledger) -> BTreeSet<Address> {
    desired
        .iter()
        .map(|(address, _)| address)
        .chain(ledger.resources.keys())
        .cloned()
        .collect()
}

/// Returns the error for a plan that names an address outside [`known`].
pub(crate) fn unknown(address: &Address) -> AgentError {
    AgentError::new(
        ErrorCode::Protocol,
        format!("the plan changes {address}, which is neither desired nor in the ledger"),
    )
}
