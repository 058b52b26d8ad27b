//! `grafana`: expands into files that Grafana reads at its start, and dashboards that it watches.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::resource::{GrafanaSpec, Problem};
use serde_json::json;

use super::{ExpandContext, Outcome, Part, TypedResource};

const SOURCES: &str = "/etc/grafana/provisioning/datasources/plumb.yaml";
const DASHBOARDS: &str = "/etc/grafana/provisioning/dashboards/plumb.yaml";

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, GrafanaSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(spec: &GrafanaSpec, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let mut sources = String::from("# Written by plumb.\napiVersion: 1\ndatasources:\n");
    for (at, to) in spec.datasources.iter().enumerate() {
        let Some(address) = context.endpoint("datasources", to)? else {
            continue;
        };
        let _ = writeln!(
            sources,
            "  - {{name: {}, type: prometheus, access: proxy, url: {}, isDefault: {}}}",
            json!(to),
            json!(format!("http://{address}")),
            at == 0
        );
    }
    let mut files = vec![
        file(SOURCES, json!(sources)),
        file(
            DASHBOARDS,
            json!(
                "# Written by plumb.\napiVersion: 1\nproviders:\n  - {name: plumb, type: file, options: {path: /etc/grafana/dashboards}}\n"
            ),
        ),
    ];
    for pattern in &spec.dashboards {
        let matching = context.files(pattern);
        if matching.is_empty() {
            return Err(Problem {
                field: "dashboards",
                message: format!("no file of the repository matches `{pattern}`"),
                hint: "add one, or remove the pattern".to_owned(),
            });
        }
        for path in matching {
            let name = path.rsplit('/').next().unwrap_or(&path);
            let place = format!("/etc/grafana/dashboards/{name}");
            files.push(file(&place, json!({"file": &*path})));
        }
    }
    let inputs = [SOURCES, DASHBOARDS].map(|path| format!("file:{path}"));
    let service = Part::new(Kind::Service, "grafana-server")
        .field("state", "started")
        .field("enabled", true)
        .field("restartOn", inputs.to_vec())
        .field("after", vec!["package:grafana"]);
    let mut parts = vec![Part::new(Kind::Package, "grafana"), service];
    parts.extend(files);
    Ok(parts)
}

fn file(path: &str, content: serde_json::Value) -> Part {
    Part::root_file(path)
        .field("content", content)
        .field("after", vec!["package:grafana"])
}
