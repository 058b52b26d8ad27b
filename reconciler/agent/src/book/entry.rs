//! What the ledger holds of one resource.

use std::collections::BTreeMap;

use plumb_api::resource::Principal;
use plumb_api::{Address, Digest, Spec};
use serde::{Deserialize, Serialize};

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
