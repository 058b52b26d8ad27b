//! `exporter`: expands into a package, a file with its arguments, and its service.

use plumb_api::Kind;
use plumb_api::resource::{ExporterSpec, Problem};

use super::{ExpandContext, Outcome, Part, TypedResource};

/// Expands each resource into parts of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, ExporterSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.name, one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(
    name: &str,
    spec: &ExporterSpec,
    context: &ExpandContext<'_>,
) -> Result<Vec<Part>, Problem> {
    let package = spec
        .package
        .clone()
        .unwrap_or_else(|| format!("prometheus-{name}-exporter"));
    let service = spec.service.as_ref().unwrap_or(&package);
    let listen = context.listen(&spec.on, spec.port(name).unwrap_or_default())?;
    let mut arguments = vec![format!("--web.listen-address={listen}")];
    arguments.extend(spec.arguments.iter().cloned());
    Ok(daemon(&package, service, &arguments))
}

/// Returns the parts of a Debian package's daemon that reads its arguments from `/etc/default`.
pub(super) fn daemon(package: &str, service: &str, arguments: &[String]) -> Vec<Part> {
    let path = format!("/etc/default/{service}");
    let text = format!("# Written by plumb.\nARGS=\"{}\"\n", arguments.join(" "));
    vec![
        Part::new(Kind::Package, package),
        Part::root_file(&path)
            .field("content", text)
            .field("after", vec![format!("package:{package}")]),
        Part::new(Kind::Service, service)
            .field("state", "started")
            .field("enabled", true)
            .field("restartOn", vec![format!("file:{path}")])
            .field("after", vec![format!("package:{package}")]),
    ]
}
