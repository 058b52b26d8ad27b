//! The schema of `resources`: every resource type with its spec, as manifests write it.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{choice, expression};
use crate::resource::{CompositeKind, Kind};

/// The name of the definition of `resources`.
const RESOURCES: &str = "resources";

/// Returns a reference to the schema of `resources`, and adds it and each type to the definitions.
pub(crate) fn blocks(generator: &mut SchemaGenerator) -> Schema {
    if !generator.definitions().contains_key(RESOURCES) {
        let mut types = Map::new();
        let primitives = Kind::ALL
            .iter()
            .map(|kind| (kind.as_str(), primitive(*kind)));
        let composites = CompositeKind::ALL.iter().map(|kind| {
            (
                kind.as_str(),
                as_written(kind.schema().to_value(), &[], &[]),
            )
        });
        for (name, schema) in primitives.chain(composites) {
            let of_type = json!({
                "type": ["object", "null"],
                "description": schema["description"],
                "additionalProperties": {"$ref": format!("#/definitions/{name}")},
            });
            types.insert(name.to_owned(), of_type);
            generator.definitions_mut().insert(name.to_owned(), schema);
        }
        let all =
            json!({"type": ["object", "null"], "properties": types, "additionalProperties": false});
        generator
            .definitions_mut()
            .insert(RESOURCES.to_owned(), all);
    }
    json_schema!({"$ref": format!("#/definitions/{RESOURCES}")})
}

fn primitive(kind: Kind) -> Value {
    as_written(kind.schema().to_value(), kind.files(), kind.confidential())
}

/// Turns the schema of a spec into the one of its form in manifests. Several objects may each say a part of a
/// resource, so no field is required; every field takes an expression; a content has several forms.
fn as_written(mut schema: Value, files: &[&str], confidential: &[&str]) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
        map.insert("type".to_owned(), json!(["object", "null"]));
    }
    for (fields, form) in [(files, json!({"type": "string"})), (confidential, hash())] {
        for field in fields {
            let Some(Value::Object(of_field)) = schema["properties"].get_mut(*field) else {
                continue;
            };
            of_field.retain(|key, _| key == "description");
            of_field.extend(form.as_object().cloned().unwrap_or_default());
        }
    }
    rewrite(&mut schema);
    choice::to_lists(&mut schema);
    expression::allow_below(&mut schema);
    schema
}

/// Replaces contents, and removes `required` outside of lists: several objects may each say a part of a
/// mapping, but not of a list's item.
fn rewrite(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let is_content = map
                .get("properties")
                .and_then(Value::as_object)
                .is_some_and(|fields| {
                    fields.len() == 2
                        && fields.contains_key("sha256")
                        && fields.contains_key("size")
                });
            if is_content {
                map.retain(|key, _| key == "description");
                map.insert("anyOf".to_owned(), content());
                return;
            }
            if map.get("required").is_some_and(Value::is_array) {
                map.remove("required");
            }
            for (key, value) in map.iter_mut() {
                if key != "items" {
                    rewrite(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        _ => {}
    }
}

/// Returns the forms of a content.
fn content() -> Value {
    let forms = [
        ("template", "A template."),
        ("file", "A file of the repository: `files/x`."),
        (
            "templateFile",
            "A file of the repository that is a template: `files/x.j2`.",
        ),
        ("secret", "A value of a Secret: `NAME/KEY`."),
    ];
    let forms = forms.map(|(form, about)| {
        json!({
            "type": "object",
            "properties": {form: {"type": "string", "description": about}},
            "required": [form],
            "additionalProperties": false,
        })
    });
    let text = json!({"type": "string", "description": "A text that is never rendered."});
    [text].into_iter().chain(forms).collect()
}

/// Returns the form of a confidential field.
fn hash() -> Value {
    json!({
        "type": "object",
        "properties": {
            "hash": {"type": "string", "description": "A hash that `mkpasswd` made."},
            "secret": {"type": "string", "description": "A value of a Secret: `NAME/KEY`."},
        },
        "additionalProperties": false,
    })
}
