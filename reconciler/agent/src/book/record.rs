//! The steps of a run, as the journal writes them and the ledger takes them in.

use std::collections::BTreeMap;

use plumb_api::frame::RevisionMark;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Moment, Owner};
use super::holder::Holder;
use super::original::Original;

/// The format of a run's records.
pub(super) const VERSION: u32 = 1;

/// A run's beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begin {
    pub version: u32,
    /// The sequence of the ledger that the run began with.
    pub base: u64,
    pub machine_id: String,
    pub holder: Holder,
    pub revision: RevisionMark,
    /// The name that temporary files of this run have.
    pub temporary: String,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Record {
    /// The run begins.
    Begin(Begin),
    /// A resource is about to be changed.
    #[serde(rename_all = "camelCase")]
    Intent {
        address: Address,
        generation: u64,
        at: Moment,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<Original>,
    },
    /// It wasn't changed after all; this is what the ledger had of it.
    #[serde(rename_all = "camelCase")]
    Cancel {
        address: Address,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<Box<Entry>>,
    },
    /// It was found as desired.
    #[serde(rename_all = "camelCase")]
    Confirmed {
        address: Address,
        spec: Box<Spec>,
        digest: Digest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        original: Option<Original>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<BTreeMap<Address, Digest>>,
    },
    /// A service was started with these inputs.
    #[serde(rename_all = "camelCase")]
    Started {
        address: Address,
        inputs: BTreeMap<Address, Digest>,
    },
    /// It is gone, and so is what we know of it.
    #[serde(rename_all = "camelCase")]
    Forgotten { address: Address },
    /// A path of a sandbox has another owner.
    #[serde(rename_all = "camelCase")]
    Owned {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
    },
    /// Everything is as this desired state says.
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
