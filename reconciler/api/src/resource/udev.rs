//! `udev`: rules for devices.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use super::tmpfiles::check_file_stem;
use crate::address::AnyAddress;

/// Rules for devices. Expands to the file `/etc/udev/rules.d/90-NAME.rules` and to commands that make udev read its
/// rules again and apply them to the devices that are there. Where the host's `os.release` is 13 or newer, `udevadm
/// verify` must accept the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UdevSpec {
    /// Lines of udev(7).
    pub rules: Vec<String>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for UdevSpec {
    const EXAMPLE: &'static str = r#"udev:
  spindown:
    rules: ['ACTION=="add", KERNEL=="sd[a-z]", RUN+="/usr/sbin/hdparm -S 120 /dev/%k"']
"#;

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let good = |rule: &String| {
            !rule.contains(char::is_control) && (rule.contains('=') || rule.starts_with('#'))
        };
        let mut problems = Vec::new();
        if self.rules.is_empty() || !self.rules.iter().all(good) {
            problems.push(Problem {
                field: "rules",
                message:
                    "a rule must be one line of `KEY==\"value\"` and `KEY=\"value\"`, as in udev(7)"
                        .to_owned(),
                hint: "write a list with one rule in each text".to_owned(),
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
