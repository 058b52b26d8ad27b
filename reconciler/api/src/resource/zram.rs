//! `zram`: compressed swap in memory.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// Compressed swap in memory, with Debian's zram-tools. A host can have one; its name is `main`. It expands
/// to the package `zram-tools`, the file `/etc/default/zramswap`, and the service `zramswap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZramSpec {
    /// The size of the swap as a share of the memory, in percent: 1 to 400.
    pub percent: u16,
    /// The compression algorithm, such as `zstd` or `lz4`; the kernel's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// The priority among swap areas; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for ZramSpec {
    const EXAMPLE: &'static str = r"zram:
  main: {percent: 50, algorithm: zstd, priority: 100}
";

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "main")
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=400).contains(&self.percent) {
            problems.push(Problem {
                field: "percent",
                message: "`percent` must be 1 to 400".to_owned(),
                hint: "write percent: 50".to_owned(),
            });
        }
        let word = |text: &String| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if self.algorithm.as_ref().is_some_and(|text| !word(text)) {
            problems.push(Problem {
                field: "algorithm",
                message: "`algorithm` isn't the name of one".to_owned(),
                hint: "write algorithm: zstd".to_owned(),
            });
        }
        if self.priority.is_some_and(|priority| priority > 32767) {
            problems.push(Problem {
                field: "priority",
                message: "`priority` must be at most 32767".to_owned(),
                hint: "write priority: 100".to_owned(),
            });
        }
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
