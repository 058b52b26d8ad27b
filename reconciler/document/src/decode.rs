//! Decodes typed values from trees. Each error has its position in the text.

mod access;
mod error;
mod key;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::code::codes;
use crate::diagnostic::Diagnostic;
use crate::node::{Node, Style, Value};
use crate::scalar::has_leading_zero;
use crate::span::Span;
use crate::spanned;

use access::{Entries, EnumOf, Items, SpannedParts};
use error::Error;

pub use error::Error as DecodeError;

/// Maximum number of errors that are reported for one tree.
const MOST_ERRORS: usize = 32;

/// Decodes a typed value from a tree. `null` in place of a mapping is an empty mapping.
///
/// # Errors
/// Returns an error for each unknown field and each value that doesn't fit. An error can hide others within
/// the same mapping entry.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Diagnostic>> {
    decode_with(node, |decoder| T::deserialize(decoder))
}

/// Decodes a value from a tree with the function `read`, which gets the deserializer, for types that are
/// chosen at run time. `read` may be called several times, to find more than the first error.
///
/// # Errors
/// The same as [`decode`].
pub fn decode_with<T>(
    node: &Node,
    read: impl for<'d> Fn(Decoder<'d>) -> Result<T, DecodeError>,
) -> Result<T, Vec<Diagnostic>> {
    let mut skip: Vec<Span> = Vec::new();
    let mut skipped_keys: Vec<String> = Vec::new();
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    loop {
        // serde stops at the first error. To find more, leave out the entry that caused it and decode the
        // rest again.
        match read(Decoder { node, skip: &skip }) {
            Ok(value) if diagnostics.is_empty() => return Ok(value),
            Ok(_) => return Err(diagnostics),
            Err(error) => {
                let follows = error
                    .missing()
                    .is_some_and(|field| skipped_keys.contains(field));
                let entry = error.entry().cloned();
                if !follows {
                    diagnostics.push(error.into_diagnostic(&node.span));
                }
                match entry {
                    Some((span, key))
                        if !follows && diagnostics.len() < MOST_ERRORS && !skip.contains(&span) =>
                    {
                        skip.push(span);
                        skipped_keys.push(key);
                    }
                    _ => return Err(diagnostics),
                }
            }
        }
    }
}

/// A serde deserializer over a tree.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a> {
    node: &'a Node,
    skip: &'a [Span],
}

impl<'a> Decoder<'a> {
    fn of(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn wrong(&self, wanted: &str) -> Error {
        Error::wrong_type(wanted, &self.node.describe()).at(&self.node.span)
    }

    /// Creates the error for a value that should be text but isn't.
    fn not_text(&self) -> Error {
        let error = self.wrong("text");
        if self.node.style == Style::Made && !self.node.is_null() {
            return error.hint("add `| string`: the expression gives another type");
        }
        match &self.node.value {
            Value::Bool(value) => error.hint(format!("put it in quotes: \"{value}\"")),
            Value::Int(_, raw) | Value::Float(_, raw) => {
                error.hint(format!("put it in quotes: \"{raw}\""))
            }
            Value::Null => error.hint("write \"\" for empty text, or remove the field"),
            _ => error,
        }
    }

    fn whole_number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Int(_, raw) if has_leading_zero(raw) => Err(Error::new(
                codes::WRONG_TYPE,
                format!("{raw} has a leading zero, which some programs read as octal"),
            )
            .hint("write it without the zero, or in quotes if it is text")
            .at(&self.node.span)),
            Value::Int(number, _) => {
                let result = match u64::try_from(*number) {
                    Ok(number) => visitor.visit_u64(number),
                    Err(_) => visitor.visit_i64(*number),
                };
                result.map_err(|error: Error| error.at(&self.node.span))
            }
            Value::String(text) if text.parse::<i64>().is_ok() => {
                Err(self.wrong("a whole number").hint("write it without quotes"))
            }
            _ => Err(self.wrong("a whole number")),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
            self.whole_number(visitor)
        }
    )*};
}

impl<'a> Deserializer<'a> for Decoder<'a> {
    type Error = Error;

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(..) => return self.whole_number(visitor),
            Value::Float(value, _) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Seq(items) => Items::visit(self, items, visitor),
            Value::Map(map) => Entries::visit(self, map.iter(), visitor),
        };
        // Keep the type's own error, unless the type wanted text: the error of this crate has a hint about
        // quotes.
        result.map_err(|error| match &self.node.value {
            Value::Bool(_) | Value::Int(..) | Value::Float(..) if error.wanted_text() => {
                self.not_text()
            }
            _ => error.at(&self.node.span),
        })
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => {
                let error = self.wrong("true or false");
                Err(match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" => error.hint("write true, without quotes"),
                    "no" | "off" | "n" | "false" => error.hint("write false, without quotes"),
                    _ => error,
                })
            }
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Float(value, _) => visitor.visit_f64(*value),
            Value::Int(value, _) => visitor.visit_i64(*value),
            _ => Err(self.wrong("a number")),
        }
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::String(text) => visitor
                .visit_borrowed_str(text)
                .map_err(|error: Error| error.at(&self.node.span)),
            _ => Err(self.not_text()),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() {
            visitor.visit_unit()
        } else {
            Err(self.wrong("nothing"))
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == spanned::NAME {
            return visitor.visit_seq(SpannedParts::new(self));
        }
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.at(&self.node.span))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Seq(items) => Items::visit(self, items, visitor),
            Value::Null => Err(self
                .wrong("a list")
                .hint("write [] for an empty list, or remove the field")),
            Value::Map(_) => Err(self.wrong("a list")),
            Value::String(text) => Err(self.wrong("a list").hint(as_list(text))),
            _ => Err(self.wrong("a list").hint("put it in brackets: […]")),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(map) => Entries::visit(self, map.iter(), visitor),
            Value::Null => Entries::visit(self, [].iter(), visitor),
            Value::Seq(items)
                if items.iter().all(|item| item.as_str().is_some()) && !items.is_empty() =>
            {
                Err(self
                    .wrong("a mapping")
                    .hint("write it in braces instead of brackets: {…}"))
            }
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::String(_) => visitor.visit_enum(EnumOf::word(self)),
            Value::Map(map) if map.len() == 1 => {
                visitor.visit_enum(EnumOf::entry(self, map.iter()))
            }
            Value::Map(_) => {
                let message = format!("exactly one of {} must be set", error::list(variants));
                return Err(Error::new(codes::INVALID_VALUE, message).at(&self.node.span));
            }
            _ => return Err(self.wrong(&format!("one of {}", error::list(variants)))),
        }
        .map_err(|error: Error| error.at(&self.node.span))
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <V: Visitor<'a>> i128 u128 identifier }
}

/// Returns the hint that shows a text as the list that it was probably meant to be: of its words.
fn as_list(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+@=-".contains(c);
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() || text.len() > 80 || text.contains(['"', '\'', '\n']) {
        return "put it in brackets: […]".to_owned();
    }
    let quoted = words.iter().map(|word| {
        let is_text = matches!(crate::scalar::resolve(word), Value::String(_));
        if is_text
            && word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
            && word.chars().all(is_plain)
        {
            (*word).to_owned()
        } else {
            format!("\"{word}\"")
        }
    });
    format!(
        "write it as a list: [{}]",
        quoted.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests;
