//! Converts a resolved fleet to plain JSON, for `plumb render`.

use std::collections::BTreeMap;

use plumb_api::Spec;
use serde_json::{Value, json};

use crate::desired::{Contents, HostResult, Resolved};

/// Returns `{"hosts": {NAME: {"digest", "resources": {TYPE: {NAME: SPEC}}}}}`. Specs contain texts instead of
/// their hashes. A held host has `held` with its diagnostics instead.
pub fn rendered(resolved: &Resolved) -> Value {
    let hosts: BTreeMap<&str, Value> = resolved
        .hosts
        .iter()
        .map(|(name, result)| {
            let value = match result {
                HostResult::Held(diagnostics) => json!({ "held": diagnostics }),
                HostResult::Ready(intent) => {
                    let mut types: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
                    for (address, resource) in intent.desired.resources() {
                        let spec = inline(resource.spec(), &resolved.contents);
                        types
                            .entry(address.kind().as_str())
                            .or_default()
                            .insert(address.name(), spec);
                    }
                    json!({ "digest": intent.desired.digest(), "resources": types })
                }
            };
            (name.as_str(), value)
        })
        .collect();
    json!({ "hosts": hosts })
}

/// Returns a spec as JSON with the text of its content instead of the hash. If the content isn't text, the
/// hash stays.
fn inline(spec: &Spec, contents: &Contents) -> Value {
    let mut value = spec.to_json().unwrap_or_default();
    for content in spec.contents() {
        let Some(bytes) = contents.get(&content.sha256) else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            continue;
        };
        if let Some(field) = value.get_mut("content") {
            *field = Value::from(text);
        }
    }
    value
}
