//! What was there before the first touch: kept, so that it can be given back.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{FileType, Stale};
use plumb_api::{Address, Kind, Observed, Spec};

use super::{Doing, Run};
use crate::book::{Original, Record};
use crate::error::{Result, fail};
use crate::provider::{self, Inputs, Item, View, inputs_after, missing_parents};
use crate::sys::Sys;

/// The path of a resource that is a file, a directory or a link.
fn path_of(address: &Address) -> Option<String> {
    match address.kind() {
        Kind::File | Kind::Directory | Kind::Link => Some(address.name().to_owned()),
        Kind::Unit => Some(format!("/etc/systemd/system/{}", address.name())),
        Kind::Sysctl => Some("/etc/sysctl.d/x".to_owned()),
        _ => None,
    }
}

/// Takes away a temporary file that a killed run left beside a resource.
pub(crate) fn remove_temporary(sys: &Sys, address: &Address, temporary: &str) -> Result<()> {
    let Some(path) = path_of(address) else {
        return Ok(());
    };
    // A path that can't be walked safely has nothing of ours in it either.
    if let Ok(Some((dir, _))) = sys.root().parent(&path) {
        dir.unlink(temporary)?;
    }
    Ok(())
}

impl Run<'_> {
    /// Whether this work is about to overwrite what is kept only by its name, or wasn't ours so far.
    fn needs_original(&self, work: &Doing) -> Result<bool> {
        let step = &self.steps[work.step];
        if step.digest.is_none() {
            return Ok(false);
        }
        let Some(original) = work
            .before
            .as_ref()
            .and_then(|entry| entry.original.as_ref())
        else {
            return Ok(true);
        };
        match original.content() {
            Some(content) if overwrites(work) => Ok(!self.hands.originals.has(&content)?),
            _ => Ok(false),
        }
    }

    /// The originals of a batch: none where it is kept already, or isn't needed.
    pub(super) fn capture(&self, doing: &[Doing]) -> Vec<Result<Option<Original>>> {
        let needed: Vec<Result<bool>> =
            doing.iter().map(|work| self.needs_original(work)).collect();
        let specs: Vec<Spec> = doing
            .iter()
            .map(|work| provider::of(self.steps[work.step].change.address.kind()).everything())
            .collect();
        let items: Vec<Item<'_>> = doing
            .iter()
            .zip(&specs)
            .zip(&needed)
            .filter(|(_, needed)| matches!(needed, Ok(true)))
            .map(|((work, spec), _)| Item {
                address: &self.steps[work.step].change.address,
                spec,
            })
            .collect();
        let mut observed = self.look_at(&items).into_iter();
        doing
            .iter()
            .zip(needed)
            .map(|(work, needed)| {
                if !needed? {
                    return Ok(None);
                }
                match observed.next() {
                    Some(observed) => self.keep(work, observed?).map(Some),
                    None => fail(ErrorCode::Internal, "an original wasn't observed"),
                }
            })
            .collect()
    }

    fn look_at(&self, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        if items.is_empty() {
            return Vec::new();
        }
        let inputs = Inputs {
            desired: self.desired,
            ledger: &self.ledger,
        };
        View::new(self.sys, &self.ledger.owners, inputs, items).observe(items)
    }

    fn keep(&self, work: &Doing, observed: Observed) -> Result<Original> {
        let address = &self.steps[work.step].change.address;
        let mut original = original(self.sys, address, observed);
        let earlier = work
            .before
            .as_ref()
            .and_then(|entry| entry.original.clone());
        let wanted = earlier.as_ref().and_then(Original::content);
        let path = path_of(address).unwrap_or_default();
        // The first original counts as long as its bytes can be had: from the host, or, where it
        // drifted since, from what was sent to put it back.
        if let (Some(earlier), Some(wanted)) = (earlier, wanted) {
            if original.content() == Some(wanted) {
                original = earlier;
            } else if let Some(mut blob) = self.hands.blobs.open(&wanted.sha256)? {
                self.hands.originals.keep(&mut blob, &path)?;
                return Ok(earlier);
            }
        }
        if original.content().is_some() && overwrites(work) {
            self.keep_bytes(&mut original, &path)?;
        }
        Ok(original)
    }

    fn keep_bytes(&self, original: &mut Original, path: &str) -> Result<()> {
        let Some((dir, leaf)) = self.sys.root().parent(path)? else {
            return Ok(());
        };
        let Some(mut file) = dir.open(leaf)? else {
            return Ok(());
        };
        let kept = self.hands.originals.keep(&mut file, path)?;
        match &mut original.observed {
            Observed::File(file) => file.content = Some(kept),
            Observed::Unit(unit) => unit.content = Some(kept),
            _ => {}
        }
        Ok(())
    }

    /// The records of `plan.confirm`: as desired, though not by our doing, or not known to the ledger.
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
        let specs: Vec<Spec> = confirmed
            .iter()
            .map(|(address, leaf)| match &leaf.spec {
                // A service is observed with its own spec: whether it is stale depends on it.
                spec @ Spec::Service(_) => spec.clone(),
                _ => provider::of(address.kind()).everything(),
            })
            .collect();
        let items: Vec<Item<'_>> = confirmed
            .iter()
            .zip(&specs)
            .filter(|((address, _), _)| is_new(address) || address.kind() == Kind::Service)
            .map(|((address, _), spec)| Item { address, spec })
            .collect();
        let mut observed: std::collections::BTreeMap<&Address, Observed> = items
            .iter()
            .zip(self.look_at(&items))
            .filter_map(|(item, observed)| Some((item.address, observed.ok()?)))
            .collect();
        confirmed
            .into_iter()
            .map(|(address, leaf)| {
                let found = observed.remove(address);
                let inputs = match (&leaf.spec, &found) {
                    (Spec::Service(spec), Some(Observed::Service(now)))
                        if now.state.is_some_and(|state| {
                            state == plumb_api::resource::ServiceState::Started
                        }) && now.stale == Stale::No =>
                    {
                        let inputs = Inputs {
                            desired: self.desired,
                            ledger: &self.ledger,
                        };
                        let before = self
                            .ledger
                            .entry(address)
                            .and_then(|entry| entry.inputs.as_ref());
                        let marks = inputs.marks(address, spec);
                        Some(inputs_after(spec, before, marks, provider::Effect::Done))
                    }
                    _ => None,
                };
                Record::Confirmed {
                    address: address.clone(),
                    spec: Box::new(leaf.spec.clone()),
                    digest: leaf.digest,
                    original: found
                        .filter(|_| is_new(address))
                        .map(|observed| original(self.sys, address, observed)),
                    inputs,
                }
            })
            .collect()
    }
}

/// Whether the bytes that are there now will be gone.
fn overwrites(work: &Doing) -> bool {
    work.fields
        .iter()
        .any(|change| change.field == "content" || change.field == "state")
}

fn original(sys: &Sys, address: &Address, mut observed: Observed) -> Original {
    let absent = match &mut observed {
        Observed::File(file) => file.file_type == FileType::Absent,
        Observed::Directory(directory) => directory.file_type == FileType::Absent,
        Observed::Link(link) => link.file_type == FileType::Absent,
        Observed::Unit(unit) => {
            unit.needs_reload = false;
            unit.file_type == FileType::Absent
        }
        Observed::Service(service) => {
            service.stale = Stale::No;
            false
        }
        Observed::Sysctl(sysctl) => sysctl.persisted.is_none(),
        _ => false,
    };
    let path = path_of(address).filter(|_| absent);
    Original {
        observed,
        made: path
            .map(|path| missing_parents(sys, &path))
            .unwrap_or_default(),
    }
}
