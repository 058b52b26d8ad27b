//! Adds hints to errors about the form of the configuration's fields. The decoder's message names a type,
//! which misleads if a field has only one valid form.

use plumb_document::{Diagnostic, Entry, Node, codes};

/// A hint with the valid form of each field that isn't plain text, by the field's name.
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

/// Adds a hint with the valid form to each error about a field's form.
pub(super) fn explain(document: &Node, diagnostics: &mut [Diagnostic]) {
    let Some(spec) = document.get("spec").and_then(Node::as_map) else {
        return;
    };
    for (field, form) in FORMS {
        for diagnostic in diagnostics.iter_mut() {
            if diagnostic.missing.as_deref() == Some(*field) {
                diagnostic.hint = Some((*form).to_owned());
            }
        }
        let Some(entry) = spec.entry(field) else {
            continue;
        };
        for diagnostic in diagnostics
            .iter_mut()
            .filter(|found| is_within(found, entry))
        {
            let of_form = diagnostic.code == codes::WRONG_TYPE
                || (diagnostic.code == codes::INVALID_VALUE && diagnostic.hint.is_none());
            if of_form {
                diagnostic.hint = Some((*form).to_owned());
            }
        }
    }
    let poll = spec
        .entry("source")
        .and_then(|source| source.value.as_map()?.entry("poll"));
    if let Some(poll) = poll {
        for diagnostic in diagnostics
            .iter_mut()
            .filter(|found| is_within(found, poll))
        {
            diagnostic.hint = Some("write a number and its unit, such as poll: 2s".to_owned());
        }
    }
}

/// True if a diagnostic points into a field or its value.
fn is_within(diagnostic: &Diagnostic, field: &Entry) -> bool {
    let (from, to) = (field.key.span.bytes().start, field.value.span.bytes().end);
    (from..=to).contains(&diagnostic.span.bytes().start)
}
