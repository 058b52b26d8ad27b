//! `sysctl`: a kernel parameter.

use serde::{Deserialize, Serialize};

use super::field::{Manage, Presence};
use super::{Problem, Resource};
use crate::name::Address;
use crate::plan::FieldChange;

/// A kernel parameter; its name is the key (`net.ipv4.ip_forward`; a `.` within a name is written `/`).
///
/// Plumb manages two states: the running value, and `/etc/sysctl.d/80-plumb-KEY.conf` for the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SysctlSpec {
    /// `present` (default) or `absent` (not persisted; the running value stays).
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The value, a string; any white space between fields is equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default) or `once`.
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

/// Folds each run of white space into one space: the kernel prints tabs.
pub(super) fn fold(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Second names of values of the kernel, each with the first name.
const ALIASES: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"),
    ("net/nf_conntrack_max", "net/netfilter/nf_conntrack_max"),
    ("vm/nr_hugepages_mempolicy", "vm/nr_hugepages"),
];

/// Limits in two units, of which setting one sets the other to zero.
const UNITS: &[(&str, &str)] = &[
    ("vm/dirty_bytes", "vm/dirty_ratio"),
    ("vm/dirty_background_bytes", "vm/dirty_background_ratio"),
    ("vm/overcommit_kbytes", "vm/overcommit_ratio"),
];

impl SysctlSpec {
    /// Folds each run of white space into one space: the kernel prints tabs.
    pub fn fold(value: &str) -> String {
        fold(value)
    }

    /// Returns the key's path below `/proc/sys`. A key whose first separator is a `/` is that path already;
    /// otherwise `.` and `/` change places, as in sysctl.d(5).
    pub fn kernel_name(key: &str) -> String {
        if key.find('/').unwrap_or(key.len()) < key.find('.').unwrap_or(key.len()) {
            return key.to_owned();
        }
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect()
    }

    /// Returns the path below `/proc/sys` of the value that setting a key sets. The kernel has some values
    /// under two keys; setting one of them overwrites the other.
    pub fn kernel_value(key: &str, value: &str) -> String {
        let name = Self::kernel_name(key);
        let first = |pairs: &[(&str, &'static str)]| {
            pairs
                .iter()
                .find(|(second, _)| *second == name)
                .map(|(_, first)| (*first).to_owned())
        };
        if let Some(alias) = first(ALIASES) {
            return alias;
        }
        // Zero leaves a limit to its other unit.
        if let Some(limit) = first(UNITS).filter(|_| fold(value) != "0") {
            return limit;
        }
        // The neighbour tables have their times in seconds or jiffies, and in milliseconds.
        match name.strip_suffix("_ms") {
            Some(short) if name.contains("/neigh/") => short.to_owned(),
            _ => name,
        }
    }

    /// Returns the path of Plumb's own file for a key.
    pub fn file(key: &str) -> String {
        // A file's name can't contain `/`, and no key contains `+`.
        format!("/etc/sysctl.d/80-plumb-{}.conf", key.replace('/', "+"))
    }
}

impl Resource for SysctlSpec {
    type Observed = SysctlObserved;

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
            Err("a sysctl is named like net.ipv4.ip_forward".to_owned())
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let printable = self.value.as_ref().is_none_or(|v| {
            !fold(v).is_empty()
                && !v.contains(|c: char| c.is_control() && c != '\t')
                && v.len() <= 4096
        });
        if self.wants_absent() == self.value.is_some() || !printable {
            return vec![Problem {
                field: "value",
                message: "a sysctl has a `value` of one line, or is absent".to_owned(),
                hint: "write `value: \"1\"` in quotes, or `state: absent` alone".to_owned(),
            }];
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
            for (field, found) in [
                ("running", &observed.running),
                ("persisted", &observed.persisted),
            ] {
                if found.as_deref() != Some(value.as_str()) {
                    changes.push(FieldChange::of(field, found.as_ref(), Some(&value)));
                }
            }
        }
        changes
    }

    fn path(name: &str) -> Option<String> {
        Some(Self::file(name))
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
