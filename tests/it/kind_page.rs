//! The pages of `docs/reference` about kinds of objects, made from the schemas that `plumb schema` prints.

use std::fmt::Write as _;
use std::process::Command;

use plumb_api::kind::ObjectKind;
use serde_json::Value;

use crate::reference::{takes, text};

/// Returns the name of a kind's page.
pub(crate) fn name(kind: ObjectKind) -> String {
    format!("kind-{}.md", kind.file_stem())
}

/// Returns the page that lists all kinds.
pub(crate) fn index() -> String {
    let mut page = String::from(
        "# Kinds of objects\n\n\
         These pages are generated from the code; edit the documentation of the types in `reconciler/api/src/kind/` instead. \
         An object has `kind`, `metadata: {name: …, labels: {…}}` and `spec`; `apiVersion` may be left out. \
         Its file has the object's name, in the folder of the kind. \
         `plumb schema` prints the same as a JSON Schema, for completion in an editor.\n\n\
         | kind | example | is |\n|---|---|---|\n",
    );
    for kind in ObjectKind::ALL {
        let schema = schema(kind);
        let about = text(&schema["description"]);
        let _ = writeln!(
            page,
            "| [{}]({}) | `{}` | {about} |",
            kind.as_str(),
            name(kind),
            kind.example_path()
        );
    }
    page
}

/// Returns the page of a kind.
pub(crate) fn page(kind: ObjectKind) -> String {
    let schema = schema(kind);
    let mut page = format!(
        "# {}\n\n{}\n\nThe example is `{}`.\n\n```yaml\n{}```\n\n",
        kind.as_str(),
        text(&schema["description"]),
        kind.example_path(),
        kind.example()
    );
    if ["Host", "Profile"].contains(&kind.as_str()) {
        page.push_str(
            "A field may also be an expression: `\"{{ params.port }}\"`. `resources`, `defaults` and `force` have resources by type and name; [resources.md](resources.md) lists the types.\n\n",
        );
    }
    page.push_str("`[]` is an item of a list, and `NAME` a name that you choose.\n\n| field of `spec` | takes | default | meaning |\n|---|---|---|---|\n");
    rows(
        &mut page,
        &schema,
        &schema["properties"]["spec"],
        "",
        &mut Vec::new(),
    );
    page
}

fn schema(kind: ObjectKind) -> Value {
    let run = Command::new(env!("CARGO_BIN_EXE_test-plumb"))
        .args(["schema", kind.as_str()])
        .output()
        .expect("plumb runs");
    assert!(run.status.success(), "{kind:?}");
    serde_json::from_slice(&run.stdout).expect("a schema is JSON")
}

/// Returns the form of the schema that has fields or items, of those that it has beside nothing and expressions.
fn plain(schema: &Value) -> &Value {
    let forms = schema["anyOf"].as_array().or(schema["allOf"].as_array());
    let mut forms = forms.into_iter().flatten().map(plain);
    forms.find(|form| has_parts(form)).unwrap_or(schema)
}

fn has_parts(schema: &Value) -> bool {
    let parts = ["properties", "items", "additionalProperties"];
    parts.iter().any(|part| schema[part].is_object()) || schema["$ref"].is_string()
}

/// Adds a row for each field, and below it the rows of its own fields.
fn rows(page: &mut String, root: &Value, object: &Value, above: &str, seen: &mut Vec<String>) {
    let required: Vec<&str> = object["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let path = format!("{above}{name}");
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            value => format!("`{value}`").replace('"', ""),
        };
        let resolved = plain(field);
        let kind_of = match resolved["$ref"].as_str() {
            Some("#/definitions/resources") => "resources".to_owned(),
            Some(_) => "object".to_owned(),
            None => takes(field),
        };
        let _ = writeln!(
            page,
            "| `{path}` | {kind_of} | {default} | {} |",
            text(&field["description"])
        );
        // The fields of a Host are on their own page.
        if name != "hostDefaults" {
            below(page, root, resolved, &path, seen);
        }
    }
}

fn below(page: &mut String, root: &Value, schema: &Value, path: &str, seen: &mut Vec<String>) {
    if let Some(to) = schema["$ref"].as_str() {
        if to != "#/definitions/resources" && !seen.iter().any(|one| one == to) {
            seen.push(to.to_owned());
            let target = root
                .pointer(to.trim_start_matches('#'))
                .expect("a definition");
            below(page, root, target, path, seen);
            seen.pop();
        }
    } else if schema["properties"].is_object() {
        rows(page, root, schema, &format!("{path}."), seen);
    } else if schema["items"].is_object() {
        below(
            page,
            root,
            plain(&schema["items"]),
            &format!("{path}[]"),
            seen,
        );
    } else if schema["additionalProperties"].is_object() {
        let values = plain(&schema["additionalProperties"]);
        below(page, root, values, &format!("{path}.NAME"), seen);
    }
}

#[test]
fn examples_of_the_kinds_are_a_fleet_that_passes_check() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let keys = [
        (
            "trust/keys/alice.pub",
            include_str!("../../fleet-repo-minimal/trust/keys/alice.pub"),
        ),
        (
            "trust/keys/bob.pub",
            include_str!("../../fleet-repo-minimal/trust/keys/bob.pub"),
        ),
    ];
    let examples = ObjectKind::ALL.map(|kind| (kind.example_path(), kind.example()));
    for (path, text) in examples.into_iter().chain(keys) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a folder"))
            .expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
    let checked = Command::new(env!("CARGO_BIN_EXE_test-plumb"))
        .args(["check", "-o", "json"])
        .arg(folder.path())
        .output()
        .expect("plumb runs");
    let found = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{found}");
}
