//! `alertmanager`: expands into a package, its configuration and its service.

use plumb_api::Kind;
use plumb_api::resource::{AlertmanagerSpec, Problem};

use super::exporter::daemon;
use super::{ExpandContext, Outcome, Part, TypedResource};

const PACKAGE: &str = "prometheus-alertmanager";
const CONFIGURATION: &str = "/etc/prometheus/alertmanager.yml";

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, AlertmanagerSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(spec: &AlertmanagerSpec, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let listen = context.listen(&spec.on, spec.port.unwrap_or(9093))?;
    let mut parts = daemon(
        PACKAGE,
        PACKAGE,
        &[format!("--web.listen-address={listen}")],
    );
    let configuration = Part::root_file(CONFIGURATION)
        .source("content", &spec.config)
        .field("validate", vec!["amtool", "check-config", "%s"])
        .field("after", vec![format!("package:{PACKAGE}")]);
    let reload =
        Part::new(Kind::Service, PACKAGE).field("reloadOn", vec![format!("file:{CONFIGURATION}")]);
    parts.extend([configuration, reload]);
    Ok(parts)
}
