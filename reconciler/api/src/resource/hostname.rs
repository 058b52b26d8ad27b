//! `hostname`: the host's own name.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::field::Manage;
use super::zram::check_only_name;
use crate::address::AnyAddress;

/// The host's own name: `spec.hostname`, or the Host's name. A host has one, `system`. Expands to the file
/// `/etc/hostname`, the sysctl `kernel.hostname`, and a file that tells cloud-init to preserve the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostnameSpec {
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
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
