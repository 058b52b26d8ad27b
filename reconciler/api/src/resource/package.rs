//! `package`: a package of the distribution (apt on Debian).

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::{Problem, Resource, differs};
use crate::name::Address;
use crate::plan::{Certainty, Consequence, FieldChange};

/// A package. The name is the distribution's, followed by a colon and an architecture if that isn't the
/// host's own (`libc6:i386`). A virtual package is an error, which names the packages that provide it.
///
/// Packages with the same install options are changed together in one transaction. If one of them fails, the
/// others are installed nevertheless. If a package source can't be refreshed, packages are installed
/// nevertheless, and an event reports the source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageSpec {
    /// `present` (default); `latest`: the newest version in the host's lists of packages; `absent`: removed,
    /// but its configuration stays; or `purged`: removed with its configuration.
    #[serde(default, skip_serializing_if = "PackageState::is_present")]
    pub state: PackageState,
    /// The exact version; or the beginning of the version, followed by `*` (`1.22.*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// True if the package is held (`apt-mark hold`), so that others don't upgrade it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// True if recommended packages are installed too; the distribution's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_recommends: Option<bool>,
    /// True if Plumb may replace the installed version by an older one that `version` requires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_downgrade: bool,
    /// True if the installation itself may start the package's services. By default it may not
    /// (`policy-rc.d`): they start when a `service` resource says so, after their configuration is in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start_on_install: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
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
    /// True if this is the default, which the canonical form omits.
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
    /// The newest version that the package sources have. It is observed only for `latest` and for packages
    /// that are to be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// True if the package was removed and its configuration left behind (`config-files`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub config_files: bool,
    /// True if the package is half installed or half configured: dpkg was interrupted, or a maintainer script
    /// failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
    /// True if the package is held (`apt-mark hold`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// True if `version` equals `wanted`, or begins with it if `wanted` ends with `*`.
fn fits(wanted: &str, version: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => version.starts_with(beginning),
        None => version == wanted,
    }
}

/// Input key of the files that tell apt about packages. Packages are applied after these files.
const SOURCES_KEY: &str = "apt/sources";

impl PackageSpec {
    /// Returns the input key of a file that tells apt about packages.
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

/// Returns the mistake in a name that apt wouldn't read as one package.
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
        // expressions, or as a request to install or remove (`name+`, `name-`), so they must not reach it. Names
        // such as g++ and memtest86+ are real, and apt tries the whole name first.
        let (package, arch) = name.split_once(':').unwrap_or((name, "any"));
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        let good = package.len() >= 2
            && package.as_bytes()[0].is_ascii_alphanumeric()
            && package.bytes().all(rest)
            && !package.ends_with('-')
            && !package
                .strip_suffix('+')
                .is_some_and(|name| name.ends_with(|c: char| c.is_ascii_lowercase()))
            && !arch.is_empty()
            && arch
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if good {
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

    /// Returns `Predicted` if apt's lists don't have the wanted version: it may appear when they are
    /// refreshed.
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
