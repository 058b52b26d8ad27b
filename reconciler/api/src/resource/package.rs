//! `package`: a package of the distribution (apt on Debian).

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::{Problem, Resource, differs};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A package; its name is the distribution's. Packages are changed together, in one transaction per set of
/// install options.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageSpec {
    /// `present` (default), `latest`, `absent` (configuration stays) or `purged`.
    #[serde(default, skip_serializing_if = "PackageState::is_present")]
    pub state: PackageState,
    /// Exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// True if the package is held back from upgrades by others (`apt-mark hold`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// True if recommended packages are installed too (`install_recommends`); the distribution's default when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_recommends: Option<bool>,
    /// True if `version` may be older than the installed one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_downgrade: bool,
    /// True if the installation itself may start the package's services; otherwise they start when a
    /// `service` says so, with the configuration in place (`policy-rc.d`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_on_install: bool,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The desired state of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PackageState {
    /// Installed, in whatever version.
    #[default]
    Present,
    /// Installed, in the newest version from the sources.
    Latest,
    /// Not installed; its configuration may stay.
    Absent,
    /// Not installed, and no configuration left.
    Purged,
}

impl PackageState {
    /// True if this is the default; it is left out of the canonical form.
    pub fn is_present(&self) -> bool {
        *self == Self::Present
    }
}

/// The observed state of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageObserved {
    /// The installed version; `None` unless it is completely installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The newest version from the sources; observed only for `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Removed, with its configuration left behind (`config-files`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub config_files: bool,
    /// Half installed or half configured: dpkg was interrupted, or a maintainer script failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
    /// True if it is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

impl Resource for PackageSpec {
    type Observed = PackageObserved;

    const RANK: u8 = 30;

    fn check_name(name: &str) -> Result<(), String> {
        // Debian policy 5.6.1, with an optional architecture after a colon. apt takes other names as regular
        // expressions, or as a request to remove (`name-`), so they must not reach it.
        let (package, arch) = name.split_once(':').unwrap_or((name, "any"));
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        let good = package.len() >= 2
            && package.as_bytes()[0].is_ascii_alphanumeric()
            && package.bytes().all(rest)
            && !package.ends_with(['-', '+'])
            && !arch.is_empty()
            && arch
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        // Some real packages end with `+` (g++, libstdc++): apt tries the whole name before the suffix.
        if good || (package.ends_with("++") && package.bytes().all(rest)) {
            Ok(())
        } else {
            Err(
                "a package's name must be two or more of a-z, 0-9, `+`, `-`, `.` (Debian policy 5.6.1)"
                    .to_owned(),
            )
        }
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.version.is_some() && self.state != PackageState::Present {
            problems.push(Problem {
                field: "version",
                message: "`version` is only possible with `state: present`".to_owned(),
                hint: "remove `state` or `version`".to_owned(),
            });
        }
        let version_ok = self.version.as_ref().is_none_or(|version| {
            !version.is_empty()
                && version
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".+-:~".contains(&b))
                && version.as_bytes()[0].is_ascii_alphanumeric()
        });
        if !version_ok {
            problems.push(Problem {
                field: "version",
                message: "this isn't a Debian version".to_owned(),
                hint: "write the version as `apt policy NAME` prints it, such as 2:1.2.3-4+deb12u1"
                    .to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &PackageObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let found = match observed {
            PackageObserved { broken: true, .. } => "broken",
            PackageObserved {
                version: Some(_), ..
            } => "present",
            PackageObserved {
                config_files: true, ..
            } => "absent",
            _ => "purged",
        };
        let wanted = match self.state {
            PackageState::Present | PackageState::Latest => "present",
            PackageState::Absent if found == "purged" => "purged",
            PackageState::Absent => "absent",
            PackageState::Purged => "purged",
        };
        if found != wanted {
            changes.push(FieldChange::new("state", found, wanted));
        }
        if wanted == "present" {
            let newest = (self.state == PackageState::Latest)
                .then_some(observed.candidate.as_ref())
                .flatten();
            let version = self.version.as_ref().or(newest);
            differs(&mut changes, "version", version, observed.version.as_ref());
        }
        differs(
            &mut changes,
            "hold",
            self.hold.as_ref(),
            Some(&observed.held),
        );
        changes
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let removed = self.wants_absent() && fields.iter().any(|change| change.field == "state");
        removed
            .then(|| Consequence::Removes(format!("package {name}")))
            .into_iter()
            .collect()
    }

    fn exists(observed: &PackageObserved) -> bool {
        observed.version.is_some() || observed.broken
    }

    fn invalidates(&self) -> bool {
        true
    }

    fn lifeline(name: &str) -> bool {
        let package = name.split(':').next().unwrap_or(name);
        matches!(package, "openssh-server" | "sudo" | "plumb")
    }

    fn wants_absent(&self) -> bool {
        matches!(self.state, PackageState::Absent | PackageState::Purged)
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
