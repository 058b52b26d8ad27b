//! `command`: a program that runs when its guards or its inputs require it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::{Manage, Principal};
use super::program::check_program;
use super::{Dependency, Problem, Resource, Strength, Trigger, differs};
use crate::name::Address;
use crate::period::Period;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A program that the agent runs when its guards or its inputs require it. Any name may be chosen.
///
/// At least one of `creates`, `unless`, `onlyIf` and `refreshOn` is required. If several are given, the
/// command runs only when all of them require it. `refreshOn` requires a run until the command has succeeded
/// once, and again after each change that Plumb makes to a listed resource. A failed run is repeated. Guards
/// must not change anything; each may take 10 seconds. When the command leaves git, its effects stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandSpec {
    /// The program, as an absolute path, and its arguments. No shell interprets them.
    pub run: Vec<String>,
    /// A path. The command runs only if nothing exists there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creates: Option<String>,
    /// A program with its arguments. The command runs only if this program fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// A program with its arguments. The command runs only if this program succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_if: Vec<String>,
    /// Resources. The command runs once after each change of one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refresh_on: Vec<Address>,
    /// The user that runs the command and its guards; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Principal>,
    /// The working directory; `/` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Environment variables in addition to PATH, HOME and `LC_ALL=C.UTF-8`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The text for the command's standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The exit statuses that count as success; 0 when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<u8>,
    /// The time limit, such as `30s` or `10m`; 5 minutes when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: run the command until it has succeeded once, and never again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandObserved {
    /// The result of the guards.
    pub guard: Guard,
    /// True if an input of `refreshOn` changed since the last success.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// The result of a command's guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    /// The guards require no run.
    #[default]
    Met,
    /// Every guard requires a run.
    Unmet,
}

impl CommandSpec {
    /// True if the command has a guard.
    pub fn has_guard(&self) -> bool {
        self.creates.is_some() || !self.unless.is_empty() || !self.only_if.is_empty()
    }

    /// True if the observed state requires a run.
    fn needed(&self, observed: CommandObserved) -> bool {
        let guard = !self.has_guard() || observed.guard == Guard::Unmet;
        let stale = self.refresh_on.is_empty() || observed.stale;
        guard && stale
    }
}

/// Checks a name that stands for nothing on the host.
pub(super) fn check_plain_name(name: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.len() <= 100 && name.bytes().all(good) {
        Ok(())
    } else {
        Err("a name is letters, digits, `.`, `_` and `-`, 100 at most".to_owned())
    }
}

/// True if every shell accepts this as a variable's name.
pub(super) fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Resource for CommandSpec {
    type Observed = CommandObserved;

    const EXAMPLE: &'static str = r#"file:
  /etc/aliases: {content: "root: ops@fleet.example\n"}
command:
  newaliases: {run: [/usr/bin/newaliases], refreshOn: [file:/etc/aliases]}
"#;

    const VALUE_FIELD: Option<&'static str> = Some("run");

    const SETS: &'static [&'static str] = &["after", "refreshOn"];

    const REFERENCES: &'static [&'static str] = Self::SETS;

    const RANK: u8 = 70;

    const REACTIONS: &'static [&'static str] = &["inputs"];

    const RUNS: &'static [&'static str] = &["guard", "inputs"];

    fn check_name(name: &str) -> Result<(), String> {
        check_plain_name(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.has_guard() && self.refresh_on.is_empty() {
            problems.push(Problem {
                field: "run",
                message: "it has no condition for when to run".to_owned(),
                hint:
                    "add `creates`, `unless`, `onlyIf` or `refreshOn`; without one it would run each time"
                        .to_owned(),
            });
        }
        for (field, words) in [
            ("run", &self.run),
            ("unless", &self.unless),
            ("onlyIf", &self.only_if),
        ] {
            if field == "run" || !words.is_empty() {
                problems.extend(check_program(field, words));
            }
        }
        let paths = [("creates", &self.creates), ("directory", &self.directory)];
        for (field, path) in paths {
            if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                problems.push(Problem {
                    field,
                    message: format!("`{field}` isn't an absolute path"),
                    hint: "begin it with `/`".to_owned(),
                });
            }
        }
        if self.user.as_ref().is_some_and(|user| user.name().is_none()) {
            problems.push(Problem {
                field: "user",
                message: "`user` must be a name, not a number".to_owned(),
                hint: "write the user's name".to_owned(),
            });
        }
        if let Some(name) = self.environment.keys().find(|name| !is_variable(name)) {
            problems.push(Problem {
                field: "environment",
                message: format!("`{name}` isn't a valid name of a variable"),
                hint: "use letters, digits and `_`, with no digit at the start".to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &CommandObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if !self.needed(*observed) {
            return changes;
        }
        if self.has_guard() {
            differs(
                &mut changes,
                "guard",
                Some(&Guard::Met),
                Some(&observed.guard),
            );
        }
        if !self.refresh_on.is_empty() {
            changes.push(FieldChange::new("inputs", "stale", "done"));
        }
        changes
    }

    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let named = self.refresh_on.iter().map(|address| Dependency {
            address: address.clone(),
            strength: Strength::Explicit,
        });
        let user = self.user.as_ref().and_then(Principal::name);
        let user = user.and_then(|name| Address::new(super::Kind::User, name).ok());
        named
            .chain(user.map(|address| Dependency {
                address,
                strength: Strength::Implicit,
            }))
            .collect()
    }

    fn triggers(&self, name: &str) -> Vec<Trigger> {
        self.refresh_on
            .iter()
            .map(|on| Trigger {
                on: on.clone(),
                effect: Consequence::Runs(format!("command {name}")),
            })
            .collect()
    }

    /// Returns true: a guard can still prevent the run, but the agent evaluates it only after the inputs have
    /// changed.
    fn reacts(&self, _observed: Option<&CommandObserved>) -> bool {
        true
    }

    /// Returns false: only the ledger records that the command ran.
    fn made(_differing: &[FieldChange]) -> bool {
        false
    }

    fn exists(_observed: &CommandObserved) -> bool {
        false
    }

    fn certainty(&self, _observed: Option<&CommandObserved>) -> Certainty {
        if self.has_guard() {
            Certainty::Exact
        } else {
            Certainty::Opaque
        }
    }

    fn invalidates(&self) -> bool {
        true
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(spec: serde_json::Value) -> Vec<&'static str> {
        let spec: CommandSpec = serde_json::from_value(spec).unwrap();
        spec.check("x")
            .into_iter()
            .map(|problem| problem.field)
            .collect()
    }

    #[test]
    fn command_needs_a_reason_to_run() {
        use serde_json::json;
        assert_eq!(fields(json!({"run": ["/bin/x"]})), ["run"]);
        for reason in [
            json!({"run": ["/bin/x"], "creates": "/a"}),
            json!({"run": ["/bin/x"], "unless": ["/bin/y"]}),
            json!({"run": ["/bin/x"], "onlyIf": ["/bin/y"]}),
            json!({"run": ["/bin/x"], "refreshOn": ["file:/a"]}),
        ] {
            assert_eq!(fields(reason.clone()), Vec::<&str>::new(), "{reason}");
        }
    }

    #[test]
    fn command_rejects_relative_paths_and_odd_names() {
        use serde_json::json;
        let wrong = json!({"run": ["x"], "creates": "a", "directory": "b", "environment": {"1": ""}, "user": "7"});
        assert_eq!(
            fields(wrong),
            ["run", "creates", "directory", "user", "environment"]
        );
    }
}
