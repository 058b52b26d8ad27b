//! Renders diagnostics with the lines that they point at.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use plumb_api::LoginUrl;
use plumb_core::manifest::code::CLEAR_TEXT_SECRET;
use plumb_document::{Diagnostic, Severity, SourceMap, Span};

use crate::palette::Palette;

/// Renders every diagnostic with its snippet. Errors come last, because the end of the output stays visible
/// in a terminal.
pub fn render_diagnostics(all: &[Diagnostic], sources: &SourceMap, palette: Palette) -> String {
    let theme = if palette.is_plain() {
        GraphicalTheme::unicode_nocolor()
    } else {
        GraphicalTheme::unicode()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false)
        .with_context_lines(1);
    let mut out = String::new();
    let (errors, warnings): (Vec<_>, Vec<_>) = all.iter().partition(|d| d.is_error());
    for diagnostic in warnings.into_iter().chain(errors) {
        let shown = Snippet::new(diagnostic, sources);
        if handler.render_report(&mut out, &shown).is_err() {
            // If the snippet can't be drawn, show at least the message.
            out.push_str(&diagnostic.to_string());
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// A diagnostic in miette's form.
struct Snippet {
    code: &'static str,
    severity: miette::Severity,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Snippet>,
}

impl Snippet {
    fn new(diagnostic: &Diagnostic, sources: &SourceMap) -> Self {
        let mut labels = vec![LabeledSpan::new_primary_with_span(
            None,
            range(&diagnostic.span),
        )];
        let mut elsewhere = Vec::new();
        for label in &diagnostic.related {
            if label.span.file() == diagnostic.span.file() {
                labels.push(LabeledSpan::new_with_span(
                    Some(label.message.clone()),
                    range(&label.span),
                ));
            } else {
                elsewhere.push(Self {
                    code: diagnostic.code.as_str(),
                    severity: miette::Severity::Advice,
                    message: if has_short_line(&label.span, sources) {
                        label.message.clone()
                    } else {
                        format!("{}: {}", label.span, label.message)
                    },
                    help: None,
                    source: named(&label.span, sources),
                    labels: vec![LabeledSpan::new_primary_with_span(None, range(&label.span))],
                    elsewhere: Vec::new(),
                });
            }
        }
        // A snippet would show the secret.
        let is_drawable = diagnostic
            .related
            .iter()
            .filter(|label| label.span.file() == diagnostic.span.file())
            .all(|label| has_short_line(&label.span, sources));
        let source = (diagnostic.code != CLEAR_TEXT_SECRET && is_drawable)
            .then(|| named(&diagnostic.span, sources))
            .flatten();
        // Without the file's text there is no snippet, so the message names file and line.
        let message = if source.is_some() {
            diagnostic.message.clone()
        } else {
            format!("{}: {}", diagnostic.span, diagnostic.message)
        };
        let hosts = concerned(diagnostic);
        let help = match (&diagnostic.hint, hosts) {
            (Some(hint), Some(hosts)) => Some(format!("{hint}\n{hosts}")),
            (Some(hint), None) => Some(hint.clone()),
            (None, hosts) => hosts,
        };
        Self {
            code: diagnostic.code.as_str(),
            severity: match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            message,
            help,
            source,
            labels,
            elsewhere,
        }
    }
}

/// True if the line of a span is short enough for a snippet. miette panics at columns beyond 65,535, and nobody
/// reads that far.
fn has_short_line(span: &Span, sources: &SourceMap) -> bool {
    const LONGEST: usize = 4000;
    let Some(text) = sources.text(span.file()) else {
        return true;
    };
    let at = span.bytes().start.min(text.len());
    let (before, after) = text.as_bytes().split_at(at);
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |end| end + 1);
    let end = after
        .iter()
        .position(|b| *b == b'\n')
        .unwrap_or(after.len());
    at + end - start <= LONGEST
}

/// Returns a sentence about the hosts that a diagnostic concerns; the JSON has all of them.
fn concerned(diagnostic: &Diagnostic) -> Option<String> {
    /// The number of hosts that are named.
    const NAMED: usize = 5;
    let all = &diagnostic.hosts;
    let names = match all.len() {
        0 => return None,
        count if count <= NAMED + 1 => all.join(", "),
        count => format!(
            "{} and {} more hosts",
            all[..NAMED].join(", "),
            count - NAMED
        ),
    };
    Some(match (diagnostic.severity, all.len()) {
        (Severity::Warning, _) => format!("on {names}"),
        (Severity::Error, 1) => format!("{names} stays at its last good state"),
        (Severity::Error, _) => format!("these hosts stay at their last good state: {names}"),
    })
}

fn named(span: &Span, sources: &SourceMap) -> Option<NamedSource<String>> {
    if !has_short_line(span, sources) {
        return None;
    }
    sources
        .text(span.file())
        // A line with a URL could show a login.
        .map(|text| NamedSource::new(&**span.file(), LoginUrl::mask(text)))
}

fn range(span: &Span) -> std::ops::Range<usize> {
    span.bytes()
}

impl fmt::Debug for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Snippet {}

impl miette::Diagnostic for Snippet {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(
            self.elsewhere
                .iter()
                .map(|shown| shown as &dyn miette::Diagnostic),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plumb_document::{codes, parse};

    use super::*;

    #[test]
    fn the_line_is_shown_with_code_and_hint() {
        let file: Arc<str> = "hosts/linda.yaml".into();
        let text = "kind: Host\nspec:\n  arhc: x86_64\n";
        let node = parse(&file, text.as_bytes()).unwrap();
        let span = &node.get("spec").unwrap().get("arhc").unwrap().span;
        let mut diagnostic =
            Diagnostic::error(codes::UNKNOWN_FIELD, span, "there is no field arhc")
                .hint("did you mean arch?");
        diagnostic.hosts = vec!["linda".to_owned()];
        let mut sources = SourceMap::default();
        sources.insert(file, text.as_bytes().into());
        let shown = render_diagnostics(&[diagnostic], &sources, Palette::plain());
        for part in [
            "unknown-field",
            "there is no field arhc",
            "hosts/linda.yaml:3:",
            "arhc: x86_64",
            "did you mean arch?",
            "linda stays at its last good state",
        ] {
            assert!(shown.contains(part), "{part} is missing in:\n{shown}");
        }
    }

    #[test]
    fn a_clear_text_secret_is_not_quoted() {
        let file: Arc<str> = "files/token".into();
        let span = Span::new(file.clone(), 1, 1, 0..0);
        let mut sources = SourceMap::default();
        sources.insert(file, b"ghp_hunter2\n".as_slice().into());
        let diagnostic = Diagnostic::warning(CLEAR_TEXT_SECRET, &span, "this line has a token");
        let shown = render_diagnostics(&[diagnostic], &sources, Palette::plain());
        assert!(
            shown.contains("files/token:1:1: this line has a token"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn long_lines_are_not_drawn() {
        let file: Arc<str> = "hosts/linda.yaml".into();
        let text = "x".repeat(100_000);
        let span = Span::new(file.clone(), 1, 90_001, 90_000..90_003);
        let mut sources = SourceMap::default();
        sources.insert(file, text.as_bytes().into());
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_FIELD, &span, "no such field").related(&span, "here");
        let shown = render_diagnostics(&[diagnostic], &sources, Palette::plain());
        assert!(
            shown.contains("hosts/linda.yaml:1:90001: no such field"),
            "{shown}"
        );
    }

    #[test]
    fn without_a_text_the_place_is_in_words() {
        let span = Span::of_file("hosts/linda.yaml");
        let diagnostic = Diagnostic::error(codes::YAML_ENCODING, &span, "the file isn't UTF-8");
        let shown = render_diagnostics(&[diagnostic], &SourceMap::default(), Palette::plain());
        assert!(
            shown.contains("hosts/linda.yaml:1:1: the file isn't UTF-8"),
            "{shown}"
        );
    }
}
