//! `prometheus`: a Prometheus server that scrapes the fleet.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;
use crate::period::Period;

/// A Prometheus server that scrapes every endpoint of the fleet that has `scrape`. A host can have one; its
/// name is `main`. It expands to the package `prometheus`, `/etc/prometheus/prometheus.yml` (checked with
/// `promtool`), a list of targets for each job in `/etc/prometheus/targets`, the rule files, among them one with
/// the alerts of `backup` resources, `/etc/default/prometheus`, and the service, which reloads when its
/// configuration changes.
///
/// A change of targets needs no reload, because Prometheus watches the files that list them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// Age at which samples are deleted; Prometheus' own default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Period>,
    /// Time between scrapes of an endpoint that gives no interval of its own; 15 seconds when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// Rule files of the repository: `files/rules.yml`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Endpoints of the Alertmanagers that get the alerts: `HOST/INSTANCE.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for PrometheusSpec {
    const EXAMPLE: &'static str = r"prometheus:
  main: {retention: 30d, rules: [files/rules.yml], alertmanagers: [web/host.alertmanager]}
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
