//! `exporter`: a program that serves metrics to Prometheus.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;
use crate::period::Period;

/// A program that serves metrics to Prometheus. The name is one of `apache`, `bind`, `blackbox`, `dnsmasq`,
/// `mysqld`, `nginx`, `node`, `postgres`, `process`, `redis`, `smartctl`, `snmp`, or any other name if
/// `package` is given. With `on`, it gives the endpoint INSTANCE.NAME, which every `prometheus` of the fleet
/// scrapes. It expands to the package `prometheus-NAME-exporter`, the package's file in
/// `/etc/default`, and its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExporterSpec {
    /// The port on which it listens; the exporter's usual one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The network in which it listens, on the host's address there. With no network or more than one, it
    /// listens on all interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// How often Prometheus scrapes it; Prometheus' own interval when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// Additional arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The package, if it isn't `prometheus-NAME-exporter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The service, if it isn't named like the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The exporters of Debian, with their usual ports.
const KNOWN: [(&str, u16); 12] = [
    ("apache", 9117),
    ("bind", 9119),
    ("blackbox", 9115),
    ("dnsmasq", 9153),
    ("mysqld", 9104),
    ("nginx", 9113),
    ("node", 9100),
    ("postgres", 9187),
    ("process", 9256),
    ("redis", 9121),
    ("smartctl", 9633),
    ("snmp", 9116),
];

impl ExporterSpec {
    /// Returns the port; `None` if neither the spec nor the list of known exporters has one.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.port.or_else(|| Self::usual_port(name))
    }

    /// Returns the usual port of an exporter; `None` if the list of known exporters doesn't have it.
    pub fn usual_port(name: &str) -> Option<u16> {
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        known.map(|(_, port)| *port)
    }
}

impl Composite for ExporterSpec {
    const EXAMPLE: &'static str = r"exporter:
  node: {on: [wg], arguments: [--collector.systemd]}
";

    const SETS: &'static [&'static str] = &["after", "on"];

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        if self.package.is_none() && !KNOWN.iter().any(|(known, _)| *known == name) {
            wrong(
                "package",
                format!("`{name}` isn't an exporter of the distribution"),
                "add `package` and `port`",
            );
        } else if self.port(name).is_none_or(|port| port == 0) {
            wrong(
                "port",
                "the exporter has no port".to_owned(),
                "write port: 9100",
            );
        }
        let word = |text: &String| {
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c == '"')
        };
        if !self.arguments.iter().all(word) {
            wrong(
                "arguments",
                "an argument is one line without `\"`".to_owned(),
                "write arguments: [--collector.systemd]",
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
