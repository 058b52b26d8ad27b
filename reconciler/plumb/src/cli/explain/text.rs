//! The text form of an explanation.

use std::fmt::Write as _;

use plumb_core::explain::{CommitHeader, Explanation, FieldOrigin, LastChange, Origin};
use serde_json::Value;

use crate::output::{Paint, Palette, short};

/// Lists the places that set each field, the deciding place first.
pub(super) fn describe(explained: &Explanation, palette: Palette) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} on {}",
        palette.paint(Paint::Bold, &explained.address),
        palette.paint(Paint::Bold, &explained.host)
    );
    if let Some(composite) = &explained.part_of {
        let _ = writeln!(out, "  part of {composite}");
    }
    if !explained.parts.is_empty() {
        let _ = writeln!(out, "  expands to {}", explained.parts.join(", "));
    }
    for field in &explained.fields {
        let value = match &field.value {
            Value::String(text) if text.contains('\n') => {
                text.lines().fold(String::from("|"), |all, line| {
                    format!("{all}\n      {line}")
                })
            }
            value => one_line(value),
        };
        let name = palette.paint(Paint::Hint, format_args!("{}:", field.field));
        let _ = writeln!(out, "  {name} {value}");
        origins(&mut out, "    ", field, palette);
        for param in &field.params {
            let name = palette.paint(Paint::Hint, format_args!("params.{}:", param.field));
            let _ = writeln!(out, "    with {name} {}", one_line(&param.value));
            origins(&mut out, "      ", param, palette);
        }
    }
    for reason in &explained.because {
        let way = if reason.through.is_empty() {
            String::new()
        } else {
            format!(", reached through {}", reason.through.join(", "))
        };
        let _ = writeln!(out, "  included by {} at {}{way}", reason.by, reason.place);
        last_change(&mut out, "    ", reason.last_change.as_ref(), palette);
    }
    if explained.active == Some(false) {
        let _ = writeln!(out, "  its `when` is false here, so it has no resources");
    }
    for (word, all) in [("after", &explained.after), ("before", &explained.before)] {
        if !all.is_empty() {
            let _ = writeln!(out, "  {word} {}", all.join(", "));
        }
    }
    out
}

/// Writes the places that set a field, then those that were overridden.
fn origins(out: &mut String, indent: &str, field: &FieldOrigin, palette: Palette) {
    let deciding = field
        .from
        .iter()
        .map(|origin| (Paint::Good, "from", origin));
    let overridden = field
        .overrode
        .iter()
        .map(|origin| (Paint::Dim, "over", origin));
    for (paint, word, origin) in deciding.chain(overridden) {
        let word = palette.paint(paint, word);
        let _ = writeln!(out, "{indent}{word} {}", place(origin, &field.value));
        let below = format!("{indent}     ");
        last_change(out, &below, origin.last_change.as_ref(), palette);
        if let Some(file) = &origin.file {
            let _ = writeln!(out, "{below}{}", file.path);
            last_change(out, &below, file.last_change.as_ref(), palette);
        }
    }
}

/// Writes the last change of a line or a file, if it is known.
fn last_change(out: &mut String, indent: &str, change: Option<&LastChange>, palette: Palette) {
    let text = match change {
        None => return,
        Some(LastChange::NotCommitted) => "not committed".to_owned(),
        Some(LastChange::Commit(CommitHeader {
            id,
            subject,
            author,
            date,
        })) => {
            let day = date.strftime("%Y-%m-%d");
            format!("{} {day} {author}: {subject}", short(id))
        }
    };
    let _ = writeln!(out, "{indent}{}", palette.paint(Paint::Dim, text));
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => "text".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Returns the place of a value and, if it isn't `value`, what is written there.
fn place(origin: &Origin, value: &Value) -> String {
    let priority = match origin.priority {
        None | Some("resources") => String::new(),
        Some(priority) => format!(" ({priority})"),
    };
    let place = format!("{}  {}{priority}", origin.place, origin.by);
    if origin.written == *value {
        return place;
    }
    format!("{place}: {}", one_line(&origin.written))
}
