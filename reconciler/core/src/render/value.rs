//! Converts values between YAML trees and templates.

use std::sync::Arc;

use minijinja::Value as Jinja;
use minijinja::value::{Serde, ValueKind};
use plumb_document::{Entry, Key, Map, Node, Span, Style, Value};

/// Serializes a value for templates. This can't fail for Plumb's own types. For another type that fails, the
/// result is a value that gives an error when a template uses it.
pub(crate) fn serialized<T: serde::Serialize>(value: T) -> Jinja {
    Jinja::from(Serde(value))
}

/// Converts a tree to a template value.
pub(crate) fn from_node(node: &Node) -> Jinja {
    serialized(node)
}

/// Converts the result of an expression to a tree. All nodes have the position of the expression, and are
/// never evaluated again.
pub(crate) fn to_node(value: &Jinja, span: &Span) -> Result<Node, String> {
    let made = |value| {
        Ok(Node {
            value,
            span: span.clone(),
            style: Style::Made,
        })
    };
    match value.kind() {
        ValueKind::Undefined => Err("the value of the expression is undefined".to_owned()),
        ValueKind::None => made(Value::Null),
        ValueKind::Bool => made(Value::Bool(value.is_true())),
        ValueKind::Number => match value.as_i64() {
            Some(number) if value.is_integer() => {
                made(Value::Int(number, number.to_string().into()))
            }
            _ => {
                let text = value.to_string();
                let number = text
                    .parse()
                    .map_err(|_| format!("{text} isn't a usable number"))?;
                made(Value::Float(number, text.into()))
            }
        },
        ValueKind::String => made(Value::String(value.to_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| error.to_string())?;
            let items: Result<Vec<Node>, String> = items.map(|item| to_node(&item, span)).collect();
            made(Value::Seq(Arc::new(items?)))
        }
        ValueKind::Map => {
            let mut map = Map::default();
            for key in value.try_iter().map_err(|error| error.to_string())? {
                let item = value.get_item(&key).map_err(|error| error.to_string())?;
                let Entry { key, value } = Entry {
                    key: Key {
                        text: key.to_string().into(),
                        span: span.clone(),
                    },
                    value: to_node(&item, span)?,
                };
                map.insert(key, value);
            }
            made(Value::Map(Arc::new(map)))
        }
        other => Err(format!(
            "the expression gives a {other}, which no field accepts"
        )),
    }
}
