//! The changes between two rendered hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plumb_api::plan::Op;
use plumb_core::plan::unified;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use crate::cli::render;

/// A change of a resource.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) resource: String,
    pub(super) op: Op,
    pub(super) patch: Vec<Value>,
    #[serde(skip)]
    pub(super) text: String,
}

/// A change of what a revision says about a host beside its resources: labels, connection, keys, secrets.
#[derive(Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct FactsChange {
    patch: Vec<Value>,
    #[serde(skip)]
    pub(super) text: String,
}

impl FactsChange {
    /// Compares the facts of a host; `None` if they are equal.
    pub(super) fn new(was: &Value, will: &Value) -> Option<Self> {
        (was != will).then(|| Self {
            patch: patch(was, will),
            text: differing_lines(was, will, 0),
        })
    }
}

/// Compares the resources of two rendered hosts.
pub(super) fn changes(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<Change> {
    let addresses: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let nothing = Value::Object(serde_json::Map::new());
    let mut changes = Vec::new();
    for address in addresses {
        let (was, will) = (before.get(address), after.get(address));
        if was == will {
            continue;
        }
        let op = match (was, will) {
            (Some(_), Some(_)) => Op::Update,
            (None, _) => Op::Create,
            (_, None) => Op::Delete,
        };
        let (was, will) = (was.unwrap_or(&nothing), will.unwrap_or(&nothing));
        changes.push(Change {
            resource: address.clone(),
            op,
            patch: patch(was, will),
            text: fields(was, will),
        });
    }
    changes
}

/// Returns the JSON Patch (RFC 6902) from one spec to the other.
fn patch(was: &Value, will: &Value) -> Vec<Value> {
    let empty = serde_json::Map::new();
    let (was, will) = (
        was.as_object().unwrap_or(&empty),
        will.as_object().unwrap_or(&empty),
    );
    let path = |field: &str| format!("/{}", field.replace('~', "~0").replace('/', "~1"));
    let mut operations = Vec::new();
    for (field, value) in will {
        match was.get(field) {
            Some(old) if old == value => {}
            Some(_) => operations
                .push(serde_json::json!({"op": "replace", "path": path(field), "value": value})),
            None => operations
                .push(serde_json::json!({"op": "add", "path": path(field), "value": value})),
        }
    }
    for field in was.keys().filter(|field| !will.contains_key(*field)) {
        operations.push(serde_json::json!({"op": "remove", "path": path(field)}));
    }
    operations
}

/// Renders the difference of two specs as a line diff of their fields, with secrets masked.
fn fields(was: &Value, will: &Value) -> String {
    let texts = |spec: &Value| {
        spec.get("content")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if let (Some(before), Some(after)) = (texts(was), texts(will)) {
        return with_content(was, will, &before, &after);
    }
    lines_of(was, will)
}

/// Renders a change of content as a unified difference of the text, after the other fields.
fn with_content(was: &Value, will: &Value, before: &str, after: &str) -> String {
    let others = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("content");
        }
        spec
    };
    let mut text = lines_of(&others(was), &others(will));
    if before != after {
        text.push_str(" content:\n");
        text.push_str(&unified(before, after).unwrap_or_else(|| {
            let size = |sign, text: &str| {
                let digest = plumb_api::Digest::of_bytes(text.as_bytes()).to_string();
                format!("{sign}{} bytes, sha256 {}…\n", text.len(), &digest[..12])
            };
            format!("{}{}", size('-', before), size('+', after))
        }));
    }
    text
}

fn lines_of(was: &Value, will: &Value) -> String {
    differing_lines(was, will, 1)
}

/// Returns the fields that differ, each with this number of fields around it.
fn differing_lines(was: &Value, will: &Value, context: usize) -> String {
    let (was, will) = (render::fields(was), render::fields(will));
    let diff = TextDiff::from_lines(&was, &will);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(context).iter_hunks() {
        for change in hunk.iter_changes() {
            let _ = write!(text, "{}{}", change.tag(), change.value());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_names_what_differs() {
        let was = json!({"mode": "0644", "owner": "root", "a/b": 1});
        let will = json!({"mode": "0600", "owner": "root", "group": "adm"});
        assert_eq!(
            serde_json::to_value(patch(&was, &will)).unwrap(),
            json!([
                {"op": "add", "path": "/group", "value": "adm"},
                {"op": "replace", "path": "/mode", "value": "0600"},
                {"op": "remove", "path": "/a~1b"},
            ])
        );
    }

    #[test]
    fn texts_are_compared_by_line() {
        let text = fields(&json!({"content": "a\nb\n"}), &json!({"content": "a\nc\n"}));
        assert!(text.contains("-b\n+c\n"), "{text}");
    }
}
