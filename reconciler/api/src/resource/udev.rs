//! `udev`: rules for devices.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// Rules for devices. They expand to the file `/etc/udev/rules.d/90-NAME.rules`, and to commands that make
/// udev reload its rules and apply them to existing devices. If the host's `os.release` is 13 or newer, the
/// file is checked with `udevadm verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UdevSpec {
    /// Lines of rules as in udev(7).
    pub rules: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
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
