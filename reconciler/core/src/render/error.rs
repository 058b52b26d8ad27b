//! Converts errors of the template engine to diagnostics with a position in the YAML.

use std::sync::Arc;

use minijinja::{Error, ErrorKind};
use plumb_document::{Diagnostic, Node, Span, Style, closest};

use super::template::SHIFT;
use super::{Context, NAMES};
use crate::manifest::code;

/// The names that templates may use on `fleet`.
const FLEET: [&str; 5] = ["hosts", "host", "network", "endpoints", "domain"];

/// The tags that templates may contain between `{%` and `%}`.
const TAGS: [&str; 16] = [
    "for",
    "endfor",
    "if",
    "elif",
    "else",
    "endif",
    "set",
    "endset",
    "with",
    "endwith",
    "filter",
    "endfilter",
    "raw",
    "endraw",
    "autoescape",
    "endautoescape",
];

/// The filters that templates may use.
pub(super) const FILTERS: [&str; 49] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "default",
    "dictsort",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "targets",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
    "d",
    "e",
];

/// The hint for braces that don't belong to a Plumb template.
const LITERAL_BRACES: &str = "put literal braces between {% raw %} and {% endraw %}";

/// Returns the message and the hint for an error.
fn message_and_hint(error: &Error, context: &Context) -> (String, Option<String>) {
    let piece = error
        .template_source()
        .zip(error.range())
        .and_then(|(source, range)| source.get(range))
        .map(str::trim)
        .filter(|piece| !piece.is_empty() && piece.len() < 120);
    let detail = error.detail().map(str::to_owned);
    match (error.kind(), piece) {
        (ErrorKind::UndefinedError, Some(piece)) => {
            let path = context.undefined(piece);
            let piece = path
                .as_deref()
                .unwrap_or(piece)
                .trim_start_matches(['(', ' ']);
            let first = piece
                .split(['.', '[', '(', ' ', '|'])
                .next()
                .unwrap_or_default();
            let near = context.nearest(piece);
            let hint = if let Some(near) = near {
                Some(format!("did you mean `{near}`?"))
            } else if NAMES.contains(&first) {
                match first {
                    "fleet" => Some("use only `host` and `params` in keys, `when`, `endpoints` and `networks`; templates have `fleet` too".to_owned()),
                    "params" => Some("declare it under the profile's `params`".to_owned()),
                    _ => Some("give a default where it may be missing: `x | default('…')`, or `if x is defined`".to_owned()),
                }
            } else {
                closest(first, NAMES).map(|near| format!("did you mean `{near}`?"))
            };
            let hint = hint.or_else(|| Some("use `host`, `params`, `instance` or `fleet`; put literal braces between {% raw %} and {% endraw %}".to_owned()));
            (format!("`{piece}` is undefined"), hint)
        }
        (ErrorKind::UnknownMethod, _) => {
            let method = piece.and_then(|piece| piece.trim_start_matches('.').split('(').next());
            let near = method.and_then(|method| closest(method, FLEET));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`fleet` has {}", FLEET.join(", ")),
            };
            (
                detail.unwrap_or_else(|| "unknown method".to_owned()),
                Some(hint),
            )
        }
        (ErrorKind::UnknownFilter, Some(filter)) => {
            let hint = match closest(filter, FILTERS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of: {}", FILTERS.join(", ")),
            };
            (format!("unknown filter `{filter}`"), Some(hint))
        }
        (ErrorKind::OutOfFuel, _) => (
            "the template takes too many steps".to_owned(),
            Some("make its loops smaller".to_owned()),
        ),
        (ErrorKind::SyntaxError, _) if detail.as_ref().is_some_and(|detail| unclosed(detail)) => (
            format!(
                "the template can't be parsed: {}",
                detail.unwrap_or_default()
            ),
            Some("close it with }}".to_owned()),
        ),
        (ErrorKind::SyntaxError, _) if unknown_tag(detail.as_deref()).is_some() => {
            let tag = unknown_tag(detail.as_deref()).unwrap_or_default();
            let hint = match closest(tag, TAGS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => LITERAL_BRACES.to_owned(),
            };
            (format!("unknown tag `{tag}`"), Some(hint))
        }
        (ErrorKind::SyntaxError, _) => {
            let detail = detail.unwrap_or_else(|| error.kind().to_string());
            let hint = syntax_hint(&detail);
            (
                format!("the template can't be parsed: {detail}"),
                Some(hint.to_owned()),
            )
        }
        (kind, piece) => {
            let mut message = detail.unwrap_or_else(|| kind.to_string());
            if let Some(piece) = piece {
                message = format!("`{}`: {message}", piece.trim_start_matches('.'));
            }
            (message, None)
        }
    }
}

