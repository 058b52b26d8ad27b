//! `hostname`: the host's own name.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::field::Manage;
use crate::address::AnyAddress;

/// The machine's own host name: `hostname` in the Host's spec, or else the Host's name. A host can have one;
/// its name is `system`. It expands to the file `/etc/hostname`, the sysctl `kernel.hostname`, and a file
/// that tells cloud-init to preserve the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostnameSpec {
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for HostnameSpec {
    const EXAMPLE: &'static str = r"hostname:
  system: {}
";

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "system")
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
