//! Converts serde's errors to messages for people, with a position.

use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::code::{Code, codes};
use crate::diagnostic::Diagnostic;
use crate::similar::closest;
use crate::span::Span;

/// A decoding error, which is passed up the tree. The innermost node sets its position.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    message: String,
    hint: Option<String>,
    span: Option<Span>,
    /// The key of the innermost mapping entry in which the error occurred.
    entry: Option<(Span, String)>,
    /// The name of the missing field, if the error is about one.
    missing: Option<String>,
    wanted_text: bool,
}

impl Error {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            message: message.into(),
            hint: None,
            span: None,
            entry: None,
            missing: None,
            wanted_text: false,
        }))
    }

    pub(super) fn wrong_type(wanted: &str, found: &str) -> Self {
        Self::new(codes::WRONG_TYPE, format!("expected {wanted}, not {found}"))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the position, unless it is already set.
    pub(super) fn at(mut self, span: &Span) -> Self {
        self.0.span.get_or_insert_with(|| span.clone());
        self
    }

    /// Sets the mapping entry in which the error occurred, unless it is already set.
    pub(super) fn in_entry(mut self, key: &Span, name: &str) -> Self {
        self.0
            .entry
            .get_or_insert_with(|| (key.clone(), name.to_owned()));
        self
    }

    /// Returns the innermost mapping entry in which the error occurred.
    pub(super) fn entry(&self) -> Option<&(Span, String)> {
        self.0.entry.as_ref()
    }

    /// Returns the name of the missing field, if the error is about one.
    pub(super) fn missing(&self) -> Option<&String> {
        self.0.missing.as_ref()
    }

    /// True if the error is that a value should be text.
    pub(super) fn wanted_text(&self) -> bool {
        self.0.wanted_text
    }

    pub(super) fn into_diagnostic(self, otherwise: &Span) -> Diagnostic {
        let parts = *self.0;
        let mut diagnostic = Diagnostic::error(
            parts.code,
            parts.span.as_ref().unwrap_or(otherwise),
            parts.message,
        );
        diagnostic.hint = parts.hint;
        diagnostic.missing = parts.missing;
        diagnostic
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// Formats words as a list in a message, each in backticks.
pub(super) fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn nearest(word: &str, known: &'static [&'static str]) -> String {
    match closest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it: this mapping has no fields".to_owned(),
        None => format!("use one of: {}", list(known)),
    }
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("the boolean {value}"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text \"{}\"", text.escape_debug()),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// Returns a description of the expected type without Rust's terms.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" | "a borrowed string" | "str" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a sequence" => "a list".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        _ if text.starts_with("struct ") => "a mapping".to_owned(),
        _ => text,
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(codes::INVALID_VALUE, message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(expected);
        let mut error = Self::wrong_type(&wanted, &found(unexpected));
        error.0.wanted_text = wanted.contains("text") || wanted.contains("string");
        error
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(
            codes::INVALID_VALUE,
            format!("expected {}, not {}", wanted(expected), found(unexpected)),
        )
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(
            codes::INVALID_VALUE,
            format!("expected {}, not {length} values", wanted(expected)),
        )
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(codes::INVALID_VALUE, format!("unknown value `{variant}`"))
            .hint(nearest(variant, expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(codes::UNKNOWN_FIELD, format!("unknown field `{field}`"))
            .hint(nearest(field, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new(codes::MISSING_FIELD, format!("`{field}` is missing"));
        error.0.missing = Some(field.to_owned());
        error
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(codes::INVALID_VALUE, format!("`{field}` is set twice"))
    }
}
