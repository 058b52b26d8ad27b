//! Captures originals: the state before Plumb's first change, stored so that it can be given back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plumb_api::read_back::ReadBacks;
use plumb_api::report::ErrorCode;
use plumb_api::{Address, Digest, Observed, Spec};

use super::{Doing, Run};
use crate::book::{Original, Originals, Record};
use crate::error::{Result, fail};
use crate::provider::{
    self, Effect, Inputs, Item, ObserveContext, has_inputs, inputs_after, kept_content,
    missing_parents,
};
use crate::sys::{Attributes, Sys};
use crate::undesired::inherited;

impl Run<'_> {
    /// True if the agent must capture the original of this resource before the change. That is so if the
    /// ledger has no original yet, or if the change overwrites the file and the content of its original isn't
    /// stored yet. False if the resource isn't desired or its type has no originals.
    fn needs_original(&self, work: &Doing) -> Result<bool> {
        let step = &self.steps[work.step];
        let keeps = provider::of(step.change.address.kind()).give_back();
        if step.digest.is_none() || keeps.is_none() {
            return Ok(false);
        }
        let Some(original) = work
            .before
            .as_ref()
            .and_then(|entry| entry.original.as_ref())
        else {
            return Ok(true);
        };
        match kept_content(original) {
            Some(content) if overwrites(work) => Ok(!self.context.originals.has(&content)?),
            _ => Ok(false),
        }
    }

    /// Returns the original to store for each change of a batch, or `None` if the original is stored already
    /// or isn't needed.
    pub(super) fn capture(&self, doing: &[Doing]) -> Vec<Result<Option<Original>>> {
        let needed: Vec<Result<bool>> =
            doing.iter().map(|work| self.needs_original(work)).collect();
        let specs: Vec<(&Address, Spec)> = doing
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| matches!(needed, Ok(true)))
            .filter_map(|(work, _)| {
                let address = &self.steps[work.step].change.address;
                let keeper = provider::of(address.kind()).give_back()?;
                Some((address, keeper.full_spec()))
            })
            .collect();
        let items: Vec<Item<'_>> = specs
            .iter()
            .map(|(address, spec)| Item { address, spec })
            .collect();
        let mut observed = self.look_at(&items).into_iter();
        let mut heirs = self.inherited(&items);
        doing
            .iter()
            .zip(needed)
            .map(|(work, needed)| {
                if !needed? {
                    return Ok(None);
                }
                let found = observed.next();
                if let Some(original) = heirs.remove(&self.steps[work.step].change.address) {
                    return Ok(Some(original));
                }
                match found {
                    Some(observed) => self.keep(work, observed?).map(Some),
                    None => fail(ErrorCode::Internal, "an original wasn't observed"),
                }
            })
            .collect()
    }

    pub(super) fn look_at(&self, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        if items.is_empty() {
            return Vec::new();
        }
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        ObserveContext::new(self.sys, &self.ledger.owners, inputs, items).observe(items)
    }

    /// Returns the originals that new resources take over from an earlier address of the same thing on the
    /// host.
    fn inherited(&self, items: &[Item<'_>]) -> BTreeMap<Address, Original> {
        if items.is_empty() {
            return BTreeMap::new();
        }
        let mut all = inherited(self.sys, self.desired, &self.ledger);
        all.retain(|address, _| {
            let entry = self.ledger.entry(address);
            entry.is_none_or(|entry| entry.original.is_none())
        });
        all
    }

    /// Returns the folders above a path that Plumb creates for it (`missing`) or created for other resources,
    /// topmost first. The last resource in a folder that leaves git removes the folder, in whatever order they
    /// leave.
    fn made_above(&self, path: &str, missing: Vec<String>) -> Vec<String> {
        let originals = self.ledger.resources.values();
        let made = originals.filter_map(|entry| entry.original.as_ref());
        let above = made
            .flat_map(|original| &original.made)
            .filter(|folder| Path::new(path).starts_with(folder))
            .cloned();
        let all: BTreeSet<String> = above.chain(missing).collect();
        all.into_iter().collect()
    }

    fn keep(&self, work: &Doing, observed: Observed) -> Result<Original> {
        let address = &self.steps[work.step].change.address;
        let mut original = original(self.sys, address, observed)?;
        let earlier = work
            .before
            .as_ref()
            .and_then(|entry| entry.original.clone());
        let wanted = earlier.as_ref().and_then(kept_content);
        let path = address.kind().path(address.name()).unwrap_or_default();
        if !original.observed.exists() {
            original.made = self.made_above(&path, original.made);
        }
        // The first original counts as long as its content is available: on the host itself or, if the file
        // has drifted since, among the contents that the controller sent to restore it.
        if let (Some(earlier), Some(wanted)) = (earlier, wanted) {
            if kept_content(&original) == Some(wanted) {
                original = earlier;
            } else if let Some(mut blob) = self.context.blobs.open(&wanted.sha256)? {
                self.context.originals.keep(&mut blob, wanted.size, &path)?;
                return Ok(earlier);
            }
        }
        if kept_content(&original).is_some() && overwrites(work) {
            keep_content(self.sys, self.context.originals, address, &mut original)?;
        }
        Ok(original)
    }

    /// Returns the records for the addresses in `plan.confirm`: resources that are as desired without a
    /// change, or that the ledger doesn't have yet.
    pub(super) fn confirmations(&self) -> Vec<Record> {
        let confirmed: Vec<_> = self
            .request
            .plan
            .confirm
            .iter()
            .filter_map(|address| self.desired.get(address).map(|leaf| (address, leaf)))
            .collect();
        let is_new = |address: &Address| {
            self.ledger
                .entry(address)
                .is_none_or(|entry| entry.original.is_none())
        };
        let specs: Vec<(&Address, Spec)> = confirmed
            .iter()
            .filter_map(|(address, leaf)| {
                // Only an observation with the resource's own spec shows if it has read its inputs.
                if has_inputs(address, &leaf.spec) {
                    return Some((*address, leaf.spec.clone()));
                }
                let keeper = provider::of(address.kind()).give_back()?;
                is_new(address).then(|| (*address, keeper.full_spec()))
            })
            .collect();
        let items: Vec<Item<'_>> = specs
            .iter()
            .map(|(address, spec)| Item { address, spec })
            .collect();
        let mut observed: BTreeMap<&Address, Observed> = items
            .iter()
            .zip(self.look_at(&items))
            .filter_map(|(item, observed)| Some((item.address, observed.ok()?)))
            .collect();
        let mut heirs = self.inherited(&items);
        confirmed
            .into_iter()
            .map(|(address, leaf)| {
                let heir = heirs.remove(address);
                let found = observed.remove(address);
                let provider = provider::of(address.kind());
                let inputs = found
                    .as_ref()
                    .filter(|found| provider.has_read_inputs(found))
                    .and_then(|found| self.confirmed_inputs(address, found, &leaf.spec));
                let keeps = is_new(address) && provider.give_back().is_some();
                Record::Confirmed {
                    address: address.clone(),
                    spec: Box::new(leaf.spec.clone()),
                    digest: leaf.digest,
                    original: heir.or_else(|| {
                        let observed = found.filter(|_| keeps)?;
                        original(self.sys, address, observed).ok()
                    }),
                    inputs,
                    read_back: ReadBacks::default(),
                }
            })
            .collect()
    }

    /// Returns the input marks to record for a resource that something other than Plumb started: the marks
    /// that the ledger has, and the current marks of all other inputs.
    fn confirmed_inputs(
        &self,
        address: &Address,
        found: &Observed,
        spec: &Spec,
    ) -> Option<BTreeMap<Address, Digest>> {
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        let before = self
            .ledger
            .entry(address)
            .and_then(|entry| entry.inputs.as_ref());
        let own = found.own_address();
        let now = inputs.marks(address, own.as_ref(), spec)?;
        Some(inputs_after(address, spec, before, now, Effect::Done))
    }
}

