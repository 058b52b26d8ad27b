//! Pre-images: the state of a resource right before a change that could cut the controller off.

use plumb_api::{Address, Digest};
use serde::{Deserialize, Serialize};

use crate::book::{Entry, Original};
use crate::provider::{AccountLines, Reaction};

/// A resource as it was before a change that could cut the controller off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PreImage {
    pub address: Address,
    /// Digest of the desired spec; `None` if the change gives the resource back.
    pub digest: Option<Digest>,
    pub state: PreState,
    /// The ledger's entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Box<Entry>>,
}

/// The part of a pre-image that is put back on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PreState {
    /// A resource whose observation is complete.
    Observed(Box<Original>),
    /// A service, with the way in which it takes over its configuration again.
    Service(Box<Original>, Reaction),
    /// A user or group.
    Account(AccountLines),
    /// Nothing: the change leaves nothing on the host, such as a check.
    Nothing,
}
