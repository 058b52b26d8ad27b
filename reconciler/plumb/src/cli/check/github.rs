//! `-o github`: GitHub's workflow commands, which put each diagnostic beside the line of a pull request.

use std::borrow::Cow;
use std::fmt::Write as _;

use plumb_document::{Diagnostic, Severity};

/// Renders one workflow command per diagnostic.
pub(super) fn render(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for one in diagnostics {
        let command = match one.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut message = one.message.clone();
        for label in &one.related {
            let _ = write!(message, "\n{}: {}", label.span, label.message);
        }
        if let Some(hint) = &one.hint {
            let _ = write!(message, "\nhint: {hint}");
        }
        if !one.hosts.is_empty() {
            let _ = write!(message, "\nhosts: {}", one.hosts.join(", "));
        }
        let _ = writeln!(
            out,
            "::{command} file={},line={},col={},title={}::{}",
            property(one.span.file()),
            one.span.line(),
            one.span.column(),
            property(one.code.as_str()),
            data(&message)
        );
    }
    out
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> Cow<'_, str> {
    escaped(text, &['%', '\r', '\n'])
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> Cow<'_, str> {
    escaped(text, &['%', '\r', '\n', ':', ','])
}

fn escaped<'a>(text: &'a str, special: &[char]) -> Cow<'a, str> {
    if !text.contains(special) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if special.contains(&c) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use plumb_document::{Span, codes};

    use super::*;

    #[test]
    fn one_command_per_diagnostic_with_its_place() {
        let span = Span::new("hosts/a,b.yaml".into(), 4, 3, 0..1);
        let error = Diagnostic::error(codes::UNKNOWN_FIELD, &span, "100% wrong").hint("do: this");
        assert_eq!(
            render(&[error]),
            "::error file=hosts/a%2Cb.yaml,line=4,col=3,title=unknown-field::100%25 wrong%0Ahint: do: this\n"
        );
    }
}
