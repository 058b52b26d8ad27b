//! `repository`: a source of packages.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use super::text_source::TextSource;
use crate::address::AnyAddress;

/// A source of packages. It expands to `/etc/apt/sources.list.d/NAME.sources`, with `key` also to
/// `/etc/apt/keyrings/NAME.asc`, and with `pin` also to `/etc/apt/preferences.d/NAME`. Plumb writes these
/// files before it changes packages, and refreshes apt's lists when one of the files changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// The addresses: `https://deb.example/debian`, or `file:/srv/repo`.
    pub uris: Vec<String>,
    /// The suites: `bookworm`, or `./` for a flat repository.
    pub suites: Vec<String>,
    /// The components: `main`. Leave them out for a flat repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// The architectures; the host's own when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The armored public key that signs the repository: a text, or `{file: files/NAME.asc}`. When left out,
    /// a key of the distribution must have signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<TextSource>,
    /// Priority of the packages from this repository over those from other sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The priority of some packages from a repository, as in `apt_preferences(5)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// The priority: with 100, apt installs only packages that no other source has; with 990, apt prefers
    /// this repository; with more than 1000, apt even downgrades.
    pub priority: i32,
    /// The packages, by name or pattern; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// True if a text can be a word of a deb822 field.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

impl RepositorySpec {
    /// Returns the host of the first address; `None` for a folder.
    pub fn origin(&self) -> Option<&str> {
        let (_, rest) = self.uris.first()?.split_once("://")?;
        let authority = rest.split('/').next()?;
        let host = authority.rsplit('@').next()?;
        host.split(':').next().filter(|host| !host.is_empty())
    }
}

impl Composite for RepositorySpec {
    const EXAMPLE: &'static str = r#"repository:
  grafana:
    uris: ["https://apt.grafana.example"]
    suites: [stable]
    components: [main]
    key: {file: files/grafana.asc}
    pin: {priority: 100, packages: ["grafana*"]}
package:
  grafana: {}
"#;

    const SETS: &'static [&'static str] = &["after", "components", "suites", "uris"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
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
        let address = |uri: &String| {
            is_word(uri)
                && ["https://", "http://", "file:/", "cdrom:", "mirror+"]
                    .iter()
                    .any(|scheme| uri.starts_with(scheme))
        };
        if self.uris.is_empty() || !self.uris.iter().all(address) {
            wrong(
                "uris",
                "`uris` must be a list of addresses that apt can read",
                "write uris: [\"https://deb.example/debian\"]",
            );
        }
        let words = |all: &[String]| all.iter().all(|word| is_word(word));
        if self.suites.is_empty() || !words(&self.suites) {
            wrong(
                "suites",
                "`suites` must be a list of words",
                "write suites: [stable]",
            );
        }
        let flat = self.suites.iter().any(|suite| suite.ends_with('/'));
        if flat != self.components.is_empty() || !words(&self.components) {
            wrong(
                "components",
                "a suite has components, a flat repository (a suite that ends with `/`) has none",
                "write components: [main]",
            );
        }
        if !words(&self.architectures) {
            wrong(
                "architectures",
                "`architectures` must be a list of words",
                "write architectures: [amd64]",
            );
        }
        if let Some(pin) = &self.pin {
            if !words(&pin.packages) {
                wrong(
                    "pin",
                    "`packages` must be a list of names or patterns",
                    "write packages: [\"grafana*\"]",
                );
            }
            if self.origin().is_none() {
                wrong(
                    "pin",
                    "`pin` needs an address with a host: apt tells sources apart by it",
                    "remove `pin`, or serve the repository by http",
                );
            }
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
