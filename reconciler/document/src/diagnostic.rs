//! What is wrong, where, and what to do, as a value.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::code::Code;
use crate::span::Span;

/// Whether a diagnostic holds the objects that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// What it concerns can't be used.
    Error,
    /// Something that is probably not meant so, but can be used.
    Warning,
}

/// Another place that a diagnostic speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is there.
    pub message: String,
}

/// One thing that is wrong, with its place and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code.
    pub code: Code,
    /// Whether it holds something.
    pub severity: Severity,
    /// The place.
    pub span: Span,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Label>,
    /// The hosts that it holds, in order of name; filled in by whoever knows.
    pub hosts: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, span: &Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span: span.clone(),
            message: message.into(),
            hint: None,
            related: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint<'a>(mut self, hint: impl Into<Cow<'a, str>>) -> Self {
        self.hint = Some(hint.into().into_owned());
        self
    }

    /// With another place that belongs to it.
    #[must_use]
    pub fn related(mut self, span: &Span, message: impl Into<String>) -> Self {
        self.related.push(Label {
            span: span.clone(),
            message: message.into(),
        });
        self
    }

    /// Whether it holds what it concerns.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line per place and one for the hint, without a snippet: `file:3:5: error[code]: message`.
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
