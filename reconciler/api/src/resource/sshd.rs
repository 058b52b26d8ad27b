//! `sshd`: the configuration of the SSH server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use super::setting::Setting;
use crate::address::AnyAddress;

/// The configuration of the SSH server. It expands to the drop-in `/etc/ssh/sshd_config.d/10-plumb-NAME.conf`
/// (checked with `sshd -t`) and to the service `ssh`, which reloads. With `ports` or `on`, it also expands to
/// a drop-in of `ssh.socket`, for hosts on which the socket activates sshd.
///
/// sshd uses the first value that it reads for a setting, so this drop-in overrides the settings of the
/// distribution and of cloud-init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshdSpec {
    /// The ports on which sshd listens; the distribution's 22 when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// The networks in which sshd listens, on the host's addresses there; all interfaces when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// True if users may log in with passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passwords: Option<bool>,
    /// True if root may log in, with a key. False if root may not log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<bool>,
    /// The only users that may log in. They must include the users that Plumb connects as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_users: Vec<String>,
    /// Settings for logins that meet criteria.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<SshdMatch>,
    /// Other settings of `sshd_config(5)`: `MaxSessions: 10`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Setting>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// Settings for the logins that meet all of the criteria.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshdMatch {
    /// Pattern for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Pattern for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Pattern for the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Settings of `sshd_config(5)`.
    pub settings: BTreeMap<String, Setting>,
}

/// Settings of `sshd_config(5)` for which the type has fields of its own.
const OWN: [&str; 6] = [
    "port",
    "listenaddress",
    "passwordauthentication",
    "permitrootlogin",
    "allowusers",
    "match",
];

fn check_settings(field: &'static str, settings: &BTreeMap<String, Setting>) -> Option<Problem> {
    let wrong = |name: &str, value: &Setting| {
        name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) || !value.is_line()
    };
    let bad = settings.iter().find(|(name, value)| wrong(name, value));
    bad.map(|(name, _)| Problem {
        field,
        message: format!(
            "`{}` isn't a setting of sshd_config(5) with a value of one line",
            name.escape_debug()
        ),
        hint: "write settings: {MaxSessions: 10}".to_owned(),
    })
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"')
}

impl Composite for SshdSpec {
    const EXAMPLE: &'static str = r"sshd:
  main: {passwords: false, root: false, allowUsers: [deploy, john], settings: {MaxSessions: 20}}
";

    const SETS: &'static [&'static str] = &["after", "allowUsers", "on", "ports"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems: Vec<Problem> = check_settings("settings", &self.settings)
            .into_iter()
            .collect();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        let own = |name: &&String| OWN.contains(&name.to_ascii_lowercase().as_str());
        if let Some(name) = self.settings.keys().find(own) {
            wrong(
                "settings",
                format!("`{name}` is set by a field of `sshd`"),
                "use `ports`, `on`, `passwords`, `root`, `allowUsers` or `match`",
            );
        }
        if self.ports.contains(&0) {
            wrong(
                "ports",
                "a port is 1 to 65535".to_owned(),
                "write ports: [22]",
            );
        }
        if !self.allow_users.iter().all(|user| is_pattern(user)) {
            wrong(
                "allowUsers",
                "a user is one word".to_owned(),
                "write allowUsers: [deploy]",
            );
        }
        for one in &self.matches {
            let criteria = [&one.user, &one.group, &one.address];
            let mut criteria = criteria.into_iter().flatten().peekable();
            if criteria.peek().is_none() || !criteria.all(|text| is_pattern(text)) {
                wrong(
                    "match",
                    "a `match` needs a `user`, `group` or `address` of one word".to_owned(),
                    "write match: [{user: build, settings: {MaxSessions: 1}}]",
                );
            }
        }
        problems.extend(
            self.matches
                .iter()
                .filter_map(|one| check_settings("match", &one.settings)),
        );
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
