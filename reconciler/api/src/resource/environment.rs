//! `environment`: a variable of every login and of the services of users.

use serde::{Deserialize, Serialize};

use super::command::is_variable;
use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// An environment variable of every login and of users' own systemd services. The name is that of the
/// variable. All variables of a host together expand to two files: `/etc/environment.d/90-plumb.conf` for the
/// user services of systemd, and `/etc/profile.d/plumb.sh` for login shells.
///
/// Open sessions keep their old environment. System services don't get the variable: set it in their units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// The value, of one line. Nothing in it is expanded.
    pub value: String,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for EnvironmentSpec {
    const EXAMPLE: &'static str = r"environment:
  EDITOR: {value: nvim}
";

    const VALUE_FIELD: Option<&'static str> = Some("value");

    fn check_name(name: &str) -> Result<(), String> {
        if is_variable(name) && name.len() <= 100 {
            Ok(())
        } else {
            Err("a variable is letters, digits and `_`, with no digit at the start".to_owned())
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.value.contains(char::is_control) {
            problems.push(Problem {
                field: "value",
                message: "a variable has a value of one line".to_owned(),
                hint: "remove line breaks and control characters".to_owned(),
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
