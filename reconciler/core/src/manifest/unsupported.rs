//! The fields and resource types that this version doesn't support. They are errors; Plumb never ignores them
//! silently.

use std::sync::Arc;

use plumb_api::kind::ObjectKind;
use plumb_document::{Diagnostic, Map, Node, Value};

use super::code;

/// Returns the paths of unsupported fields below `spec`; `*` stands for any list item.
fn paths(kind: ObjectKind) -> &'static [&'static str] {
    match kind {
        ObjectKind::Fleet => &[
            "budgets",
            "policies/unfree",
            "policies/insecure",
            "sshCa",
            "rollout/waves",
            "rollout/halt/alerts",
        ],
        ObjectKind::Host => &["publish", "maintenance", "drift/watch", "connect/*/via"],
        ObjectKind::Network
        | ObjectKind::Profile
        | ObjectKind::Secret
        | ObjectKind::Image
        | ObjectKind::TrustPolicy => &[],
    }
}

/// The resource types that are reported as unsupported instead of unknown if this version doesn't implement
/// them.
pub(crate) const TYPES: &[&str] = &[
    "archive",
    "authorizedKeys",
    "backup",
    "certificate",
    "check",
    "command",
    "container",
    "cron",
    "database",
    "dhcp",
    "dns",
    "exporter",
    "firewall",
    "forward",
    "git",
    "hostname",
    "hosts",
    "interface",
    "kernelModule",
    "kernelParameter",
    "knownHosts",
    "locale",
    "mount",
    "nixos",
    "prometheus",
    "repository",
    "reverseProxy",
    "secret",
    "sshd",
    "sudoers",
    "swap",
    "timer",
    "tmpfiles",
    "udev",
    "wifi",
    "wireguard",
    "zram",
];

/// Creates the error about an unsupported field, type or value.
pub(crate) fn diagnostic(span: &plumb_document::Span, what: &str) -> Diagnostic {
    Diagnostic::error(
        code::UNSUPPORTED_FIELD,
        span,
        format!("{what} isn't supported by this version of Plumb"),
    )
    .hint("remove it")
}

/// Removes the unsupported fields from a spec; returns the rest, and an error for each removed field.
pub(crate) fn take_out(kind: ObjectKind, spec: &Node) -> (Node, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut spec = spec.clone();
    for path in paths(kind) {
        remove(&mut spec, path, path, &mut diagnostics);
    }
    if kind == ObjectKind::Fleet
        && let Some(defaults) = spec.get("hostDefaults")
    {
        let (rest, more) = take_out(ObjectKind::Host, defaults);
        if !more.is_empty() {
            diagnostics.extend(more);
            if let Value::Map(map) = &mut spec.value
                && let Some(defaults) = Arc::make_mut(map).get_mut("hostDefaults")
            {
                *defaults = rest;
            }
        }
    }
    (spec, diagnostics)
}

fn remove(node: &mut Node, path: &str, whole: &str, diagnostics: &mut Vec<Diagnostic>) {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (&mut node.value, rest) {
        (Value::Seq(items), Some(rest)) if first == "*" => {
            for item in Arc::make_mut(items) {
                remove(item, rest, whole, diagnostics);
            }
        }
        (Value::Map(map), Some(rest)) if map.get(first).is_some() => {
            if let Some(inner) = Arc::make_mut(map).get_mut(first) {
                remove(inner, rest, whole, diagnostics);
            }
        }
        (Value::Map(map), None) => {
            if let Some(entry) = map.entry(first) {
                let span = entry.key.span.clone();
                diagnostics.push(diagnostic(
                    &span,
                    &format!("`{}`", whole.replace("/*/", ".").replace('/', ".")),
                ));
                let without: Map = map
                    .iter()
                    .filter(|entry| &*entry.key.text != first)
                    .cloned()
                    .collect();
                *map = Arc::new(without);
            }
        }
        _ => {}
    }
}
