//! Parses YAML text to a tree of nodes with positions, and returns diagnostics as values.
//!
//! [`parse`] reads one strict YAML document into [`Node`]s, each with its position in the text. [`decode`]
//! reads a typed value from such a tree. An error about a value thus has the position of that value, even
//! after trees were merged or rendered. Errors are [`Diagnostic`]s: this crate prints nothing, and a renderer
//! takes the text for a snippet from a [`SourceMap`].
//!
//! Node clones are cheap (reference counts), so trees can be shared and merged freely.

mod code;
mod decode;
mod diagnostic;
mod node;
mod parse;
mod scalar;
mod similar;
mod source_file;
mod span;
mod spanned;

pub use code::{ALL as CODES, Code, codes};
pub use decode::{DecodeError, Decoder, decode, decode_with};
pub use diagnostic::{Diagnostic, Label, Severity};
pub use node::{Entry, Key, Map, Node, Style, Value};
pub use parse::{Limits, parse, parse_with};
pub use similar::closest;
pub use source_file::{SourceFile, TooLarge};
pub use span::{SourceMap, Span};
pub use spanned::Spanned;
