//! Filters that write values in the languages of configuration files, and quote words for shells and systemd.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value as Jinja};
use serde_json::{Map, Value};

/// Adds the filters of this module.
pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("ini", ini);
    env.add_filter("toml", toml);
    env.add_filter("yaml", yaml);
    env.add_filter("json", json);
    env.add_filter("nix", nix);
    env.add_filter("shell_quote", shell_quote);
    env.add_filter("systemd_escape", systemd_escape);
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn plain(value: &Jinja) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    serde_json::to_value(value).map_err(|error| wrong(error.to_string()))
}

fn table(value: &Jinja, language: &str) -> Result<Map<String, Value>, Error> {
    match plain(value)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong(format!(
            "{language} needs a mapping, not {}",
            value.kind()
        ))),
    }
}

/// Returns the JSON of a value, with `indent` spaces a level if it is given.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands options over by value"
)]
fn json(value: &Jinja, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let value = plain(value)?;
    let Some(indent) = indent else {
        return Ok(value.to_string());
    };
    let spaces = " ".repeat(indent.min(16));
    let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(&value, &mut serializer)
        .map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
}

/// Returns the YAML of a value, which ends with a newline.
fn yaml(value: &Jinja) -> Result<String, Error> {
    let mut text =
        serde_saphyr::to_string(&plain(value)?).map_err(|error| wrong(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Returns the TOML of a mapping. Entries without a value are left out, because TOML has no null.
fn toml(value: &Jinja) -> Result<String, Error> {
    let fields = without_null(Value::Object(table(value, "toml")?));
    toml::to_string(&fields).map_err(|error| wrong(error.to_string()))
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_null(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        other => other,
    }
}

/// Returns the INI text of a mapping: plain values first, then a section for each mapping in it. A list becomes one
/// line for each item, as systemd has it.
fn ini(value: &Jinja) -> Result<String, Error> {
    let fields = table(value, "ini")?;
    let mut text = String::new();
    for (name, value) in &fields {
        if !value.is_object() {
            lines(&mut text, name, value)?;
        }
    }
    for (section, value) in &fields {
        let Value::Object(entries) = value else {
            continue;
        };
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[{section}]");
        for (name, value) in entries {
            lines(&mut text, name, value)?;
        }
    }
    Ok(text)
}

fn lines(text: &mut String, name: &str, value: &Value) -> Result<(), Error> {
    let mut line = |value: &str| {
        if value.contains(['\n', '\r']) {
            return Err(wrong(format!(
                "a value of ini can't have several lines: `{name}`"
            )));
        }
        let _ = writeln!(text, "{name}={value}");
        Ok(())
    };
    match value {
        Value::Null => Ok(()),
        Value::String(value) => line(value),
        Value::Bool(_) | Value::Number(_) => line(&value.to_string()),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(item) => line(item)?,
                    Value::Bool(_) | Value::Number(_) => line(&item.to_string())?,
                    _ => return Err(wrong(format!("ini has no list of mappings: `{name}`"))),
                }
            }
            Ok(())
        }
        Value::Object(_) => Err(wrong(format!("ini has no section in a section: `{name}`"))),
    }
}

/// Returns the Nix expression of a value.
fn nix(value: &Jinja) -> Result<String, Error> {
    let mut text = String::new();
    write_nix(&mut text, &plain(value)?, 0);
    Ok(text)
}

fn write_nix(text: &mut String, value: &Value, depth: usize) {
    let inner = "  ".repeat(depth + 1);
    let outer = "  ".repeat(depth);
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(_) | Value::Number(_) => {
            let number = value.to_string();
            // A negative number in a list would be a subtraction.
            if number.starts_with('-') {
                let _ = write!(text, "({number})");
            } else {
                text.push_str(&number);
            }
        }
        Value::String(string) => text.push_str(&nix_string(string)),
        Value::Array(items) if items.is_empty() => text.push_str("[ ]"),
        Value::Array(items) => {
            text.push_str("[\n");
            for item in items {
                text.push_str(&inner);
                write_nix(text, item, depth + 1);
                text.push('\n');
            }
            let _ = write!(text, "{outer}]");
        }
        Value::Object(fields) if fields.is_empty() => text.push_str("{ }"),
        Value::Object(fields) => {
            text.push_str("{\n");
            for (name, value) in fields {
                let _ = write!(text, "{inner}{} = ", nix_string(name));
                write_nix(text, value, depth + 1);
                text.push_str(";\n");
            }
            let _ = write!(text, "{outer}}}");
        }
    }
}

fn nix_string(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t");
    format!("\"{escaped}\"")
}

/// Quotes a word for a POSIX shell, or each item of a list.
fn shell_quote(value: &Jinja) -> Result<String, Error> {
    if value.kind() == ValueKind::Seq {
        let words: Result<Vec<String>, Error> =
            value.try_iter()?.map(|word| shell_quote(&word)).collect();
        return Ok(words?.join(" "));
    }
    if value.is_undefined() || value.is_none() {
        return Err(wrong("there is no word to quote"));
    }
    let word = value.to_string();
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&b);
    if !word.is_empty() && word.bytes().all(safe) {
        return Ok(word);
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Escapes a text for the name of a unit as systemd-escape(1) does; with `path=true`, a path.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands options over by value"
)]
fn systemd_escape(text: &str, options: Kwargs) -> Result<String, Error> {
    let path: Option<bool> = options.get("path")?;
    options.assert_all_used()?;
    let is_path = path.unwrap_or_default();
    let mut text = text.to_owned();
    if is_path {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| [".", ".."].contains(part)) {
            return Err(wrong(format!("`{text}` isn't a normal path")));
        }
        text = parts.join("/");
        if text.is_empty() {
            return Ok("-".to_owned());
        }
    }
    let mut escaped = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at == 0 => escaped.push_str("\\x2e"),
            b if b.is_ascii_alphanumeric() || b":_.".contains(&b) => escaped.push(char::from(b)),
            b => {
                let _ = write!(escaped, "\\x{b:02x}");
            }
        }
    }
    Ok(escaped)
}
