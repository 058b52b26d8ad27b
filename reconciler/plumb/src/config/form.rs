//! Hints on the form of the configuration's fields: a decoder's general message about a type misleads where
//! only one form is right.

use plumb_document::{Diagnostic, Node, codes};

/// The form of each field that isn't plain text.
const FORMS: &[(&str, &str)] = &[
    (
        "source",
        "write source: {url: \"ssh://git@HOST/fleet.git\", ref: refs/heads/main}",
    ),
    ("introduction", "write introduction: {commit: \"COMMIT\"}"),
    (
        "listen",
        "write an address and a port: listen: 127.0.0.1:9180",
    ),
    ("ssh", "write ssh: {key: /etc/plumb/id_ed25519}"),
    (
        "alertmanagers",
        "write addresses: alertmanagers: [\"http://HOST:9093\"]; endpoints of the fleet's hosts belong into its fleet.yaml",
    ),
    ("local", "write the names of hosts: local: [NAME]"),
    (
        "sandbox",
        "write a folder for each host: sandbox: {NAME: FOLDER}, such as {demo-1: hosts/demo-1}",
    ),
];

/// Gives each error about a field's form a hint with the right form.
pub(super) fn explain(document: &Node, diagnostics: &mut [Diagnostic]) {
    let Some(spec) = document.get("spec").and_then(Node::as_map) else {
        return;
    };
    let poll = spec
        .entry("source")
        .and_then(|source| source.value.as_map()?.entry("poll"));
    if let Some(poll) = poll {
        let (from, to) = (poll.key.span.bytes().start, poll.value.span.bytes().end);
        for diagnostic in diagnostics.iter_mut() {
            if (from..=to).contains(&diagnostic.span.bytes().start) {
                diagnostic.hint = Some("write a number and its unit, such as poll: 2s".to_owned());
            }
        }
    }
    for (field, form) in FORMS {
        let missing = format!("`{field}` is missing");
        for diagnostic in diagnostics.iter_mut() {
            if diagnostic.code == codes::MISSING_FIELD && diagnostic.message == missing {
                diagnostic.hint = Some((*form).to_owned());
            }
        }
        let Some(entry) = spec.entry(field) else {
            continue;
        };
        let (from, to) = (entry.key.span.bytes().start, entry.value.span.bytes().end);
        for diagnostic in diagnostics.iter_mut() {
            let at = diagnostic.span.bytes().start;
            let of_form = (diagnostic.code == codes::WRONG_TYPE && !has_exact_hint(diagnostic))
                || (diagnostic.code == codes::INVALID_VALUE && diagnostic.hint.is_none());
            if of_form && (from..=to).contains(&at) {
                diagnostic.hint = Some((*form).to_owned());
            }
        }
    }
}

/// True if a more exact hint was given already.
fn has_exact_hint(diagnostic: &Diagnostic) -> bool {
    let hint = diagnostic.hint.as_deref();
    hint.is_some_and(|hint| hint.contains("poll: 2s"))
}
