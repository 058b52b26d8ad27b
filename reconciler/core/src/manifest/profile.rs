//! `profiles/NAME.yaml`: reads the resources and settings that several hosts share.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::kind::{Param, ProfileSpec};
use plumb_document::{Diagnostic, Entry, Map, Node, Span, Value, decode};

use super::host::mapping;
use super::object::Object;
use crate::compose::{Block, Priority, check_declarations};

/// A decoded profile.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
    /// The declared parameters by name.
    pub(crate) params: BTreeMap<String, Param>,
    /// The parameter declarations as a tree, which has the position of each default.
    pub(crate) declared: Arc<Map>,
    /// The profiles that this profile includes.
    pub(crate) includes: Vec<Include>,
    /// The endpoints that a host with this profile offers.
    pub(crate) endpoints: Arc<Map>,
    /// The profile's `when`: a host gets the profile's resources only if it is true.
    pub(crate) when: Option<Node>,
    /// The profile's resources, one block for each priority.
    pub(crate) blocks: Vec<Block>,
}

/// A profile that another one includes.
#[derive(Debug, Clone)]
pub(crate) struct Include {
    /// The key of the included instance; it may contain expressions.
    pub(crate) key: Node,
    /// The name of the included profile.
    pub(crate) of: Arc<str>,
    /// The position of the included profile's name.
    pub(crate) span: Span,
    /// The parameters that the included profile gets.
    pub(crate) params: Arc<Map>,
}

/// The profile fields that stay untyped trees until they are composed and rendered.
const TREES: [&str; 5] = ["includes", "endpoints", "resources", "defaults", "force"];

pub(crate) fn read(object: &Object) -> Result<Profile, Vec<Diagnostic>> {
    let empty = Arc::default();
    let map = match &object.spec.value {
        Value::Map(map) => map,
        Value::Null => &empty,
        _ => {
            let message = format!("`spec` must be a mapping, not {}", object.spec.describe());
            return Err(vec![Diagnostic::error(
                plumb_document::codes::WRONG_TYPE,
                &object.spec.span,
                message,
            )]);
        }
    };
    let statics: Map = map
        .iter()
        .filter(|entry| !TREES.contains(&&*entry.key.text))
        .cloned()
        .collect();
    let spec: ProfileSpec = decode(&Node::map(statics, object.spec.span.clone()))?;
    let mut diagnostics = Vec::new();
    let mut tree = |field: &str| {
        map.get(field)
            .and_then(|node| mapping(node, field, &mut diagnostics))
            .unwrap_or_default()
    };
    let (declared, wanted, endpoints) = (tree("params"), tree("includes"), tree("endpoints"));
    let mut includes = Vec::new();
    for entry in wanted.iter() {
        includes.extend(include(entry, &mut diagnostics));
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let profile = Profile {
        name: object.name.as_str().into(),
        span: object.span.clone(),
        params: spec.params,
        declared,
        includes,
        endpoints,
        when: map.get("when").filter(|node| !node.is_null()).cloned(),
        blocks: Block::all(map, Priority::own),
    };
    let diagnostics = check_declarations(&profile);
    if diagnostics.is_empty() {
        Ok(profile)
    } else {
        Err(diagnostics)
    }
}

/// Reads an entry `key: {of: profile, param: value}` of `profiles` or `includes`. Without `of`, the key is
/// the name of the profile.
pub(crate) fn include(entry: &Entry, diagnostics: &mut Vec<Diagnostic>) -> Option<Include> {
    let Entry { key, value } = entry;
    let params = match &value.value {
        Value::Map(map) => map.clone(),
        Value::Null => Arc::default(),
        _ => {
            let message = format!(
                "a profile's parameters must be a mapping, not {}",
                value.describe()
            );
            diagnostics.push(
                Diagnostic::error(plumb_document::codes::WRONG_TYPE, &value.span, message)
                    .hint(format!("write {}: {{}} for no parameters", key.text)),
            );
            return None;
        }
    };
    let (of, span) = match params.get("of") {
        None => (key.text.clone(), key.span.clone()),
        Some(node) => {
            if let Some(text) = node.as_str() {
                (text.into(), node.span.clone())
            } else {
                let message = format!(
                    "`of` must be the name of a profile, not {}",
                    node.describe()
                );
                diagnostics.push(Diagnostic::error(
                    plumb_document::codes::WRONG_TYPE,
                    &node.span,
                    message,
                ));
                return None;
            }
        }
    };
    if of.contains("{{") {
        diagnostics.push(
            Diagnostic::error(
                super::code::EXPRESSION,
                &span,
                "the name of a profile can't be an expression",
            )
            .hint("name the profile with `of`; only the key may be an expression"),
        );
        return None;
    }
    let params = if params.get("of").is_some() {
        Arc::new(
            params
                .iter()
                .filter(|entry| &*entry.key.text != "of")
                .cloned()
                .collect(),
        )
    } else {
        params
    };
    let mut node = Node::string(key.text.clone(), key.span.clone());
    node.style = plumb_document::Style::Plain;
    Some(Include {
        key: node,
        of,
        span,
        params,
    })
}
