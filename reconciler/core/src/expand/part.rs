//! One primitive resource that a composite expands into.

use std::sync::Arc;

use plumb_api::resource::{Manage, TextSource};
use plumb_api::{Address, CompositeSpec, Kind};
use plumb_document::{Entry, Key, Map, Node, Span, Style, Value};
use serde_json::{Value as Json, json};

/// A primitive resource that a composite expands into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(super) kind: Kind,
    pub(super) name: String,
    fields: Vec<(&'static str, Json)>,
    /// Texts that the parts of many hosts share.
    shared: Vec<(&'static str, Arc<str>)>,
}

impl Part {
    /// Creates a part without fields.
    pub(crate) fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            fields: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// Creates a file that root owns and everybody may read, without its content.
    pub(super) fn root_file(path: impl Into<String>) -> Self {
        Self::new(Kind::File, path)
            .field("owner", "root")
            .field("group", "root")
            .field("mode", "0644")
    }

    /// Replaces the mode of a file.
    pub(super) fn mode(mut self, mode: &str) -> Self {
        self.fields.retain(|(name, _)| *name != "mode");
        self.field("mode", mode)
    }

    /// Creates a check that a program is on the host, and the user that runs it.
    pub(super) fn program(name: &str, path: &str, user: Option<&str>) -> Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name = name.replace(|c| !is_plain(c), "_");
        let mut program = json!({"path": path});
        if let Some(user) = user {
            program["user"] = json!(user);
        }
        Self::new(Kind::Check, name).field("program", program)
    }

    /// Adds a field with its value in the form of a manifest. A string as `content` is a literal text.
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field with a literal text that the parts of other hosts share.
    pub(super) fn shared(mut self, name: &'static str, text: &Arc<str>) -> Self {
        self.shared.push((name, text.clone()));
        self
    }

    /// Adds a field whose value is a text of the composite's spec: a literal, or a file of the repository.
    pub(super) fn source(self, name: &'static str, text: &TextSource) -> Self {
        let value = match text {
            TextSource::Text(text) => Json::from(text.as_str()),
            TextSource::File(path) => json!({"file": path}),
        };
        self.field(name, value)
    }

    /// Returns the fields as nodes with the composite's position, including the `after` and `manage` that
    /// each part inherits.
    pub(super) fn fields(&self, composite: &CompositeSpec, span: &Span) -> Map {
        let mut fields = self.fields.clone();
        let inherited: Vec<Json> = composite
            .after()
            .iter()
            .map(|address| address.to_string().into())
            .collect();
        if !inherited.is_empty() {
            match fields.iter_mut().find(|(name, _)| *name == "after") {
                Some((_, Json::Array(after))) => after.extend(inherited),
                _ => fields.push(("after", inherited.into())),
            }
        }
        // A check changes nothing, so it has no `manage`.
        if composite.manage() == Manage::Once && self.kind != Kind::Check {
            fields.push(("manage", "once".into()));
        }
        self.nodes(&fields, span)
    }

    /// Returns the part's address.
    ///
    /// # Errors
    /// Returns the mistake in the name.
    pub(crate) fn address(&self) -> Result<Address, String> {
        Address::new(self.kind, &self.name).map_err(|error| error.to_string())
    }

    /// Returns the fields as nodes with this position, for a part that belongs to no composite.
    pub(crate) fn own_fields(&self, span: &Span) -> Map {
        self.nodes(&self.fields, span)
    }

    /// Returns these fields and the shared texts as nodes.
    fn nodes(&self, fields: &[(&'static str, Json)], span: &Span) -> Map {
        let shared = self
            .shared
            .iter()
            .map(|(name, text)| (*name, made(Value::String(text.clone()), span)));
        fields
            .iter()
            .map(|(name, value)| (*name, node(value, span)))
            .chain(shared)
            .map(|(name, value)| Entry {
                key: key(name, span),
                value,
            })
            .collect()
    }
}

fn key(text: &str, span: &Span) -> Key {
    Key {
        text: text.into(),
        span: span.clone(),
    }
}

/// Converts JSON to a node. Its text is never evaluated as an expression.
fn node(value: &Json, span: &Span) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            let spelling = number.to_string().into();
            match number.as_i64() {
                Some(int) => Value::Int(int, spelling),
                None => Value::Float(number.as_f64().unwrap_or_default(), spelling),
            }
        }
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::Seq(Arc::new(
            items.iter().map(|item| node(item, span)).collect(),
        )),
        Json::Object(entries) => Value::Map(Arc::new(
            entries
                .iter()
                .map(|(name, value)| Entry {
                    key: key(name, span),
                    value: node(value, span),
                })
                .collect(),
        )),
    };
    made(value, span)
}

fn made(value: Value, span: &Span) -> Node {
    Node {
        value,
        span: span.clone(),
        style: Style::Made,
    }
}
