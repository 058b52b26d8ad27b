//! `sudoers`: a permission for a user or a group to run programs as others.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::{Manage, Principal};
use crate::address::AnyAddress;

/// A permission for a user or a group to run programs as others. It expands to a `file` of the same name in
/// `/etc/sudoers.d`, checked with `visudo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SudoersSpec {
    /// The user who gets the permission. Either `user` or `group` is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Principal>,
    /// The group that gets the permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The allowed programs as absolute paths, or `ALL`. If a path is followed by arguments, only these
    /// arguments are allowed.
    pub commands: Vec<String>,
    /// The user as whom the programs run; `ALL` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Principal>,
    /// True if sudo doesn't ask for a password.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_password: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for SudoersSpec {
    const EXAMPLE: &'static str = r"sudoers:
  deploy: {user: deploy, commands: [ALL], noPassword: true}
";

    const SETS: &'static [&'static str] = &["after", "commands"];

    fn check_name(name: &str) -> Result<(), String> {
        // sudo silently skips files with a dot in their name, or with a `~` at its end.
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        if name.len() <= 200 && name.bytes().all(good) {
            Ok(())
        } else {
            Err(
                "the name of a file in /etc/sudoers.d must have only letters, digits, `_` and `-`"
                    .to_owned(),
            )
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.user.is_some() == self.group.is_some() {
            problems.push(Problem {
                field: "user",
                message: "it must have exactly one of `user` and `group`".to_owned(),
                hint: "add or remove one".to_owned(),
            });
        }
        // A command that begins with `!` only looks like a ban: a copy of the program would still run.
        let good = |command: &String| {
            (command == "ALL" || command.starts_with('/')) && !command.contains(char::is_control)
        };
        if self.commands.is_empty() || !self.commands.iter().all(good) {
            problems.push(Problem {
                field: "commands",
                message: "a command must be ALL, or an absolute path with or without arguments"
                    .to_owned(),
                hint: "write [ALL], or [/usr/bin/systemctl restart nginx]".to_owned(),
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
