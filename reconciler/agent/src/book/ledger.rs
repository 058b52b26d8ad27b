//! The ledger: what the agent knows of the resources that Plumb manages on this host, and of their originals.

use std::collections::BTreeMap;

use plumb_api::frame::RevisionMark;
use plumb_api::{Address, Digest};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Owners};
use super::holder::Holder;
use super::record::Record;

/// The agent's persistent knowledge of its host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// Id of the machine that the ledger belongs to. If the machine-id is another one, as on a clone, the
    /// agent treats the ledger as lost.
    pub machine_id: String,
    /// Number of this version of the ledger. Each write increments it.
    pub sequence: u64,
    /// Number of changes made so far. It never decreases, so that a resource that is removed and added again
    /// gets a new generation.
    pub counter: u64,
    /// The holder at the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Revision of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionMark>,
    /// Digest of the last desired state of which every resource was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Digest>,
    /// The ledger's entries, by resource.
    #[serde(default)]
    pub resources: BTreeMap<Address, Entry>,
    /// Recorded owners of paths. Used only in a sandbox.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: Owners,
}

impl Ledger {
    pub(crate) fn entry(&self, address: &Address) -> Option<&Entry> {
        self.resources.get(address)
    }

    /// Applies a record. Both the run and the recovery after a crash call this, so that they arrive at the
    /// same ledger.
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
                spec,
                pending,
            } => {
                self.counter = self.counter.max(*generation);
                let entry = self.resources.entry(address.clone()).or_default();
                entry.generation = *generation;
                entry.changed = Some(at.clone());
                // The stored original stays, unless the record has one.
                if entry.original.is_none() || original.is_some() {
                    entry.original.clone_from(original);
                }
                if let Some(spec) = spec {
                    entry.touch(spec);
                }
                entry.pending.extend(pending);
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
                read_back,
            } => {
                let entry = self.resources.entry(address.clone()).or_default();
                entry.read_back.extend(read_back.clone());
                entry.confirm(spec, *digest);
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
            Record::Moved { address, fields } => {
                if let Some(entry) = self.resources.get_mut(address) {
                    entry.moved.extend(fields.iter().cloned());
                }
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
