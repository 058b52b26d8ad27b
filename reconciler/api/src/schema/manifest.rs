//! The schemas of whole objects.

use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::{choice, expression, generator};
use crate::kind::{
    API_VERSION, FleetSpec, HostSpec, ImageSpec, Metadata, NetworkSpec, ObjectKind, ProfileSpec,
    SecretObjectSpec,
};

/// Returns the schema of a kind's spec; `None` for `TrustPolicy`, whose type belongs to another crate.
pub fn spec(kind: ObjectKind) -> Option<Schema> {
    match kind {
        ObjectKind::Fleet => Some(of::<FleetSpec>()),
        ObjectKind::Host => Some(of::<HostSpec>()),
        ObjectKind::Profile => Some(of::<ProfileSpec>()),
        ObjectKind::Network => Some(of::<NetworkSpec>()),
        ObjectKind::Secret => Some(of::<SecretObjectSpec>()),
        ObjectKind::Image => Some(of::<ImageSpec>()),
        ObjectKind::TrustPolicy => None,
    }
}

fn of<T: JsonSchema>() -> Schema {
    generator().into_root_schema_for::<T>()
}

/// Returns the draft-07 schema of an object of this kind, with the schema of its spec.
pub fn object(kind: ObjectKind, spec: Schema) -> Value {
    let mut spec = spec.to_value();
    choice::to_lists(&mut spec);
    let mut definitions = json!({});
    if let Some(map) = spec.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
        definitions = map.remove("definitions").unwrap_or(definitions);
        if !map.contains_key("required") {
            map.insert("type".to_owned(), json!(["object", "null"]));
        }
    }
    let spec_is_required = spec["required"].is_array();
    match kind {
        ObjectKind::Host | ObjectKind::Profile => {
            expression::allow_below(&mut spec);
            allow_in_definitions(&mut definitions);
        }
        ObjectKind::Fleet => {
            expression::allow_below(&mut spec["properties"]["hostDefaults"]);
            allow_in_definitions(&mut definitions);
        }
        ObjectKind::Network | ObjectKind::Secret | ObjectKind::Image | ObjectKind::TrustPolicy => {}
    }
    let mut metadata = of::<Metadata>().to_value();
    if let Some(map) = metadata.as_object_mut() {
        map.remove("$schema");
        map.remove("title");
    }
    let name = kind.as_str();
    let mut required = vec!["kind", "metadata"];
    if spec_is_required {
        required.push("spec");
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": name,
        "description": spec["description"],
        "type": "object",
        "properties": {
            "apiVersion": {"description": "The version of the object's format; may be left out.", "const": API_VERSION},
            "kind": {"description": "The kind of the object.", "const": name},
            "metadata": metadata,
            "spec": spec,
        },
        "required": required,
        "additionalProperties": false,
        "definitions": definitions,
    })
}

/// Lets fields of recursive types be expressions. Resource types have theirs already.
fn allow_in_definitions(definitions: &mut Value) {
    for (name, definition) in definitions.as_object_mut().into_iter().flatten() {
        if name.starts_with(char::is_uppercase) {
            expression::allow_below(definition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(kind: ObjectKind) -> Value {
        object(kind, spec(kind).unwrap())
    }

    #[test]
    fn a_host_has_every_resource_type_in_its_three_blocks() {
        let host = schema(ObjectKind::Host);
        for block in ["resources", "defaults", "force"] {
            let text = host["properties"]["spec"]["properties"][block].to_string();
            assert!(text.contains("#/definitions/resources"), "{block}: {text}");
        }
        let types = &host["definitions"]["resources"]["properties"];
        for name in ["file", "package", "service", "exporter", "sshd"] {
            assert_eq!(
                types[name]["additionalProperties"]["$ref"],
                format!("#/definitions/{name}")
            );
        }
        let content = &host["definitions"]["file"]["properties"]["content"];
        assert!(content.to_string().contains("templateFile"), "{content}");
    }

    #[test]
    fn every_reference_leads_to_a_definition() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    for (key, value) in map {
                        match (key.as_str(), value) {
                            ("$ref", Value::String(to)) => found.push(to.clone()),
                            (_, value) => references(value, found),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        for kind in ObjectKind::ALL
            .into_iter()
            .filter(|kind| spec(*kind).is_some())
        {
            let schema = schema(kind);
            let mut found = Vec::new();
            references(&schema, &mut found);
            for to in found {
                let pointer = to.trim_start_matches('#');
                assert!(schema.pointer(pointer).is_some(), "{kind:?}: {to}");
            }
        }
    }
}
