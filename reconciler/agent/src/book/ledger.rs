//! The ledger: what Plumb made on this host, and what was there before.

use std::collections::BTreeMap;

use plumb_api::frame::RevisionMark;
use plumb_api::resource::Principal;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::holder::Holder;
use super::journal::Record;
use super::original::Original;

/// A point in time that survives changes of the clock: a boot, and microseconds since it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub boot: String,
    pub micros: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            boot: crate::sys::boot_id(),
            micros: crate::sys::monotonic_micros(),
        }
    }
}

/// Who owns a path of a sandbox, where nothing can be given to anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub user: Principal,
    pub group: Principal,
}

/// Owners of a sandbox's paths; what isn't listed is root's.
pub(crate) type Owners = BTreeMap<String, Owner>;

/// A resource that Plumb made, changed, or found as desired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The spec that was last confirmed; none while its first change is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// Its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The ledger's counter at its last change by us; 0 if we never changed it.
    #[serde(default)]
    pub generation: u64,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Moment>,
    /// What was there before us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// A service's inputs at its last start, see `provider::service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<Address, Digest>>,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// The machine that it belongs to: a clone's isn't the clone's own.
    pub machine_id: String,
    /// Grows by one with each write.
    pub sequence: u64,
    /// Grows by one with each change; never goes back, so that a resource that goes and comes has another generation.
    pub counter: u64,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The newest revision that the host ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionMark>,
    /// The desired state that was last confirmed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Digest>,
    /// By address.
    #[serde(default)]
    pub resources: BTreeMap<Address, Entry>,
    /// Owners in a sandbox.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: Owners,
}

impl Ledger {
    pub(crate) fn entry(&self, address: &Address) -> Option<&Entry> {
        self.resources.get(address)
    }

    /// Takes what a record says. The run and the recovery after a crash both do exactly this, so
    /// they can't come to different ledgers.
    pub(crate) fn absorb(&mut self, record: &Record) {
        match record {
            Record::Begin(begin) => {
                self.machine_id.clone_from(&begin.machine_id);
                self.holder = Some(begin.holder.clone());
                self.revision = Some(begin.revision.clone());
            }
            Record::Intent {
                address,
                generation,
                at,
                original,
            } => {
                self.counter = self.counter.max(*generation);
                let entry = self.resources.entry(address.clone()).or_default();
                entry.generation = *generation;
                entry.changed = Some(at.clone());
                // What was there first stays the original, whatever is found later.
                if entry.original.is_none() || original.is_some() {
                    entry.original.clone_from(original);
                }
            }
            Record::Cancel { address, entry } => match entry {
                Some(entry) => {
                    self.resources.insert(address.clone(), (**entry).clone());
                }
                None => {
                    self.resources.remove(address);
                }
            },
            Record::Confirmed {
                address,
                spec,
                digest,
                original,
                inputs,
            } => {
                let entry = self.resources.entry(address.clone()).or_default();
                entry.spec = Some((**spec).clone());
                entry.digest = Some(*digest);
                if entry.original.is_none() {
                    entry.original.clone_from(original);
                }
                if inputs.is_some() {
                    entry.inputs.clone_from(inputs);
                }
            }
            Record::Started { address, inputs } => {
                let entry = self.resources.entry(address.clone()).or_default();
                entry.inputs = Some(inputs.clone());
            }
            Record::Forgotten { address } => {
                self.resources.remove(address);
            }
            Record::Owned { path, owner } => match owner {
                Some(owner) => {
                    self.owners.insert(path.clone(), owner.clone());
                }
                None => {
                    self.owners.remove(path);
                }
            },
            Record::Whole { target } => self.confirmed = Some(*target),
        }
    }
}
