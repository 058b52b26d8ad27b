//! `environment`: a variable of every login and of the services of users.

use serde::{Deserialize, Serialize};

use super::command::is_variable;
use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// A variable of every login and of the services of users. Its name is the variable's. All variables of a host
/// expand to two files: `/etc/environment.d/90-plumb.conf` for user services of systemd, and
/// `/etc/profile.d/plumb.sh` for login shells.
///
/// A session that is open keeps its environment; system services have theirs in their units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// The value, of one line. Nothing in it is expanded.
    pub value: String,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for EnvironmentSpec {
    const EXAMPLE: &'static str = r"environment:
  EDITOR: {value: nvim}
";

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
