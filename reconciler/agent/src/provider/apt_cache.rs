//! Queries apt's package lists for the candidate versions of packages and the providers of virtual packages.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::report::{AgentError, ErrorCode};

use crate::error::Result;
use crate::sys::{Program, Sys};

/// The result of querying apt's lists for some names. Names that the lists don't have are missing.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The version that apt would install, by name. `None` if apt has no installable version.
    candidates: BTreeMap<String, Option<String>>,
    /// The packages that provide a virtual package, by its name.
    providers: BTreeMap<String, BTreeSet<String>>,
}

impl Lists {
    /// Queries apt's lists for names. Queries providers only for names without a candidate version.
    pub(super) fn read(sys: &Sys, names: &BTreeSet<&str>) -> Result<Self> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let candidates = parse_policy(&ask(sys, "policy", names)?);
        let none: BTreeSet<&str> = candidates
            .iter()
            .filter(|(_, candidate)| candidate.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let providers = if none.is_empty() {
            BTreeMap::new()
        } else {
            parse_providers(&ask(sys, "showpkg", &none)?)
        };
        Ok(Self {
            candidates,
            providers,
        })
    }

    /// Returns the version that apt would install, if there is one.
    pub(super) fn candidate(&self, name: &str) -> Option<&String> {
        self.candidates.get(name)?.as_ref()
    }

    /// Returns the packages that provide a virtual package, or `None` if `name` isn't a virtual package.
    pub(super) fn providers(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.providers.get(name)
    }
}

fn ask(sys: &Sys, command: &str, names: &BTreeSet<&str>) -> Result<String> {
    let args = std::iter::once(command).chain(names.iter().copied());
    Ok(Program::new("apt-cache", args).check(sys)?.stdout)
}

fn parse_policy(text: &str) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(package) = line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            name = Some(package.to_owned());
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ") {
            if let Some(name) = name.take() {
                let candidate = (version != "(none)").then(|| version.to_owned());
                found.insert(name, candidate);
            }
        }
    }
    found
}

/// Parses the output of `apt-cache showpkg`. Returns the providers of each package that has no versions of
/// its own.
fn parse_providers(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut real = BTreeSet::new();
    let (mut package, mut section) = (String::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Package: ") {
            name.trim().clone_into(&mut package);
            section = "";
        } else if let Some(named) = SECTIONS.iter().find(|named| line.starts_with(**named)) {
            section = *named;
        } else if section == "Versions:" && !line.trim().is_empty() {
            real.insert(package.clone());
        } else if section == "Reverse Provides:" {
            if let Some(provider) = line.split_ascii_whitespace().next() {
                let providers = found.entry(package.clone()).or_default();
                providers.insert(provider.to_owned());
            }
        }
    }
    found.retain(|name, _| !real.contains(name));
    found
}

const SECTIONS: &[&str] = &[
    "Versions:",
    "Reverse Depends:",
    "Dependencies:",
    "Provides:",
    "Reverse Provides:",
];

/// Returns the error for a virtual package, which can't be installed by its own name.
pub(super) fn is_virtual(name: &str, providers: &BTreeSet<String>) -> AgentError {
    let named = |count: usize| {
        let first: Vec<&str> = providers.iter().take(count).map(String::as_str).collect();
        first.join(", ")
    };
    let more = match providers.len() {
        0..=12 => String::new(),
        count => format!(" and {} more", count - 12),
    };
    let error = AgentError::new(
        ErrorCode::Refused,
        format!(
            "{name} is a virtual package; it is provided by {}{more}",
            named(12)
        ),
    );
    match providers.len() {
        1 => error.hint(format!("write `package:{}` instead", named(1))),
        _ => error.hint("write the one that you want instead"),
    }
}

/// Returns the error for a virtual package that should be absent but that an installed package provides.
pub(super) fn is_provided(name: &str, providers: &BTreeSet<String>) -> AgentError {
    let providers: Vec<&str> = providers.iter().map(String::as_str).collect();
    let providers = providers.join(", ");
    AgentError::new(
        ErrorCode::Refused,
        format!("{name} is a virtual package, and {providers} provides it on this host"),
    )
    .hint(format!(
        "say `state: absent` for {providers}, or drop {name}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_come_from_policy() {
        let text = "btop:\n  Installed: (none)\n  Candidate: 1.2.13-1\n  Version table:\n     1.2.13-1 500\nlibc6:i386:\n  Installed: (none)\n  Candidate: 2.36\n  Version table:\ncase-mail:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let found = parse_policy(text);
        assert_eq!(found["btop"].as_deref(), Some("1.2.13-1"));
        assert_eq!(found["libc6:i386"].as_deref(), Some("2.36"));
        assert_eq!(found["case-mail"], None);
        assert!(!found.contains_key("nosuch"));
    }

    #[test]
    fn a_name_without_versions_is_virtual() {
        let text = "Package: case-mail\nVersions: \n\nReverse Depends: \n  mailx,case-mail\nDependencies: \nProvides: \nReverse Provides: \ncase-mta2 1.0 (= )\ncase-mta 1.0 (= )\ncase-mta 0.9 (= )\nPackage: mawk\nVersions: \n1.3 (/var/lib/apt/lists/x_Packages)\n\nReverse Depends: \nDependencies: \n1.3 - libc6 (2 2.34)\nProvides: \n1.3 - awk (= )\nReverse Provides: \nother 1 (= )\nPackage: nobody\nVersions: \n\nReverse Depends: \nDependencies: \nProvides: \nReverse Provides: \n";
        let found = parse_providers(text);
        let names: Vec<&String> = found.keys().collect();
        assert_eq!(names, ["case-mail"]);
        let error = is_virtual("case-mail", &found["case-mail"]);
        assert_eq!(
            error.message,
            "case-mail is a virtual package; it is provided by case-mta, case-mta2"
        );
    }

    #[test]
    fn a_single_provider_is_what_to_write() {
        let error = is_virtual("case-mail", &["case-mta".to_owned()].into());
        assert_eq!(
            error.hint.as_deref(),
            Some("write `package:case-mta` instead")
        );
    }
}
