//! The canonical form of a value: every program that serializes the value writes the same bytes.
//!
//! The form is JSON with keys sorted by their bytes, no white space, integers and strings only. Floats are
//! rejected, because different writers print them differently. Plumb has its own writer, so that no feature
//! flag of a JSON crate (`preserve_order`, `arbitrary_precision`) can change a digest of the fleet.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

/// The error for a value without a canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCanonical(String);

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't be written in canonical form: {}", self.0)
    }
}

impl std::error::Error for NotCanonical {}

/// Serializes a value to its canonical form.
///
/// # Errors
/// Fails if the value contains a float, or a map whose keys aren't strings.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    let value = serde_json::to_value(value).map_err(|error| NotCanonical(error.to_string()))?;
    let mut out = String::new();
    write_value(&mut out, &value)?;
    Ok(out.into_bytes())
}

fn write_value(out: &mut String, value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            if !(number.is_i64() || number.is_u64()) {
                return Err(NotCanonical(format!("{number} isn't a whole number")));
            }
            let _ = write!(out, "{number}");
        }
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                write_value(out, item)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Writes a string with the shortest escapes of RFC 8259; all other characters stay as they are.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_by_bytes_and_floats_refused() {
        let value = json!({"b": 1, "a": ["x\n", null, true], "é": {"z": "", "B": -3}});
        let text = String::from_utf8(to_vec(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":["x\n",null,true],"b":1,"é":{"B":-3,"z":""}}"#);
        assert!(to_vec(&json!(1.5)).is_err());
    }
}
