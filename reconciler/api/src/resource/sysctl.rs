//! `sysctl`: a kernel parameter.

mod key;
mod value;

use serde::{Deserialize, Serialize};

use self::value::{fold, octal, same};
use super::contract::{Dependency, Strength, Trigger};
use super::field::{Manage, Presence};
use super::{Problem, Resource};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A kernel parameter. The name is the key, such as `net.ipv4.ip_forward`. If a part of the key contains a
/// dot, write `/` for that dot, or write the whole key as a path: `net/ipv4/conf/eth0.100/forwarding`.
///
/// Plumb manages the running value, and for the next boot the file `/etc/sysctl.d/80-plumb-KEY.conf`
/// (`81-plumb-KEY.conf` if setting another key resets this one). If the kernel shows a value that Plumb wrote
/// in another form, that isn't a difference. If the kernel doesn't have the key yet, Plumb reports an error,
/// but writes the file, so that a later boot can set the value. It is an error too if a file of somebody else
/// sets another value after Plumb's file at boot; Plumb sets the running value nevertheless.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SysctlSpec {
    /// `present` (default), or `absent`: the value isn't set at boot, and the running value stays.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The value, a string of one line; `""` empties a list. Plumb regards values as equal if they differ
    /// only in white space between fields, in the notation of a number (`0x40`, `64`), or in the notation of
    /// a list of numbers (`1,2,3`, `1-3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SysctlObserved {
    /// The running value with white space folded; `None` if the kernel has no such key, or can't show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The value in Plumb's own file, with white space folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persisted: Option<String>,
}

impl SysctlSpec {
    /// Replaces each run of white space with one space, because the kernel prints tabs.
    pub fn fold(value: &str) -> String {
        fold(value)
    }

    /// True if the kernel reads two texts as the same value: it accepts several notations of numbers and
    /// lists of numbers.
    pub fn same(one: &str, other: &str) -> bool {
        same(one, other)
    }
}

impl Resource for SysctlSpec {
    type Observed = SysctlObserved;

    const EXAMPLE: &'static str = r#"sysctl:
  net.ipv4.ip_forward: {value: "1"}
  net.ipv4.conf.eth0/100.rp_filter: {value: "2"}
"#;

    const VALUE_FIELD: Option<&'static str> = Some("value");

    fn check_name(name: &str) -> Result<(), String> {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-/:".contains(&b))
        };
        let slashes = name.starts_with('/') || name.ends_with('/') || name.contains("//");
        if name.contains(['.', '/']) && !slashes && name.len() <= 200 && name.split('.').all(part) {
            Ok(())
        } else {
            Err("name a sysctl like net.ipv4.ip_forward".to_owned())
        }
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let problem = |message: String, hint: String| {
            vec![Problem {
                field: "value",
                message,
                hint,
            }]
        };
        let one_line = self
            .value
            .as_ref()
            .is_none_or(|v| !v.contains(|c: char| c.is_control() && c != '\t') && v.len() <= 4096);
        if self.wants_absent() == self.value.is_some() || !one_line {
            return problem(
                "a sysctl needs a `value` of one line, unless it is absent".to_owned(),
                "write `value: \"1\"` in quotes, `value: \"\"` for an empty list, or `state: absent` alone"
                    .to_owned(),
            );
        }
        if let Some(right) = Self::spelling(name) {
            return problem(
                format!("the kernel has no sysctl {name}: an interface's name has too many parts"),
                format!("write `{right}`: a dot within a name is written `/`"),
            );
        }
        if let Some((text, number)) = self.value.as_deref().and_then(octal) {
            let hint = match number {
                Some(number) => format!("write `{number}`, or leave out the leading zero"),
                None => "leave out the leading zero".to_owned(),
            };
            return problem(
                format!("the kernel reads `{text}` as an octal number, for its leading zero"),
                hint,
            );
        }
        Vec::new()
    }

    fn compare(&self, observed: &SysctlObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if self.wants_absent() {
            if let Some(persisted) = &observed.persisted {
                changes.push(FieldChange::of("persisted", Some(persisted), None));
            }
        } else if let Some(value) = &self.value {
            let value = fold(value);
            let running = observed.running.as_ref();
            if running.is_none_or(|found| !same(found, &value)) {
                changes.push(FieldChange::of("running", running, Some(&value)));
            }
            let persisted = observed.persisted.as_ref();
            if persisted != Some(&value) {
                changes.push(FieldChange::of("persisted", persisted, Some(&value)));
            }
        }
        changes
    }

    fn path(name: &str) -> Option<String> {
        Some(Self::file(name))
    }

    /// Returns the keys that reset this one. It is applied after them, and removed after them too.
    fn requires(&self, name: &str) -> Vec<Dependency> {
        Self::reset_by(name)
            .into_iter()
            .map(|address| Dependency {
                address,
                strength: Strength::Resetting,
            })
            .collect()
    }

    fn triggers(&self, name: &str) -> Vec<Trigger> {
        if self.value.is_none() {
            return Vec::new();
        }
        Self::reset_by(name)
            .into_iter()
            .map(|on| Trigger {
                on,
                effect: Consequence::Runs(format!("sysctl {name}")),
            })
            .collect()
    }

    fn reacts(&self, _observed: Option<&SysctlObserved>) -> bool {
        self.value.is_some()
    }

    fn made(_differing: &[FieldChange]) -> bool {
        false
    }

    fn exists(observed: &SysctlObserved) -> bool {
        observed.persisted.is_some()
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
