//! `alertmanager`: an Alertmanager.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::field::Manage;
use super::text_source::TextSource;
use crate::address::AnyAddress;

/// An Alertmanager. A host can have one; its name is `main`. It expands to the package
/// `prometheus-alertmanager`, the file `/etc/prometheus/alertmanager.yml` (checked with `amtool`), the file
/// `/etc/default/prometheus-alertmanager`, and the service, which reloads when the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertmanagerSpec {
    /// The configuration: a text, or `{file: files/alertmanager.yml}`.
    pub config: TextSource,
    /// The port on which it listens; 9093 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The network in which it listens, on the host's address there. With no network or more than one, it
    /// listens on all interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for AlertmanagerSpec {
    const EXAMPLE: &'static str = r"alertmanager:
  main: {config: {file: files/alertmanager.yml}, on: [wg]}
";

    const SETS: &'static [&'static str] = &["after", "on"];

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "main")
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
