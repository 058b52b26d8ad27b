//! Edits YAML in place: comments and layout stay as they are.
//!
//! Each change is made both in the text and in the parsed data, and the changed text must parse to exactly
//! the changed data. So this module rejects a layout that it doesn't understand, and never garbles it.

use std::sync::Arc;

use plumb_document::{Node, Value, parse};

/// A YAML text that can be edited.
#[derive(Debug, Clone)]
pub(crate) struct Yaml(String);

/// A step of a path into a document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathStep<'a> {
    /// The value of a key in a mapping.
    Key(&'a str),
    /// The item at an index in a list.
    Item(usize),
}

/// The reason why a text can't be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// The document has no such key or item.
    #[error("the file has no `{0}` to change")]
    Nothing(String),
    /// The layout doesn't allow the change without a change of something else.
    #[error("`{0}` is written in a form that this command cannot edit")]
    Layout(String),
}

impl Yaml {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Replaces a scalar.
    pub(crate) fn set(&mut self, path: &[PathStep<'_>], value: &str) -> Result<(), EditError> {
        let (_, node) = self.find(path)?;
        let range = node.span.bytes();
        self.change(path, &[(range, value.to_owned())], |data| {
            *data = json_of(value)?;
            Some(())
        })
    }

    /// Adds an item, written on one line, to the end of a list.
    pub(crate) fn push(&mut self, path: &[PathStep<'_>], item: &str) -> Result<(), EditError> {
        let (_, node) = self.find(path)?;
        let Value::Seq(items) = &node.value else {
            return Err(EditError::Layout(dotted(path)));
        };
        let place = if self.is_flow(&node) {
            Self::after_in_flow(&node, items.last(), item)
        } else {
            let last = items
                .last()
                .ok_or_else(|| EditError::Layout(dotted(path)))?;
            let start = last.span.bytes().start;
            let line = self.line_start(start);
            let dash = self.0[line..start]
                .find('-')
                .ok_or_else(|| EditError::Layout(dotted(path)))?;
            let indent = " ".repeat(dash);
            self.line_after(last.span.bytes().end, &format!("{indent}- {item}"))
        };
        self.change(path, &[place], |data| {
            data.as_array_mut()?.push(json_of(item)?);
            Some(())
        })
    }

    /// Adds an entry, written on one line, to the end of a mapping.
    pub(crate) fn insert(
        &mut self,
        path: &[PathStep<'_>],
        key: &str,
        value: &str,
    ) -> Result<(), EditError> {
        let (_, node) = self.find(path)?;
        let Value::Map(map) = &node.value else {
            return Err(EditError::Layout(dotted(path)));
        };
        let entry = format!("{}: {value}", scalar(key));
        let last = map.iter().last();
        let place = if self.is_flow(&node) {
            Self::after_in_flow(&node, last.map(|entry| &entry.value), &entry)
        } else {
            let last = last.ok_or_else(|| EditError::Layout(dotted(path)))?;
            let start = last.key.span.bytes().start;
            let indent = " ".repeat(start - self.line_start(start));
            let end = last.value.span.bytes().end.max(last.key.span.bytes().end);
            self.line_after(end, &format!("{indent}{entry}"))
        };
        self.change(path, &[place], |data| {
            data.as_object_mut()?
                .insert(key.to_owned(), json_of(value)?);
            Some(())
        })
    }

    /// Removes an entry or an item, with its line if nothing else is on the line.
    pub(crate) fn remove(&mut self, path: &[PathStep<'_>]) -> Result<(), EditError> {
        let (Some((last, above)), layout) = (path.split_last(), || EditError::Layout(dotted(path)))
        else {
            return Err(EditError::Nothing(String::new()));
        };
        let (key, parent) = self.find(above)?;
        let ranges: Vec<_> = match &parent.value {
            Value::Map(map) => map
                .iter()
                .map(|entry| entry.key.span.bytes().start..entry.value.span.bytes().end)
                .collect(),
            Value::Seq(items) => items.iter().map(|item| item.span.bytes()).collect(),
            _ => return Err(EditError::Nothing(dotted(path))),
        };
        let at = match (&parent.value, last) {
            (Value::Map(map), PathStep::Key(key)) => map.iter().position(|e| &*e.key.text == *key),
            (Value::Seq(items), PathStep::Item(at)) => (*at < items.len()).then_some(*at),
            _ => None,
        };
        let at = at.ok_or_else(|| EditError::Nothing(dotted(path)))?;
        let own = ranges[at].clone();
        let empty = if matches!(parent.value, Value::Map(_)) {
            "{}"
        } else {
            "[]"
        };
        let place = if self.is_flow(&parent) {
            match (ranges.get(at + 1), at.checked_sub(1).map(|at| &ranges[at])) {
                (Some(next), _) => (own.start..next.start, String::new()),
                (None, Some(before)) if self.0[before.end..own.start].contains('\n') => {
                    // Keep a comment on the previous item's line. A trailing comma is allowed.
                    let gap = self.0[..own.start]
                        .trim_end_matches([' ', '\n', '\r'])
                        .len();
                    let line = self.0[own.end..].find(['\r', '\n']).unwrap_or(0);
                    let rest = self.0[own.end..own.end + line].trim_start_matches([',', ' ']);
                    let own_comment = if rest.starts_with('#') { line } else { 0 };
                    (gap..own.end + own_comment, String::new())
                }
                (None, Some(before)) => (before.end..own.end, String::new()),
                (None, None) => (own, String::new()),
            }
        } else if ranges.len() == 1 {
            // Nothing would be left, so the key gets an empty mapping or list.
            let from = key.ok_or_else(layout)?;
            (from..own.end, format!(": {empty}"))
        } else {
            let start = self.line_start(own.start);
            let head = &self.0[start..own.start];
            if !head.chars().all(|c| c == ' ' || c == '-') {
                return Err(layout());
            }
            (start..self.line_end(own.end), String::new())
        };
        let last = *last;
        self.change(above, &[place], |data| match last {
            PathStep::Key(key) => data.as_object_mut()?.remove(key).map(|_| ()),
            PathStep::Item(at) => Some(data.as_array_mut()?.remove(at)).map(|_| ()),
        })
    }

    /// Finds the first item of a list that matches.
    pub(crate) fn position(
        &self,
        path: &[PathStep<'_>],
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> Option<usize> {
        let (_, node) = self.find(path).ok()?;
        let Value::Seq(items) = &node.value else {
            return None;
        };
        items
            .iter()
            .position(|item| serde_json::to_value(item).is_ok_and(|value| is(&value)))
    }

    /// Finds the node at a path, and the offset of the end of its key.
    fn find(&self, path: &[PathStep<'_>]) -> Result<(Option<usize>, Node), EditError> {
        let nothing = || EditError::Nothing(dotted(path));
        let mut node = read(&self.0).ok_or_else(nothing)?;
        let mut key = None;
        for step in path {
            let next = match (&node.value, step) {
                (Value::Map(map), PathStep::Key(name)) => map.entry(name).map(|entry| {
                    key = Some(entry.key.span.bytes().end);
                    entry.value.clone()
                }),
                (Value::Seq(items), PathStep::Item(at)) => {
                    key = None;
                    items.get(*at).cloned()
                }
                _ => None,
            };
            node = next.ok_or_else(nothing)?;
        }
        Ok((key, node))
    }

    /// Applies an edit to the text. Fails if the result doesn't parse to the changed data.
    fn change(
        &mut self,
        path: &[PathStep<'_>],
        places: &[(std::ops::Range<usize>, String)],
        of_data: impl FnOnce(&mut serde_json::Value) -> Option<()>,
    ) -> Result<(), EditError> {
        let layout = || EditError::Layout(dotted(path));
        let mut wanted = json_of(&self.0).ok_or_else(layout)?;
        let mut at = &mut wanted;
        for step in path {
            at = match step {
                PathStep::Key(key) => at.get_mut(*key),
                PathStep::Item(index) => at.get_mut(*index),
            }
            .ok_or_else(layout)?;
        }
        of_data(at).ok_or_else(layout)?;
        let mut text = self.0.clone();
        for (range, new) in places.iter().rev() {
            if text.get(range.clone()).is_none() {
                return Err(layout());
            }
            text.replace_range(range.clone(), new);
        }
        if json_of(&text).as_ref() != Some(&wanted) {
            return Err(layout());
        }
        self.0 = text;
        Ok(())
    }

    fn is_flow(&self, node: &Node) -> bool {
        self.0[node.span.bytes().start.min(self.0.len())..].starts_with(['[', '{'])
    }

    /// Returns the edit that adds something to a list or mapping in brackets.
    fn after_in_flow(
        node: &Node,
        last: Option<&Node>,
        new: &str,
    ) -> (std::ops::Range<usize>, String) {
        if let Some(last) = last {
            let end = last.span.bytes().end;
            return (end..end, format!(", {new}"));
        }
        let start = node.span.bytes().start + 1;
        (start..start, new.to_owned())
    }

    /// Returns the edit that adds a line after the line at this offset.
    fn line_after(&self, place: usize, line: &str) -> (std::ops::Range<usize>, String) {
        let end = self.line_end(place);
        let break_ = if self.0.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        let before = if self.0[..end].ends_with('\n') {
            ""
        } else {
            break_
        };
        (end..end, format!("{before}{line}{break_}"))
    }

    fn line_start(&self, place: usize) -> usize {
        self.0[..place].rfind('\n').map_or(0, |at| at + 1)
    }

    /// Returns the offset after the newline of the line at this offset. An offset at the beginning of a line
    /// belongs to the previous line, so it is returned unchanged.
    fn line_end(&self, place: usize) -> usize {
        if place > 0 && self.0[..place].ends_with('\n') {
            return place;
        }
        self.0[place..]
            .find('\n')
            .map_or(self.0.len(), |at| place + at + 1)
    }
}

fn read(text: &str) -> Option<Node> {
    parse(&Arc::from("trust/policy.yaml"), text.as_bytes()).ok()
}

fn json_of(text: &str) -> Option<serde_json::Value> {
    serde_json::to_value(read(text)?).ok()
}

/// Quotes a word if YAML would otherwise not read it back as text.
pub(crate) fn scalar(word: &str) -> String {
    let plain = read(word)
        .is_some_and(|node| matches!(&node.value, Value::String(text) if &**text == word));
    // Within brackets some characters end a word, and a leading `*` is an alias.
    if plain && !word.contains([',', '[', ']', '{', '}', ':', '#', '*']) {
        word.to_owned()
    } else {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Renders a path for messages.
fn dotted(path: &[PathStep<'_>]) -> String {
    let words = path.iter().map(|step| match step {
        PathStep::Key(key) => (*key).to_owned(),
        PathStep::Item(at) => format!("item {}", at + 1),
    });
    words.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
