//! Errors for people. Only this module decides the text of a failure, the exit code of the program, and the
//! look of snippets.
//!
//! A failure has a message, causes, hints, and diagnostics that point into files. Libraries return typed
//! errors; a command adds what it was doing with [`OrFail::or_fail`].

mod snippet;

use std::error::Error;
use std::fmt::Write as _;

use plumb_core::ports::{HostError, StoreError};
use plumb_document::{Diagnostic, SourceMap};

use crate::palette::{Paint, Palette};

pub use snippet::render_diagnostics;

/// The program's exit code; `docs/exit-codes.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// The command succeeded.
    pub const OK: Self = Self(0);
    /// The command failed, or `check` found errors.
    pub const FAILED: Self = Self(1);
    /// `diff` found a difference.
    pub const DIFFERS: Self = Self(1);
    /// `diff` failed; also the code for a wrong command line.
    pub const TROUBLE: Self = Self(2);
    /// `verify`: a commit is pending.
    pub const PENDING: Self = Self(3);
    /// `verify`: a commit is rejected.
    pub const REJECTED: Self = Self(4);

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// The error of a command, ready to be shown. Boxed, to keep results small.
#[derive(Debug)]
pub struct Failure(Box<FailureDetails>);

#[derive(Debug)]
struct FailureDetails {
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    diagnostics: Vec<Diagnostic>,
    sources: SourceMap,
    exit: Exit,
}

impl Failure {
    /// Creates a failure. The message names what failed and why, in lower case and without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(FailureDetails {
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            diagnostics: Vec::new(),
            sources: SourceMap::default(),
            exit: Exit::FAILED,
        }))
    }

    /// Adds an error and its sources as causes. A text that is already shown isn't repeated.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let said = self.0.message.contains(&text)
                || self
                    .0
                    .causes
                    .last()
                    .is_some_and(|last| last.contains(&text));
            if !said && !text.is_empty() {
                self.0.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Adds a hint, if there is one.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds diagnostics, and the texts of the files that they point into.
    #[must_use]
    pub fn diagnostics(mut self, diagnostics: Vec<Diagnostic>, sources: SourceMap) -> Self {
        self.0.diagnostics = diagnostics;
        self.0.sources = sources;
        self
    }

    /// Sets another exit code than 1.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// Returns the message without causes and hints.
    pub fn headline(&self) -> &str {
        &self.0.message
    }

    /// Returns the exit code.
    pub fn code(&self) -> Exit {
        self.0.exit
    }

    /// Renders everything: diagnostics with snippets, the message, causes and hints.
    pub fn render(&self, palette: Palette) -> String {
        let mut out = render_diagnostics(&self.0.diagnostics, &self.0.sources, palette);
        let _ = writeln!(
            out,
            "{} {}",
            palette.paint(Paint::Error, "error:"),
            self.0.message
        );
        for cause in &self.0.causes {
            let _ = writeln!(out, "  {} {cause}", palette.paint(Paint::Dim, "because:"));
        }
        for hint in &self.0.hints {
            let _ = writeln!(out, "  {} {hint}", palette.paint(Paint::Hint, "hint:"));
        }
        out
    }
}

/// Turns an error into a failure that says what the command was doing.
pub trait OrFail<T> {
    /// Returns the value, or a failure with this message and the error as its cause.
    ///
    /// # Errors
    /// Returns the failure if `self` is an error.
    fn or_fail(self, message: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error + 'static> OrFail<T> for Result<T, E> {
    fn or_fail(self, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(message()).because(&error))
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(error.to_string()).maybe_hint(error.hint())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Busy => {
                Some("stop the running controller first, or give this one another `state` folder")
            }
            StoreError::Newer => Some("use the version of plumb that wrote it, or a newer one"),
            StoreError::Damaged { .. } => Some(
                "restore it from a backup; without one, move it away and start once with --take-over, because hosts refuse a controller that they don't know",
            ),
            StoreError::Denied { .. } => Some(
                "make the controller's user the owner of the state folder and of everything in it, or set `state` to another folder",
            ),
            StoreError::Failed(_) => None,
        };
        Self::new(error.to_string()).maybe_hint(hint.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer thing failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_said_once_and_hints_last() {
        let inner = std::io::Error::other("no such luck");
        let failure = Failure::new("nothing was done")
            .because(&Outer(inner))
            .hint("try again");
        assert_eq!(
            failure.render(Palette::plain()),
            "error: nothing was done\n  because: the outer thing failed\n  because: no such luck\n  hint: try again\n"
        );
    }

    #[test]
    fn a_cause_that_the_message_has_isnt_repeated() {
        let failure = Failure::new("can't read x: no such luck")
            .because(&std::io::Error::other("no such luck"));
        assert_eq!(
            failure.render(Palette::plain()),
            "error: can't read x: no such luck\n"
        );
    }
}
