//! `cron`: a program that cron runs.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::{Manage, Principal};
use super::program::check_program;
use crate::address::AnyAddress;

/// A program that cron runs. It expands to a `file` of the same name in `/etc/cron.d`, and to the
/// `check` `cron-NAME`, which fails while the program or the user isn't on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CronSpec {
    /// When the program runs: five fields as in crontab(5), or one of `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`, `@yearly`, `@reboot`.
    pub schedule: String,
    /// The user as whom the program runs.
    pub user: Principal,
    /// The program and its arguments. No shell interprets them.
    pub run: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
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

/// One of the five fields of a schedule.
struct Field {
    least: u8,
    greatest: u8,
    /// Names that may stand for numbers.
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const fn field(least: u8, greatest: u8, names: &'static [&'static str]) -> Field {
    Field {
        least,
        greatest,
        names,
    }
}

/// Minute, hour, day of the month, month, and day of the week, on which Sunday is 0 and 7.
const FIELDS: [Field; 5] = [
    field(0, 59, &[]),
    field(0, 23, &[]),
    field(1, 31, &[]),
    field(1, 12, MONTHS),
    field(0, 7, DAYS),
];

impl Field {
    /// True if cron accepts an item of this field: `*`, a value or a range, optionally with a step.
    fn takes(&self, item: &str) -> bool {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let steps = |step: &str| number(step).is_some_and(|step| step > 0);
        if !step.is_none_or(steps) {
            return false;
        }
        match range.split_once('-') {
            _ if range == "*" => true,
            Some((first, last)) => {
                let (first, last) = (self.value(first), self.value(last));
                first.zip(last).is_some_and(|(first, last)| first <= last)
            }
            None => self.value(range).is_some(),
        }
    }

    fn value(&self, text: &str) -> Option<u8> {
        let named = |name: &&str| name.eq_ignore_ascii_case(text);
        let name = self.names.iter().position(named);
        let value = name
            .and_then(|at| u8::try_from(at).ok()?.checked_add(self.least))
            .or_else(|| number(text))?;
        (self.least..=self.greatest)
            .contains(&value)
            .then_some(value)
    }
}

fn number(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

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
        let good = |(text, field): (&&str, &Field)| text.split(',').all(|item| field.takes(item));
        let nickname = NICKNAMES.contains(&self.schedule.as_str());
        // cron ignores the whole file if one field is wrong.
        if !nickname && (fields.len() != FIELDS.len() || !fields.iter().zip(&FIELDS).all(good)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        let problems = |schedule: &str| {
            let spec = CronSpec {
                schedule: schedule.to_owned(),
                user: "root".parse().unwrap(),
                run: vec!["/bin/true".to_owned()],
                after: Vec::new(),
                manage: Manage::Always,
            };
            spec.check("x").len()
        };
        for good in [
            "0 6 * * 1",
            "*/15 0-6,22-23 1,15 jan-Mar Sun",
            "59 23 31 12 7",
            "1-30/2 * * * mon-fri",
            "@daily",
        ] {
            assert_eq!(problems(good), 0, "{good}");
        }
        for bad in [
            "61 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "* * * * funday",
            "5-1 * * * *",
            "*/0 * * * *",
            "+1 * * * *",
            "1,,2 * * * *",
            "* * * *",
        ] {
            assert_eq!(problems(bad), 1, "{bad}");
        }
    }
}
