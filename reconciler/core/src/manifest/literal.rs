//! Warns about Plumb expressions in a literal `content`. Plumb never renders literal text, because its braces
//! may belong to another template language. A literal that names variables of Plumb is probably a mistake.

use plumb_document::{Diagnostic, Node, Value};

use super::code;

/// Beginnings of expressions that text for other template languages hardly contains by chance.
const VARIABLES: [&str; 4] = ["params.", "host.", "hosts.", "networks."];

/// Adds a warning for each literal `content` below `node` that contains a Plumb expression.
pub(super) fn warn(node: &Node, warnings: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| warn(item, warnings)),
        Value::Map(map) => {
            for entry in map.iter() {
                let text = entry
                    .value
                    .as_str()
                    .filter(|_| &*entry.key.text == "content");
                if let Some(expression) = text.and_then(expression) {
                    warnings.push(
                        Diagnostic::warning(
                            code::LITERAL_TEMPLATE,
                            &entry.value.span,
                            format!("`{expression}` stays as it is: a literal text isn't rendered"),
                        )
                        .hint("write `content: {template: \"…\"}` to render it"),
                    );
                }
                warn(&entry.value, warnings);
            }
        }
        _ => {}
    }
}

/// Returns the first `{{ … }}` in the text that begins with one of Plumb's variables.
fn expression(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        let from = &rest[begin..];
        let end = from.find("}}")? + 2;
        let inner = from[2..end - 2].trim_start_matches('-').trim_start();
        if VARIABLES.iter().any(|name| inner.starts_with(name)) {
            return Some(&from[..end]);
        }
        rest = &from[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plumbs_own_variables_only() {
        assert_eq!(
            expression("listen {{ .Port }} on {{params.address}}\n"),
            Some("{{params.address}}")
        );
        assert_eq!(expression("{{ range .Hosts }} {{ ansible_host }}"), None);
        assert_eq!(expression("{{ params.x"), None);
    }
}
