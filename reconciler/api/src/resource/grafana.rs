//! `grafana`: the data sources and dashboards of a Grafana.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::composite_name::check_only_name;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// The data sources and dashboards of a Grafana. A host can have one; its name is `main`. It expands to the
/// package `grafana`, files in `/etc/grafana/provisioning`, the dashboards in `/etc/grafana/dashboards`, and
/// the service `grafana-server`, which restarts when data sources change. Debian has no package `grafana`, so
/// also add a `repository` that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaSpec {
    /// Endpoints of Prometheus servers: `HOST/INSTANCE.NAME`. The first one is Grafana's default data source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasources: Vec<String>,
    /// Files of the repository with dashboards: `files/dashboards/hosts.json`. The last part of a path may be a
    /// pattern with `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dashboards: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for GrafanaSpec {
    const EXAMPLE: &'static str = r"grafana:
  main: {datasources: [web/host.prometheus], dashboards: [files/dashboards/*.json]}
";

    const SETS: &'static [&'static str] = &["after", "dashboards"];

    fn check_name(name: &str) -> Result<(), String> {
        check_only_name(name, "main")
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let file =
            |path: &String| path.starts_with("files/") && path.rsplit('.').next() == Some("json");
        if !self.dashboards.iter().all(file) {
            problems.push(Problem {
                field: "dashboards",
                message: "`dashboards` must be a list of JSON files of the repository".to_owned(),
                hint: "write dashboards: [files/dashboards/*.json]".to_owned(),
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
