//! `prometheus`: a Prometheus server that scrapes the fleet.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use super::zram::check_only_name;
use crate::address::AnyAddress;
use crate::period::Period;

/// A Prometheus server that scrapes every endpoint of the fleet that has `scrape`. A host has one, `main`. Expands to
/// the package `prometheus`, `/etc/prometheus/prometheus.yml`, which `promtool` must accept, a list of targets for each
/// job in `/etc/prometheus/targets`, the files of rules, `/etc/default/prometheus`, and the service, which reloads.
///
/// Targets change without a reload: Prometheus watches their files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// The age at which samples are deleted; Prometheus' own default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Period>,
    /// The time between scrapes where an endpoint names none; 15 seconds when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// Files of the repository with rules: `files/rules.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Endpoints of Alertmanagers: `HOST/INSTANCE.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<String>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for PrometheusSpec {
    const EXAMPLE: &'static str = r"prometheus:
  main: {retention: 30d, rules: [files/rules.yml], alertmanagers: [web/alertmanager]}
";

    const SETS: &'static [&'static str] = &["after", "alertmanagers", "rules"];

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "main")
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let file = |path: &String| {
            path.starts_with("files/")
                && path
                    .rsplit('.')
                    .next()
                    .is_some_and(|ending| ["yaml", "yml"].contains(&ending))
        };
        if !self.rules.iter().all(file) {
            problems.push(Problem {
                field: "rules",
                message: "`rules` must be a list of YAML files of the repository".to_owned(),
                hint: "write rules: [files/rules.yml]".to_owned(),
            });
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
