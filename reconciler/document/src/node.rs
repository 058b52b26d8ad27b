//! The tree of values that a YAML document is parsed into.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use crate::span::Span;

/// A value and its position in the text.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The position of the value; for a merged mapping, the position of its first part.
    pub span: Span,
    /// The notation of a scalar.
    pub style: Style,
}

/// The notation of a scalar in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes; also the style of values that aren't scalars.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block (`|` or `>`).
    Block,
    /// Created by Plumb, or the result of an expression. Such a value is never evaluated as an expression.
    Made,
}

/// The value of a node. Numbers keep their spelling, for hints, and because `1.10` isn't `1.1`.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number with its spelling.
    Int(i64, Arc<str>),
    /// Any other number with its spelling.
    Float(f64, Arc<str>),
    /// Text.
    String(Arc<str>),
    /// A list.
    Seq(Arc<Vec<Node>>),
    /// A mapping.
    Map(Arc<Map>),
}

/// A mapping's key and its position.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key as text, even if it looks like a number or a boolean.
    pub text: Arc<str>,
    /// The position of the key.
    pub span: Span,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A mapping in the order of its file, with unique keys.
#[derive(Debug, Clone, Default)]
pub struct Map {
    entries: Vec<Entry>,
}

impl Map {
    /// Returns the entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.key.text == key)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns the value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|entry| &*entry.key.text == key)
            .map(|entry| &mut entry.value)
    }

    /// Sets a key and returns its old value. An existing key keeps its place in the order, but takes the span
    /// of `key`.
    pub fn insert(&mut self, key: Key, value: Node) -> Option<Node> {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.key.text == key.text)
        {
            entry.key = key;
            return Some(std::mem::replace(&mut entry.value, value));
        }
        self.entries.push(Entry { key, value });
        None
    }

    /// Appends an entry without looking for its key, which must be new.
    pub(crate) fn push_new(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let position = self
            .entries
            .iter()
            .position(|entry| &*entry.key.text == key)?;
        Some(self.entries.remove(position).value)
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Entry> for Map {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut map = Self::default();
        for Entry { key, value } in entries {
            map.insert(key, value);
        }
        map
    }
}

impl Node {
    /// Creates a node that wasn't parsed, with the position of the node that it derives from.
    pub fn new(value: Value, span: Span) -> Self {
        Self {
            value,
            span,
            style: Style::Plain,
        }
    }

    /// Creates a text node.
    pub fn string(text: impl Into<Arc<str>>, span: Span) -> Self {
        Self {
            value: Value::String(text.into()),
            span,
            style: Style::Quoted,
        }
    }

    /// Creates a mapping node.
    pub fn map(map: Map, span: Span) -> Self {
        Self::new(Value::Map(Arc::new(map)), span)
    }

    /// Creates a list node.
    pub fn seq(items: Vec<Node>, span: Span) -> Self {
        Self::new(Value::Seq(Arc::new(items)), span)
    }

    /// Creates a node with a whole number.
    pub fn int(number: i64, span: Span) -> Self {
        Self::new(Value::Int(number, number.to_string().into()), span)
    }

    /// Returns the mapping if the value is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the items if the value is a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the text if the value is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// True if the value is null.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Returns the value of a key if the node is a mapping that has the key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// Describes the value in a phrase for messages: `a list`, `the number 1.10`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Int(_, raw) | Value::Float(_, raw) => format!("the number {raw}"),
            Value::String(text) if text.chars().count() > 40 => {
                format!(
                    "the text \"{}…\"",
                    text.chars().take(40).collect::<String>().escape_debug()
                )
            }
            Value::String(text) => format!("the text \"{}\"", text.escape_debug()),
            Value::Seq(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Compares values, not positions. Whole numbers are compared by value and other numbers by spelling. The
/// order of a mapping's keys doesn't matter.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a, _), Value::Int(b, _)) => a == b,
            (Value::Float(_, a), Value::Float(_, b)) | (Value::String(a), Value::String(b)) => {
                a == b
            }
            (Value::Seq(a), Value::Seq(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::Map(a), Value::Map(b)) => {
                Arc::ptr_eq(a, b)
                    || a.len() == b.len()
                        && a.iter()
                            .all(|entry| b.get(&entry.key.text) == Some(&entry.value))
            }
            _ => false,
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value, _) => serializer.serialize_i64(*value),
            Value::Float(value, _) => serializer.serialize_f64(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::Seq(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                for item in items.iter() {
                    out.serialize_element(item)?;
                }
                out.end()
            }
            Value::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for entry in map.iter() {
                    out.serialize_entry(&*entry.key.text, &entry.value)?;
                }
                out.end()
            }
        }
    }
}
