//! Finds and changes a value within a field by the steps of a JSON Pointer (RFC 6901).

use std::sync::Arc;

use plumb_document::{Key, Node, Value};

/// The operation of [`put`] on a list: insert an item, or overwrite an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    Add,
    Replace,
}

/// Parses a list index: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with('0');
    if plain && step.bytes().all(|byte| byte.is_ascii_digit()) {
        step.parse().ok()
    } else {
        None
    }
}

/// Returns the value at the path `steps`.
pub(super) fn get<'n>(node: &'n Node, steps: &[String]) -> Option<&'n Node> {
    steps.iter().try_fold(node, |node, step| match &node.value {
        Value::Map(map) => map.get(step),
        Value::Seq(items) => items.get(index(step)?),
        _ => None,
    })
}

fn get_mut<'n>(node: &'n mut Node, steps: &[String]) -> Option<&'n mut Node> {
    steps
        .iter()
        .try_fold(node, |node, step| match &mut node.value {
            Value::Map(map) => Arc::make_mut(map).get_mut(step),
            Value::Seq(items) => Arc::make_mut(items).get_mut(index(step)?),
            _ => None,
        })
}

/// Removes the value at the path `steps`.
pub(super) fn remove(node: &mut Node, steps: &[String]) {
    let Some((last, way)) = steps.split_last() else {
        return;
    };
    match get_mut(node, way).map(|node| &mut node.value) {
        Some(Value::Map(map)) => {
            Arc::make_mut(map).remove(last);
        }
        Some(Value::Seq(items)) => {
            if let Some(at) = index(last).filter(|at| *at < items.len()) {
                Arc::make_mut(items).remove(at);
            }
        }
        _ => {}
    }
}

/// Inserts a value at the path `steps`; returns `None` if the path doesn't exist.
pub(super) fn put(node: &mut Node, steps: &[String], value: Node, how: InsertMode) -> Option<()> {
    let (last, way) = steps.split_last()?;
    match &mut get_mut(node, way)?.value {
        Value::Map(map) => {
            let key = Key {
                text: last.as_str().into(),
                span: value.span.clone(),
            };
            Arc::make_mut(map).insert(key, value);
        }
        Value::Seq(items) => {
            let items = Arc::make_mut(items);
            if last == "-" && how == InsertMode::Add {
                items.push(value);
                return Some(());
            }
            let at = index(last)?;
            match how {
                InsertMode::Add if at <= items.len() => items.insert(at, value),
                InsertMode::Replace => *items.get_mut(at)? = value,
                InsertMode::Add => return None,
            }
        }
        _ => return None,
    }
    Some(())
}
