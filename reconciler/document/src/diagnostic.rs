//! Diagnostics: errors and warnings as values, with a position and a hint.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::code::Code;
use crate::span::Span;

/// The severity of a diagnostic: whether the object that it concerns can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The object that the diagnostic concerns can't be used.
    Error,
    /// The object can be used, but something is probably not intended.
    Warning,
}

/// Another position that a diagnostic refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The position.
    pub span: Span,
    /// The text about the position.
    pub message: String,
}

/// An error or warning, with its position and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The code, which identifies the kind of error or warning.
    pub code: Code,
    /// The severity.
    pub severity: Severity,
    /// The position.
    pub span: Span,
    /// The message: one sentence without a full stop.
    pub message: String,
    /// A hint how to fix the problem.
    pub hint: Option<String>,
    /// The name of the missing field, if the diagnostic is about one.
    pub missing: Option<String>,
    /// Other positions that the diagnostic refers to.
    pub related: Vec<Label>,
    /// The names of the hosts that the diagnostic concerns, sorted: an error holds them. Filled in by callers
    /// that know them.
    pub hosts: Vec<String>,
}

impl Diagnostic {
    /// Creates an error at a position.
    pub fn error(code: Code, span: &Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span: span.clone(),
            message: message.into(),
            hint: None,
            missing: None,
            related: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// Creates a warning at a position.
    pub fn warning(code: Code, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint<'a>(mut self, hint: impl Into<Cow<'a, str>>) -> Self {
        self.hint = Some(hint.into().into_owned());
        self
    }

    /// Adds another position that the diagnostic refers to.
    #[must_use]
    pub fn related(mut self, span: &Span, message: impl Into<String>) -> Self {
        self.related.push(Label {
            span: span.clone(),
            message: message.into(),
        });
        self
    }

    /// True if the diagnostic is an error, so that the object that it concerns can't be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Writes `file:3:5: error[code]: message`, then a line for each related position and one for the hint,
/// without snippets.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}: {severity}[{}]: {}",
            self.span, self.code, self.message
        )?;
        for label in &self.related {
            write!(f, "\n  {}: {}", label.span, label.message)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Diagnostic", 9)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("file", &**self.span.file())?;
        out.serialize_field("line", &self.span.line())?;
        out.serialize_field("column", &self.span.column())?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("hint", &self.hint)?;
        out.serialize_field("related", &self.related)?;
        out.serialize_field("hosts", &self.hosts)?;
        out.end()
    }
}
