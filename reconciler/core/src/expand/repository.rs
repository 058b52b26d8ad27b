//! `repository`: expands into an apt source, its key, and the pin priority of its packages.

use std::fmt::Write as _;

use plumb_api::resource::{Pin, RepositorySpec};

use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into files of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, RepositorySpec>],
    _: &ExpandContext<'_>,
) -> Vec<Outcome> {
    each(all, |one| parts(one.name, one.spec))
}

fn parts(name: &str, spec: &RepositorySpec) -> Vec<Part> {
    let key_path = format!("/etc/apt/keyrings/{name}.asc");
    let mut text = String::from("# Written by plumb.\nTypes: deb\n");
    let mut line = |field: &str, values: &[String]| {
        if !values.is_empty() {
            let _ = writeln!(text, "{field}: {}", values.join(" "));
        }
    };
    line("URIs", &spec.uris);
    line("Suites", &spec.suites);
    line("Components", &spec.components);
    line("Architectures", &spec.architectures);
    let mut parts = Vec::new();
    if let Some(key) = &spec.key {
        line("Signed-By", std::slice::from_ref(&key_path));
        parts.push(Part::root_file(&key_path).source("content", key));
    }
    let source = format!("/etc/apt/sources.list.d/{name}.sources");
    let mut part = Part::root_file(&source).field("content", text);
    if spec.key.is_some() {
        part = part.field("after", vec![format!("file:{key_path}")]);
    }
    parts.push(part);
    if let (Some(pin), Some(origin)) = (&spec.pin, spec.origin()) {
        let path = format!("/etc/apt/preferences.d/{name}");
        parts.push(Part::root_file(&path).field("content", preferences(pin, origin)));
    }
    parts
}

fn preferences(pin: &Pin, origin: &str) -> String {
    let packages = if pin.packages.is_empty() {
        "*".to_owned()
    } else {
        pin.packages.join(" ")
    };
    format!(
        "# Written by plumb.\nPackage: {packages}\nPin: origin \"{origin}\"\nPin-Priority: {}\n",
        pin.priority
    )
}
