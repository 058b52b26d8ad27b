//! The JSON Schemas of manifests, which editors use for completion and for the meaning of fields.

use std::fs;
use std::path::Path;

use plumb_api::kind::ObjectKind;
use plumb_api::schema::{generator, object, spec};
use serde_json::{Map, Value, json};

use crate::report::{Failure, OrFail as _};

/// The folder of the schemas in a repository. Plumb never reads it.
pub(crate) const FOLDER: &str = ".plumb/schema";

/// Returns the schema of an object of this kind.
pub(crate) fn of(kind: ObjectKind) -> Value {
    let spec = spec(kind).unwrap_or_else(|| plumb_trust::policy::schema(generator()));
    object(kind, spec)
}

/// Returns the schema of an object of any kind.
pub(crate) fn of_all() -> Value {
    let mut definitions = Map::new();
    let mut cases = Vec::new();
    for kind in ObjectKind::ALL {
        let name = kind.as_str();
        let mut schema = of(kind);
        if let Some(map) = schema.as_object_mut() {
            map.remove("$schema");
            if let Some(Value::Object(more)) = map.remove("definitions") {
                definitions.extend(more);
            }
        }
        definitions.insert(name.to_owned(), schema);
        cases.push(json!({
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"$ref": format!("#/definitions/{name}")},
        }));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An object of a fleet",
        "type": "object",
        "required": ["kind"],
        "allOf": cases,
        "definitions": definitions,
    })
}

/// Writes the schema of every kind into a repository, and returns the paths.
///
/// # Errors
/// Fails if a file can't be written.
pub(crate) fn write(repository: &Path) -> Result<Vec<String>, Failure> {
    let folder = repository.join(FOLDER);
    fs::create_dir_all(&folder).or_fail(|| format!("cannot create {}", folder.display()))?;
    let mut paths = Vec::new();
    for kind in ObjectKind::ALL {
        let path = format!("{FOLDER}/{}.json", kind.file_stem());
        let file = repository.join(&path);
        fs::write(&file, format!("{}\n", of(kind)))
            .or_fail(|| format!("cannot write {}", file.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Returns the line by which an editor finds the schema of the manifest at this path of a repository; `None` if
/// there is no manifest at such a path.
pub(crate) fn line(path: &str) -> Option<String> {
    let folder = path.split_once('/').map(|(folder, _)| folder);
    let kind = match (folder, path) {
        (_, "fleet.yaml") => ObjectKind::Fleet,
        (_, "trust/policy.yaml") => ObjectKind::TrustPolicy,
        (_, path)
            if Path::new(path)
                .extension()
                .is_none_or(|ending| ending != "yaml") =>
        {
            return None;
        }
        (Some("hosts"), _) => ObjectKind::Host,
        (Some("profiles"), _) => ObjectKind::Profile,
        (Some("networks"), _) => ObjectKind::Network,
        (Some("secrets"), _) => ObjectKind::Secret,
        (Some("images"), _) => ObjectKind::Image,
        _ => return None,
    };
    let up = "../".repeat(path.matches('/').count());
    let stem = kind.file_stem();
    Some(format!(
        "# yaml-language-server: $schema={up}{FOLDER}/{stem}.json\n"
    ))
}

/// Returns the line for a new manifest in this repository, or nothing if the repository has no schemas.
pub(crate) fn line_in(repository: &Path, path: &str) -> String {
    let has_schemas = repository.join(FOLDER).is_dir();
    line(path).filter(|_| has_schemas).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leads_from_the_manifest_to_its_schema() {
        let line = |path: &str| line(path).unwrap_or_default();
        let begin = "# yaml-language-server: $schema=";
        assert_eq!(
            line("fleet.yaml"),
            format!("{begin}.plumb/schema/fleet.json\n")
        );
        assert_eq!(
            line("hosts/cloud/web.yaml"),
            format!("{begin}../../.plumb/schema/host.json\n")
        );
        assert_eq!(
            line("trust/policy.yaml"),
            format!("{begin}../.plumb/schema/trustpolicy.json\n")
        );
        assert_eq!(line("files/prometheus.yaml"), "");
        assert_eq!(line("trust/keys/alice.pub"), "");
    }
}
