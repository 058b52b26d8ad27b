//! `hosts`: the names and addresses of the fleet's hosts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// The names and addresses of the fleet's hosts, for programs of this host. It expands to a block in
/// `/etc/hosts`, and in cloud-init's template of that file where the host has it. The rest of both files
/// stays as it is.
///
/// Each address of a host has its name with the fleet's domain, its hostname and its name in the fleet.
/// Hosts without a static address in the networks, and retired hosts, aren't listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostsSpec {
    /// The networks whose addresses are listed, the preferred one first. When left out, all networks that the
    /// host is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Additional lines: `203.0.113.9 cache`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// True if the line is an address and names.
fn is_line(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let address = words
        .next()
        .is_some_and(|word| word.parse::<IpAddr>().is_ok());
    let names: Vec<&str> = words.collect();
    let is_name = |name: &&str| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        name.len() <= 253 && name.chars().all(good)
    };
    address && !names.is_empty() && names.iter().all(is_name) && !line.contains('\n')
}

impl Composite for HostsSpec {
    const EXAMPLE: &'static str = r#"hosts:
  fleet: {networks: [wg], extra: ["203.0.113.9 cache.fleet.example cache"]}
"#;

    const SETS: &'static [&'static str] = &["after", "extra"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let wrong = self.extra.iter().find(|line| !is_line(line));
        wrong
            .map(|line| Problem {
                field: "extra",
                message: format!("`{line}` isn't an address and names"),
                hint: "write extra: [\"203.0.113.9 cache\"]".to_owned(),
            })
            .into_iter()
            .collect()
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_lines_are_an_address_and_names() {
        for good in ["203.0.113.9 cache", "2001:db8::1\ta b.example"] {
            assert!(is_line(good), "{good}");
        }
        for bad in [
            "cache",
            "203.0.113.9",
            "203.0.113 a",
            "203.0.113.9 a # b",
            "203.0.113.9 a\n192.0.2.1 b",
        ] {
            assert!(!is_line(bad), "{bad}");
        }
    }
}
