//! `package`: a package of the distribution (apt on Debian).

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::{Problem, Resource, differs};
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A package; its name is the distribution's, with an architecture after a colon if it isn't the host's own
/// (`libc6:i386`). A virtual package is refused; its providers are told.
///
/// Packages are changed together, in one transaction per set of install options. One that fails keeps no other
/// from being installed, and neither does a source that can't be refreshed, which is told as an event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageSpec {
    /// `present` (default), `latest` (the newest version in apt's lists, as the host has them), `absent`
    /// (configuration stays) or `purged`.
    #[serde(default, skip_serializing_if = "PackageState::is_present")]
    pub state: PackageState,
    /// Exactly this version, or any that begins so if a `*` stands at its end (`1.22.*`).
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
    /// The newest version from the sources; observed only for `latest`, and for what is to be installed.
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

/// True if a version is the wanted one, or begins like a wanted one that ends with `*`.
fn fits(wanted: &str, version: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => version.starts_with(beginning),
        None => version == wanted,
    }
}

/// The key of the files from which apt learns of packages; packages come after them.
const SOURCES_KEY: &str = "apt/sources";

impl PackageSpec {
    /// Returns the input key of a file from which apt learns of packages.
    pub(super) fn key_of_path(path: &str) -> Option<String> {
        let folders = [
            "/etc/apt/sources.list.d/",
            "/etc/apt/keyrings/",
            "/etc/apt/preferences.d/",
        ];
        let found = path == "/etc/apt/sources.list"
            || folders.iter().any(|folder| path.starts_with(folder));
        found.then(|| SOURCES_KEY.to_owned())
    }
}

/// Returns the mistake in a name that apt doesn't read as one package.
fn not_one_package(name: &str) -> Option<String> {
    let message = if name.ends_with('^') {
        "`NAME^` is a task: name the packages that it has (`apt-cache show` lists them)"
    } else if name.contains(['*', '?', '[', ']', '(', ')', '|', '^', '$', '~']) {
        "a pattern names no package: name each package that is meant"
    } else if name.contains('=') {
        "a version isn't part of a package's name: write it as `version`"
    } else if name.contains('/') {
        "a release isn't part of a package's name: write `version`, or pin the release"
    } else {
        return None;
    };
    Some(message.to_owned())
}

impl Resource for PackageSpec {
    type Observed = PackageObserved;

    const EXAMPLE: &'static str = r#"package:
  nginx: {}
  htop: {state: latest}
  ntp: {state: purged}
  postgresql: {version: "15*", hold: true}
"#;

    const RANK: u8 = 30;

    fn input_keys(_name: &str) -> Vec<String> {
        vec![SOURCES_KEY.to_owned()]
    }

    fn check_name(name: &str) -> Result<(), String> {
        if let Some(message) = not_one_package(name) {
            return Err(message);
        }
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

    fn check(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(package) = name.strip_suffix(":any") {
            problems.push(Problem {
                field: "state",
                message: "a package has an architecture; `any` is for dependencies".to_owned(),
                hint: format!("write `{package}`"),
            });
        }
        if self.version.is_some() && self.state != PackageState::Present {
            problems.push(Problem {
                field: "version",
                message: "`version` is only possible with `state: present`".to_owned(),
                hint: "remove `state` or `version`".to_owned(),
            });
        }
        let version_ok = self.version.as_ref().is_none_or(|version| {
            let exact = version.strip_suffix('*').unwrap_or(version);
            !exact.is_empty()
                && exact
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".+-:~".contains(&b))
                && exact.as_bytes()[0].is_ascii_alphanumeric()
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
            let found = observed.version.as_ref();
            if !version
                .zip(found)
                .is_some_and(|(version, found)| fits(version, found))
            {
                differs(&mut changes, "version", version, found);
            }
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

    /// What apt's lists don't have may come with their refresh, or not at all.
    fn certainty(&self, observed: Option<&PackageObserved>) -> Certainty {
        let Some(observed) = observed.filter(|_| !self.wants_absent()) else {
            return Certainty::Exact;
        };
        let wanted = |has: &String| self.version.as_ref().is_none_or(|wanted| fits(wanted, has));
        let installed = observed.version.as_ref().is_some_and(wanted);
        let offered = observed.candidate.as_ref().is_some_and(wanted);
        if installed || offered || observed.broken {
            Certainty::Exact
        } else {
            Certainty::Predicted
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_apt_takes_for_more_than_a_package_are_refused() {
        for (name, word) in [
            ("web-server^", "task"),
            ("libapache2-mod-*", "pattern"),
            ("nginx=1.22", "version"),
            ("nginx/bookworm-backports", "release"),
            ("nginx-", "Debian policy"),
        ] {
            let error = PackageSpec::check_name(name).unwrap_err();
            assert!(error.contains(word), "{name}: {error}");
        }
        assert!(!PackageSpec::default().check("libc6:any").is_empty());
        for name in ["g++", "libstdc++6:i386", "libc6:all", "0ad", "python3.11"] {
            assert_eq!(PackageSpec::check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn only_what_apt_has_is_certain() {
        let spec = |version: Option<&str>| PackageSpec {
            version: version.map(str::to_owned),
            ..PackageSpec::default()
        };
        let offered = PackageObserved {
            candidate: Some("1.22.1-9".to_owned()),
            ..PackageObserved::default()
        };
        let nothing = PackageObserved::default();
        assert_eq!(spec(None).certainty(Some(&offered)), Certainty::Exact);
        assert_eq!(spec(None).certainty(Some(&nothing)), Certainty::Predicted);
        assert_eq!(
            spec(Some("1.22.*")).certainty(Some(&offered)),
            Certainty::Exact
        );
        assert_eq!(
            spec(Some("1.23")).certainty(Some(&offered)),
            Certainty::Predicted
        );
    }

    #[test]
    fn a_version_with_an_open_end_fits_what_begins_so() {
        let spec = PackageSpec {
            version: Some("1.22.*".to_owned()),
            ..PackageSpec::default()
        };
        assert!(spec.check("nginx").is_empty());
        let has = |version: &str| PackageObserved {
            version: Some(version.to_owned()),
            ..PackageObserved::default()
        };
        assert!(spec.compare(&has("1.22.1-9")).is_empty());
        assert_eq!(spec.compare(&has("1.24.0-1"))[0].field, "version");
    }
}
