//! Lets a schema's fields also take an expression, as manifests do.

use serde_json::{Map, Value, json};

/// The parts of a schema that describe it and don't restrict values.
const ANNOTATIONS: [&str; 3] = ["title", "description", "default"];

/// Lets everything below the schema be an expression too: fields, items and values of mappings.
pub(super) fn allow_below(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for (key, value) in map.iter_mut() {
        match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                for field in fields.values_mut() {
                    allow_below(field);
                    allow(field);
                }
            }
            ("additionalProperties" | "items", value) if value.is_object() => {
                allow_below(value);
                allow(value);
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(forms)) => {
                forms.iter_mut().for_each(allow_below);
            }
            _ => {}
        }
    }
}

/// Lets the value itself be an expression.
fn allow(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let (annotations, restrictions): (Map<_, _>, Map<_, _>) = std::mem::take(map)
        .into_iter()
        .partition(|(key, _)| ANNOTATIONS.contains(&key.as_str()));
    *map = annotations;
    if takes_any_text(&restrictions) {
        map.extend(restrictions);
        return;
    }
    let forms = match <[_; 1]>::try_from(restrictions.iter().collect::<Vec<_>>()) {
        Ok([(key, Value::Array(forms))]) if key == "anyOf" => forms.clone(),
        _ => vec![Value::Object(restrictions)],
    };
    let expression = json!({"type": "string", "pattern": "\\{\\{"});
    let forms: Vec<Value> = forms.into_iter().chain([expression]).collect();
    map.insert("anyOf".to_owned(), Value::Array(forms));
}

/// True if a schema with these restrictions lets every text pass.
fn takes_any_text(restrictions: &Map<String, Value>) -> bool {
    let restricts = |key: &String| !["type", "format"].contains(&key.as_str());
    if restrictions.keys().any(restricts) {
        return false;
    }
    match restrictions.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|one| one == "string"),
        Some(one) => one == "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_field_takes_an_expression_and_a_text_stays_a_text() {
        let mut schema = json!({
            "properties": {
                "port": {"description": "the port", "type": "integer"},
                "name": {"description": "the name", "type": ["string", "null"]},
                "any": true,
            },
        });
        allow_below(&mut schema);
        let expression = json!({"type": "string", "pattern": "\\{\\{"});
        assert_eq!(
            schema["properties"]["port"],
            json!({"description": "the port", "anyOf": [{"type": "integer"}, expression]})
        );
        assert_eq!(
            schema["properties"]["name"],
            json!({"description": "the name", "type": ["string", "null"]})
        );
        assert_eq!(schema["properties"]["any"], json!(true));
    }
}
