//! `timer`: a program that systemd runs on a schedule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::is_variable;
use super::composite::{Composite, Named};
use super::contract::Problem;
use super::credentials::secret_problem;
use super::field::{Manage, Principal};
use super::program::check_program;
use super::unit::is_unit_name;
use super::{CompositeKind, Kind};
use crate::address::{AnyAddress, AnyKind};
use crate::name::Address;
use crate::period::Period;

/// A program that systemd runs on a schedule. It expands to the units `NAME.service` and `NAME.timer`, to the
/// service `NAME.timer`, which is started and enabled, and to the check `timer-NAME`, which fails while the
/// program or the user isn't on the host.
///
/// The service is hardened: `PrivateTmp`, `NoNewPrivileges`, `ProtectSystem=full` (`/usr`, `/boot` and `/etc`
/// are read-only), `ProtectKernelTunables`, `ProtectKernelModules`, `ProtectControlGroups`,
/// `RestrictSUIDSGID`, `RestrictRealtime`, `LockPersonality`. To loosen this, add a drop-in of your own
/// (`unit: {NAME.service.d/local.conf: …}`). If a package has a unit of the same name, Plumb reports an error
/// and doesn't override it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimerSpec {
    /// The program, as an absolute path, and its arguments. No shell interprets them.
    pub run: Vec<String>,
    /// When the program runs: `{onBoot, every, calendar, persistent, randomDelay}`.
    pub schedule: Schedule,
    /// The user as whom the program runs; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Principal>,
    /// A timer or a service of this host that systemd starts if the program fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// Environment variables of the program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Secrets that the program reads, as files of these names in the folder `$CREDENTIALS_DIRECTORY`:
    /// `{token: secret:gandi/token}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<String, Address>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// When a timer runs its program. At least one of `onBoot`, `every` and `calendar` is required.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Time from boot to a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_boot: Option<Period>,
    /// Time from one run to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// Calendar times of runs as in systemd.time(7): `Sat 02:00`, `daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// True if the program runs after boot when a time of `calendar` passed while the machine was off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persistent: bool,
    /// Maximum random delay of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_delay: Option<Period>,
}

impl Schedule {
    /// Returns the first problem of the schedule and a hint, if any.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.on_boot.is_none() && self.every.is_none() && self.calendar.is_none() {
            return Some((
                "it has no condition for when to run",
                "add `onBoot`, `every` or `calendar`",
            ));
        }
        let bad_calendar = |calendar: &String| {
            calendar.trim().is_empty() || calendar.contains(|c: char| c.is_control())
        };
        if self.calendar.as_ref().is_some_and(bad_calendar) {
            return Some((
                "`calendar` isn't a calendar event of systemd.time(7)",
                "run `systemd-analyze calendar \"Sat 02:00\"` to see what a text means",
            ));
        }
        if self.persistent && self.calendar.is_none() {
            return Some((
                "`persistent` only works with `calendar`",
                "remove it, or add `calendar`",
            ));
        }
        None
    }
}

impl Composite for TimerSpec {
    const EXAMPLE: &'static str = r"timer:
  dyndns:
    run: [/usr/local/bin/dyndns]
    schedule: {onBoot: 5m, every: 60m}
    environment: {ZONE: fleet.example}
";

    fn check_name(name: &str) -> Result<(), String> {
        if is_unit_name(&format!("{name}.timer")) && !name.contains('@') {
            Ok(())
        } else {
            Err("name a timer like its units, without `.timer`: backup".to_owned())
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems: Vec<Problem> = check_program("run", &self.run).into_iter().collect();
        let schedule = &self.schedule;
        let mut wrong = |field: &'static str, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        if let Some((message, hint)) = schedule.problem() {
            wrong("schedule", message, hint);
        }
        let good = |(name, value): (&String, &String)| {
            is_variable(name) && !value.contains(|c: char| c.is_control())
        };
        if !self.environment.iter().all(good) {
            wrong(
                "environment",
                "a variable's name must be letters, digits and `_`, and its value one line",
                "put longer text into a file that the program reads",
            );
        }
        let is_word = |name: &&String| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && !name.starts_with('.')
        };
        if let Some(name) = self.credentials.keys().find(|name| !is_word(name)) {
            problems.push(Problem {
                field: "credentials",
                message: format!("`{}` isn't a name of a credential", name.escape_debug()),
                hint: "use letters, digits, `.`, `_` and `-`".to_owned(),
            });
        }
        let secrets = self.credentials.values();
        problems.extend(secrets.filter_map(|secret| secret_problem("credentials", secret)));
        problems
    }

    fn names(&self) -> Vec<Named> {
        let Some(name) = &self.on_failure else {
            return Vec::new();
        };
        let kinds = [
            AnyKind::Composite(CompositeKind::Timer),
            AnyKind::Primitive(Kind::Service),
        ];
        let any_of = kinds
            .into_iter()
            .filter_map(|kind| AnyAddress::new(kind, name).ok())
            .collect();
        vec![Named {
            field: "onFailure",
            any_of,
        }]
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
