//! The YAML form of Ansible's inventories. It has tags and merge keys, which manifests don't, so it is read by
//! another parser.

use serde_json::{Map, Value};

use super::ansible::{Inventory, Variables};
use super::host_range::expand;

/// Reads an inventory.
///
/// # Errors
/// Returns the reason if it can't be read.
pub(super) fn read(text: &str) -> Result<Inventory, String> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(groups) = document else {
        return Err("an inventory is a mapping of groups".to_owned());
    };
    if groups.contains_key("_meta") {
        return Err(
            "it is the output of `ansible-inventory --list`; add `--yaml` to that command"
                .to_owned(),
        );
    }
    let mut inventory = Inventory::default();
    for (name, group) in &groups {
        read_group(&mut inventory, name, group)?;
    }
    Ok(inventory)
}

fn read_group(inventory: &mut Inventory, name: &str, group: &Value) -> Result<(), String> {
    inventory.groups.entry(name.to_owned()).or_default();
    let empty = Map::new();
    let Some(fields) = group.as_object().or(group.is_null().then_some(&empty)) else {
        return Err(format!("the group `{name}` isn't a mapping"));
    };
    for (field, value) in fields {
        let parts = value.as_object().unwrap_or(&empty);
        match field.as_str() {
            "hosts" => {
                for (pattern, variables) in parts {
                    for host in expand(pattern)? {
                        inventory.add(name, &host).extend(texts(variables));
                    }
                }
            }
            "children" => {
                for (child, group) in parts {
                    read_group(inventory, child, group)?;
                    let own = inventory.groups.entry(name.to_owned()).or_default();
                    own.children.insert(child.clone());
                }
            }
            "vars" => {
                let own = inventory.groups.entry(name.to_owned()).or_default();
                own.variables.extend(texts(value));
            }
            other => inventory
                .left_out
                .push(format!("the field `{other}` of the group `{name}`")),
        }
    }
    Ok(())
}

/// Returns variables as texts.
fn texts(variables: &Value) -> Variables {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let all = variables.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), text(value)))
        .collect()
}