/// True if the change replaces or removes the current bytes of a file.
fn overwrites(work: &Doing) -> bool {
    work.fields
        .iter()
        .any(|change| change.field == "content" || change.field == "state")
}

/// Returns the original of a resource: the observed state, the attributes of the file at its path, and the
/// missing folders above that path.
pub(super) fn original(sys: &Sys, address: &Address, observed: Observed) -> Result<Original> {
    let path = address.kind().path(address.name());
    let exists = observed.exists();
    let observed = match provider::of(address.kind()).give_back() {
        Some(keeper) => keeper.lasting(observed),
        None => observed,
    };
    let (mut made, mut attributes) = (Vec::new(), None);
    if let Some(path) = path {
        if !exists {
            made = missing_parents(sys, &path);
        } else if let Some((dir, leaf)) = sys.root().parent(&path)? {
            attributes = Some(Attributes::at(&dir, leaf)?);
        }
    }
    Ok(Original {
        observed,
        made,
        attributes,
    })
}

/// Stores the content of the file at a resource's path, if the resource has one.
pub(super) fn keep_content(
    sys: &Sys,
    originals: &Originals,
    address: &Address,
    original: &mut Original,
) -> Result<()> {
    let path = address.kind().path(address.name()).unwrap_or_default();
    if kept_content(original).is_none() {
        return Ok(());
    }
    let Some((dir, leaf)) = sys.root().parent(&path)? else {
        return Ok(());
    };
    let Some(mut file) = dir.open(leaf)? else {
        return Ok(());
    };
    let size = dir.look_at(&file, leaf)?.size;
    let kept = originals.keep(&mut file, size, &path)?;
    if let Some(keeper) = provider::of(original.observed.kind()).give_back() {
        keeper.set_content(&mut original.observed, kept);
    }
    Ok(())
}
