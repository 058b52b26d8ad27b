//! The page of a diagnostic's code in `docs/codes.md`: its meaning, an example, and what to do.

use crate::output::{Paint, Palette};

/// The documentation of all codes.
const DOCS: &str = include_str!("../../../../../docs/codes.md");

/// Returns the page of a code as Markdown; `None` if the code has only a line in a table.
pub(super) fn of(code: &str) -> Option<&'static str> {
    let heading = format!("\n### `{code}`\n");
    let start = DOCS.find(&heading)? + heading.len();
    let rest = &DOCS[start..];
    let end = ["\n### ", "\n## "]
        .iter()
        .filter_map(|next| rest.find(next))
        .min()
        .unwrap_or(rest.len());
    Some(rest[..end].trim())
}

/// Renders a page for a terminal: examples are indented instead of fenced.
pub(super) fn render(page: &str, palette: Palette) -> String {
    let mut out = String::new();
    let mut is_example = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_example = !is_example;
            continue;
        }
        if is_example && !line.is_empty() {
            out.push_str(&palette.paint(Paint::Dim, format_args!("    {line}")));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_where_the_next_begins() {
        let page = of("unknown-field").unwrap();
        assert!(page.starts_with("The field doesn't exist here."), "{page}");
        assert!(page.ends_with("```") && !page.contains("###"), "{page}");
        assert_eq!(of("DriftHeld"), None);
    }

    #[test]
    fn examples_are_indented() {
        let text = render("Text.\n\n```yaml\na: 1\n\nb: 2\n```\n", Palette::plain());
        assert_eq!(text, "Text.\n\n    a: 1\n\n    b: 2\n");
    }
}
