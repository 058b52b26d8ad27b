//! Reads the installed packages with one call of `dpkg-query`.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::PackageObserved;

use crate::error::Result;
use crate::sys::{Program, Sys};

/// The packages in dpkg's database.
#[derive(Debug, Default)]
pub(super) struct Installed {
    /// Architecture of the host.
    native: String,
    /// The packages by name, one for each architecture.
    packages: BTreeMap<String, Vec<(String, PackageObserved)>>,
    /// The installed packages that provide a name, by that name.
    provided: BTreeMap<String, BTreeSet<String>>,
}

/// The result of looking up a package name in dpkg's database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PackageMatch {
    /// dpkg doesn't have the package.
    Nothing,
    /// dpkg has the package in the architecture that the name denotes.
    Here(PackageObserved),
    /// dpkg has the package only in another architecture. A name without an architecture denotes this package
    /// if apt has no candidate for the host's architecture.
    Foreign(PackageObserved),
}

impl Installed {
    /// Reads dpkg's database.
    pub(super) fn read(sys: &Sys) -> Result<Self> {
        let format =
            "-f=${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\t${Provides}\\n";
        let output = Program::new("dpkg-query", ["-W", format]).run(sys)?;
        if output.status != 0 {
            return Err(AgentError::new(
                ErrorCode::CommandFailed,
                format!(
                    "dpkg-query failed ({}): {}",
                    output.status,
                    output.complaint()
                ),
            ));
        }
        Ok(Self::parse(&output.stdout))
    }

    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(package), Some(arch), Some(status)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let observed = read(status, fields.next().unwrap_or_default());
            if package == "dpkg" {
                // The package `dpkg` always has the host's architecture.
                arch.clone_into(&mut all.native);
            }
            if observed.version.is_some() {
                let named = fields.next().unwrap_or_default().split(',');
                for name in named.filter_map(|part| part.split_ascii_whitespace().next()) {
                    let name = name.split(':').next().unwrap_or(name);
                    let providers = all.provided.entry(name.to_owned()).or_default();
                    providers.insert(package.to_owned());
                }
            }
            let same = all.packages.entry(package.to_owned()).or_default();
            same.push((arch.to_owned(), observed));
        }
        all
    }

    /// Returns a package name without its architecture if that is the host's or `all`, as apt prints it.
    pub(super) fn bare<'a>(&self, name: &'a str) -> &'a str {
        match name.split_once(':') {
            Some((package, arch)) if arch == self.native || arch == "all" => package,
            _ => name,
        }
    }

    pub(super) fn find(&self, name: &str) -> PackageMatch {
        let bare = self.bare(name);
        let (package, arch) = bare.split_once(':').unwrap_or((bare, self.native.as_str()));
        let all = self.packages.get(package).map_or(&[][..], Vec::as_slice);
        let best = |fits: &dyn Fn(&str) -> bool| {
            let fitting = || all.iter().filter(|(other, _)| fits(other));
            let there = |(_, found): &&(String, PackageObserved)| is_there(found);
            let best = fitting().find(there).or_else(|| fitting().next());
            best.map(|(_, found)| found.clone())
        };
        // A package for `all` architectures fits any architecture.
        let here = best(&|other| other == arch || other == "all");
        let foreign = if name.contains(':') || here.as_ref().is_some_and(is_there) {
            None
        } else {
            best(&|other| other != arch && other != "all").filter(is_there)
        };
        match (here, foreign) {
            (_, Some(foreign)) => PackageMatch::Foreign(foreign),
            (Some(here), None) => PackageMatch::Here(here),
            (None, None) => PackageMatch::Nothing,
        }
    }

    /// Returns the installed packages that provide a name.
    pub(super) fn providers(&self, name: &str) -> BTreeSet<String> {
        self.provided.get(name).cloned().unwrap_or_default()
    }
}

fn is_there(found: &PackageObserved) -> bool {
    found.version.is_some() || found.broken
}

/// Reads a `db:Status-Abbrev`: the desired action, the status, and the flag for "reinstall required".
fn read(status: &str, version: &str) -> PackageObserved {
    let mut flags = status.chars();
    let (wanted, there, wrong) = (flags.next(), flags.next(), flags.next());
    // A package that waits for a trigger counts as installed: the transaction of the triggering package
    // completes it.
    let installed = matches!(there, Some('i' | 'W' | 't'));
    let broken = matches!(there, Some('H' | 'U' | 'F')) || wrong == Some('R');
    PackageObserved {
        version: (installed && !broken).then(|| version.to_owned()),
        candidate: None,
        config_files: there == Some('c'),
        broken,
        held: wanted == Some('h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(text: &str, name: &str) -> PackageObserved {
        match Installed::parse(&format!("dpkg\tamd64\tii \t1.21\t\n{text}")).find(name) {
            PackageMatch::Here(found) => found,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn dpkg_states_are_told_apart() {
        let text = "nginx\tamd64\thi \t1.22.1-9\t\ngone\tall\trc \t1\t\nhalf\tall\tiF \t2\t\nstuck\tall\tiiR\t3\t\n";
        let nginx = here(text, "nginx");
        assert!(nginx.held && nginx.version.as_deref() == Some("1.22.1-9"));
        let gone = here(text, "gone");
        assert!(gone.config_files && gone.version.is_none());
        assert!(here(text, "half").broken && here(text, "stuck").broken);
    }

    #[test]
    fn architectures_are_told_apart() {
        let text = "libc6\tamd64\tii \t2.36\t\nlibc6\ti386\tii \t2.35\t\ntzdata\tall\tii \t2024a\t\nwine32\ti386\tii \t8\t\n";
        let version = |name: &str| here(text, name).version;
        for name in ["libc6", "libc6:amd64", "libc6:all"] {
            assert_eq!(version(name).as_deref(), Some("2.36"), "{name}");
        }
        assert_eq!(version("libc6:i386").as_deref(), Some("2.35"));
        for name in ["tzdata", "tzdata:amd64", "tzdata:i386", "tzdata:all"] {
            assert_eq!(version(name).as_deref(), Some("2024a"), "{name}");
        }
        assert_eq!(version("wine32:i386").as_deref(), Some("8"));
        let installed = Installed::parse(&format!("dpkg\tamd64\tii \t1.21\t\n{text}"));
        assert!(matches!(installed.find("wine32"), PackageMatch::Foreign(_)));
        assert_eq!(installed.find("wine32:amd64"), PackageMatch::Nothing);
    }

    #[test]
    fn only_installed_packages_provide_names() {
        let text = "dpkg\tamd64\tii \t1.21\t\ncase-mta\tamd64\tii \t1.0\tcase-mail (= 1.0), case-smtp\nold\tall\trc \t1\tcase-mail\n";
        let installed = Installed::parse(text);
        let providers: Vec<String> = installed.providers("case-mail").into_iter().collect();
        assert_eq!(providers, ["case-mta"]);
        assert!(installed.providers("case-mta").is_empty());
    }
}
