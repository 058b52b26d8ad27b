//! Converts a resolved fleet to plain JSON, for `plumb render`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::desired::{HostResult, Resolved};
use crate::shown;

/// Returns `{"hosts": {NAME: {"digest", "resources": {TYPE: {NAME: SPEC}}}}}`. Specs contain texts instead of
/// their hashes, and secrets by name. A held host has `held` with its diagnostics instead.
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
                        let spec = shown::spec_with_text(resource.spec(), &resolved.contents);
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
