//! `locale`: the language, time zone and keyboard of the system.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// The language, time zone and keyboard of the system. A host can have one; its name is `system`. Plumb
/// manages only the fields that are given.
///
/// `lang` expands to `/etc/default/locale`, or to `/etc/locale.conf` if the host's `os.release` is 13 or
/// newer. `generate` expands to the package `locales`, `/etc/locale.gen` and the command `locale-gen`.
/// `timezone` expands to `/etc/localtime` and `/etc/timezone`. `keymap` expands to `/etc/default/keyboard`,
/// which takes effect at the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocaleSpec {
    /// The language of programs: `en_GB.UTF-8`, `C.UTF-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// The locales that are generated: `en_GB.UTF-8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generate: Vec<String>,
    /// The time zone: `Europe/London`, `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The layout of the console's keyboard: `us`, `de`, `uk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keymap: Option<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// True if the text can be the name of a locale: it becomes a word in files of other programs.
fn is_locale(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-@".contains(&b);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(good)
}

/// True if the text can be the name of a time zone, and as a path stays within the folder of time zones.
fn is_zone(text: &str) -> bool {
    let good = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    text.len() <= 64 && text.split('/').all(good)
}

impl Composite for LocaleSpec {
    const EXAMPLE: &'static str = r"locale:
  system: {lang: en_GB.UTF-8, generate: [en_GB.UTF-8], timezone: Europe/London, keymap: uk}
";

    const SETS: &'static [&'static str] = &["after", "generate"];

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "system")
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        if self.lang.as_ref().is_some_and(|lang| !is_locale(lang)) {
            wrong(
                "lang",
                "`lang` isn't the name of a locale",
                "write lang: en_GB.UTF-8",
            );
        }
        let generated = |name: &String| is_locale(name) && name.ends_with(".UTF-8");
        if !self.generate.iter().all(generated) {
            wrong(
                "generate",
                "`generate` lists locales whose encoding is UTF-8",
                "write generate: [en_GB.UTF-8]",
            );
        }
        if self.timezone.as_ref().is_some_and(|zone| !is_zone(zone)) {
            wrong(
                "timezone",
                "`timezone` isn't the name of a time zone",
                "write timezone: Europe/London",
            );
        }
        let keymap = |text: &String| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        if self.keymap.as_ref().is_some_and(|text| !keymap(text)) {
            wrong(
                "keymap",
                "`keymap` isn't the name of a layout",
                "write keymap: us",
            );
        }
        let missing =
            |lang: &String| lang != "C.UTF-8" && lang != "C" && !self.generate.contains(lang);
        if !self.generate.is_empty() && self.lang.as_ref().is_some_and(missing) {
            wrong(
                "lang",
                "`lang` isn't among the locales of `generate`",
                "add it to `generate`",
            );
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