/// Returns the hint for a syntax error. The engine has no codes for its syntax errors, only texts.
fn syntax_hint(detail: &str) -> &'static str {
    if detail.contains("recursion limit") {
        "nest it less deeply"
    } else if detail.contains("unexpected `=`") {
        "compare with `==`"
    } else if detail.contains("end of input, expected end of block") {
        "close the block with its end tag, such as {% endfor %} or {% endif %}"
    } else {
        LITERAL_BRACES
    }
}

/// Returns the name of the tag if the error is about an unknown tag.
fn unknown_tag(detail: Option<&str>) -> Option<&str> {
    detail?.strip_prefix("unknown statement ")
}

/// True if an expression isn't closed: the text ends before `}}` or after its first brace.
fn unclosed(detail: &str) -> bool {
    detail.contains("expected end of variable block")
        && (detail.contains("end of input") || detail.contains("`}`"))
}

fn diagnostic(error: &Error, span: &Span, context: &Context) -> Diagnostic {
    let (message, hint) = message_and_hint(error, context);
    let diagnostic = Diagnostic::error(code::EXPRESSION, span, message);
    match hint {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// Converts an error in `text`, the value of `node`, to a diagnostic.
pub(super) fn at(error: &Error, node: &Node, text: &str, context: &Context) -> Diagnostic {
    diagnostic(
        error,
        &place(error, node, text).unwrap_or_else(|| node.span.clone()),
        context,
    )
}

/// Converts an error in a condition, which is an expression without braces, to a diagnostic.
pub(super) fn of_condition(error: &Error, node: &Node, context: &Context) -> Diagnostic {
    diagnostic(error, &node.span, context)
}

/// Returns the position of an error in the YAML; `None` if the text isn't in the file literally, as with
/// escapes.
fn place(error: &Error, node: &Node, text: &str) -> Option<Span> {
    let line = u32::try_from(error.line()?).ok()?;
    let bytes = node.span.bytes();
    let start = u32::try_from(bytes.start).ok()?;
    match node.style {
        // The span of a block scalar begins at the first letter of its text. The column of that letter is the
        // indentation of every line that isn't empty.
        Style::Block => {
            let indent = node.span.column().checked_sub(1)?;
            let at = error.range().map_or(0, |range| range.start);
            let before = text.get(..at)?;
            let column = u32::try_from(before.rsplit('\n').next()?.chars().count()).ok()?;
            let lines = text
                .lines()
                .skip(1)
                .take(line as usize - 1)
                .filter(|line| !line.is_empty())
                .count();
            let from = start + u32::try_from(at).ok()? + indent * u32::try_from(lines).ok()?;
            let to = from + u32::try_from(error.range().map_or(0, |range| range.len())).ok()?;
            Some(Span::new(
                node.span.file().clone(),
                node.span.line() + line - 1,
                indent + 1 + column,
                from..to,
            ))
        }
        // A scalar on one line without escapes is in the file literally, after the opening quote if it has
        // one.
        Style::Plain | Style::Quoted => {
            let quote = bytes.len().checked_sub(text.len())? / 2;
            let mut range = error.range()?;
            if error.template_source().is_some_and(|source| source != text) {
                range = range.start.checked_sub(SHIFT)?..range.end.checked_sub(SHIFT)?;
            }
            if text.contains(['\n', '\\', '"', '\'']) || quote > 1 || range.end > text.len() {
                return None;
            }
            let chars = u32::try_from(text.get(..range.start)?.chars().count()).ok()?;
            let quote = u32::try_from(quote).ok()?;
            let (from, to) = (
                u32::try_from(range.start).ok()?,
                u32::try_from(range.end).ok()?,
            );
            let bytes = start + quote + from..start + quote + to;
            Some(Span::new(
                node.span.file().clone(),
                node.span.line(),
                node.span.column() + quote + chars,
                bytes,
            ))
        }
        Style::Made => None,
    }
}

/// Converts an error in a template file to a diagnostic. `used` is the node that names the file.
pub(super) fn in_file(
    error: &Error,
    file: &Arc<str>,
    text: &str,
    used: &Node,
    context: &Context,
) -> Diagnostic {
    let line = error
        .line()
        .and_then(|line| u32::try_from(line).ok())
        .unwrap_or(1);
    let range = error
        .range()
        .filter(|range| range.end <= text.len())
        .unwrap_or(0..0);
    let before = text.get(..range.start).unwrap_or_default();
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let bytes = u32::try_from(range.start).unwrap_or(0)..u32::try_from(range.end).unwrap_or(0);
    let span = Span::new(
        file.clone(),
        line,
        u32::try_from(column).unwrap_or(1),
        bytes,
    );
    diagnostic(error, &span, context).related(&used.span, "used here")
}
