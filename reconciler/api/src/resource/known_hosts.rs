//! `knownHosts`: the SSH host keys that every user of the host trusts.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// The SSH host keys that every user of the host trusts: the pinned keys of all hosts of the fleet. Each key
/// is listed under all names and static addresses of its host. It expands to `/etc/ssh/ssh_known_hosts`.
///
/// Addresses in overlay networks and aliases aren't listed. A host whose sshd listens on another port than 22
/// is also listed as `[name]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KnownHostsSpec {
    /// Additional lines for the file: `git.example ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for KnownHostsSpec {
    const EXAMPLE: &'static str = r"knownHosts:
  fleet: {}
";

    const SETS: &'static [&'static str] = &["after", "extra"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let good = |line: &String| {
            line.split(' ').filter(|word| !word.is_empty()).count() >= 3
                && !line.contains(char::is_control)
        };
        let mut problems = Vec::new();
        if !self.extra.iter().all(good) {
            problems.push(Problem {
                field: "extra",
                message: "a line must be names, a type and a key".to_owned(),
                hint: "write extra: [\"git.example ssh-ed25519 AAAA…\"]".to_owned(),
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
