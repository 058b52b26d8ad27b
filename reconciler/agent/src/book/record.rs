//! The records that a run writes to the journal and applies to the ledger.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::frame::RevisionMark;
use plumb_api::read_back::ReadBacks;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::entry::{CreationStep, Entry, Moment, Owner};
use super::holder::Holder;
use super::original::Original;

/// The version of the record format.
pub(super) const VERSION: u32 = 1;

/// The first record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begin {
    pub version: u32,
    /// Sequence number of the ledger when the run began.
    pub base: u64,
    pub machine_id: String,
    pub holder: Holder,
    pub revision: RevisionMark,
    /// Name that this run gives to its temporary files.
    pub temporary: String,
}

/// One record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Record {
    /// A run has begun.
    Begin(Begin),
    /// The agent is about to change a resource.
    #[serde(rename_all = "camelCase")]
    Intent {
        address: Address,
        generation: u64,
        at: Moment,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<Original>,
        /// The desired spec. `None` if the change restores the original.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spec: Option<Box<Spec>>,
        /// Steps that have to succeed after this change has created the resource.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        pending: BTreeSet<CreationStep>,
    },
    /// The agent didn't change the resource after all. `entry` is the ledger's entry from before the intent.
    #[serde(rename_all = "camelCase")]
    Cancel {
        address: Address,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<Box<Entry>>,
    },
    /// The agent observed the resource as desired.
    #[serde(rename_all = "camelCase")]
    Confirmed {
        address: Address,
        spec: Box<Spec>,
        digest: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<Original>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<BTreeMap<Address, Digest>>,
        #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
        read_back: ReadBacks,
    },
    /// The agent started or reloaded a service, or ran a command, with these inputs.
    #[serde(rename_all = "camelCase")]
    Started {
        address: Address,
        inputs: BTreeMap<Address, Digest>,
    },
    /// These fields changed because the agent changed other resources.
    #[serde(rename_all = "camelCase")]
    Moved {
        address: Address,
        fields: BTreeSet<String>,
    },
    /// The ledger no longer has the resource.
    #[serde(rename_all = "camelCase")]
    Forgotten { address: Address },
    /// A path in a sandbox got another owner, or its recorded owner was removed.
    #[serde(rename_all = "camelCase")]
    Owned {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
    },
    /// Every resource of the desired state with this digest is confirmed.
    #[serde(rename_all = "camelCase")]
    Whole { target: Digest },
}

impl Begin {
    pub(crate) fn new(
        base: u64,
        machine_id: String,
        holder: Holder,
        revision: RevisionMark,
        temporary: String,
    ) -> Self {
        Self {
            version: VERSION,
            base,
            machine_id,
            holder,
            revision,
            temporary,
        }
    }
}
