//! `cron`: a program that cron runs.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::{Manage, Principal};
use super::program::check_program;
use crate::address::AnyAddress;

/// A program that cron runs, from a file in `/etc/cron.d`. Its name is the file's. Expands to that `file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronSpec {
    /// The times: five fields as in crontab(5), or one of `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`, `@reboot`.
    pub schedule: String,
    /// The user that runs it.
    pub user: Principal,
    /// The program and its arguments. No shell reads them.
    pub run: Vec<String>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The nicknames of crontab(5).
const NICKNAMES: [&str; 8] = [
    "@reboot",
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

impl Composite for CronSpec {
    const EXAMPLE: &'static str = r#"cron:
  report: {schedule: "0 6 * * 1", user: root, run: [/usr/local/bin/report, --weekly]}
"#;

    fn check_name(name: &str) -> Result<(), String> {
        // cron silently skips files with other names.
        let good = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if good && name.len() <= 200 {
            Ok(())
        } else {
            Err(
                "the name of a file in /etc/cron.d must have only letters, digits, `_` and `-`"
                    .to_owned(),
            )
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let fields: Vec<&str> = self.schedule.split(' ').collect();
        let field = |field: &&str| {
            !field.is_empty()
                && field
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"*,-/".contains(&b))
        };
        let nickname = NICKNAMES.contains(&self.schedule.as_str());
        if !nickname && (fields.len() != 5 || !fields.iter().all(field)) {
            problems.push(Problem {
                field: "schedule",
                message: "`schedule` isn't a schedule of crontab(5)".to_owned(),
                hint: "write five fields, such as \"0 6 * * 1\", or a nickname such as \"@daily\""
                    .to_owned(),
            });
        }
        if self.user.name().is_none() {
            problems.push(Problem {
                field: "user",
                message: "`user` must be a name, not a number".to_owned(),
                hint: "write the user's name".to_owned(),
            });
        }
        problems.extend(check_program("run", &self.run));
        problems
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
