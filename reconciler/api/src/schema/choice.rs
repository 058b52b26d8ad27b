//! Turns choices into lists of words. Editors then show a field's own meaning, and those of the words in the
//! list that they offer.

use serde_json::{Value, json};

/// Replaces each choice below the schema, `oneOf` with a word and its meaning in each form.
pub(super) fn to_lists(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some((words, meanings)) = map.get("oneOf").and_then(words) {
                map.remove("oneOf");
                map.insert("enum".to_owned(), json!(words));
                map.insert("markdownEnumDescriptions".to_owned(), json!(meanings));
            }
            map.values_mut().for_each(to_lists);
        }
        Value::Array(items) => items.iter_mut().for_each(to_lists),
        _ => {}
    }
}

/// Returns the words of a choice with their meanings; `None` if a form isn't words.
fn words(forms: &Value) -> Option<(Vec<Value>, Vec<Value>)> {
    let (mut words, mut meanings) = (Vec::new(), Vec::new());
    for form in forms.as_array()? {
        let of_form = match (form.get("const"), form.get("enum")) {
            (Some(word), _) => vec![word.clone()],
            (None, Some(Value::Array(many))) => many.clone(),
            _ => return None,
        };
        let meaning = form
            .get("description")
            .cloned()
            .unwrap_or_else(|| json!(""));
        meanings.extend(of_form.iter().map(|_| meaning.clone()));
        words.extend(of_form);
    }
    Some((words, meanings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_becomes_a_list_and_other_forms_stay() {
        let mut schema = json!({"oneOf": [{"const": "a", "description": "A."}, {"enum": ["b"]}]});
        to_lists(&mut schema);
        assert_eq!(
            schema,
            json!({"enum": ["a", "b"], "markdownEnumDescriptions": ["A.", ""]})
        );
        let other = json!({"oneOf": [{"const": "a"}, {"type": "integer"}]});
        let mut schema = other.clone();
        to_lists(&mut schema);
        assert_eq!(schema, other);
    }
}
