//! The ledger's entry for one resource.

use std::collections::BTreeMap;

use plumb_api::read_back::ReadBacks;
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

/// The owner that Plumb records for a path in a sandbox, where it can't change ownership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub user: Principal,
    pub group: Principal,
}

/// The owners of a sandbox's paths; root owns a path that isn't listed.
pub(crate) type Owners = BTreeMap<String, Owner>;

/// A resource that Plumb made, changed, or found as desired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The spec that was last confirmed; `None` while the first change is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// The digest of `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The values that the host shows in another form than Plumb wrote them.
    #[serde(default, skip_serializing_if = "ReadBacks::is_empty")]
    pub read_back: ReadBacks,
    /// The ledger's counter at Plumb's last change of the resource; 0 if Plumb never changed it.
    #[serde(default)]
    pub generation: u64,
    /// The time of that change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Moment>,
    /// The state before Plumb's first change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// A service's inputs at its last start, see `provider::service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<Address, Digest>>,
}
