//! Finds selectors that no host matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::kind::HostState;
use plumb_document::{Diagnostic, Span};

use crate::manifest::{Manifests, code};
use plumb_api::selector::Selector;

/// Returns a warning for each Secret, and for each text in a template, whose selector matches no host. A host
/// that can't be read may be meant, so there is no warning while one has errors.
pub(super) fn check(manifests: &Manifests) -> Vec<Diagnostic> {
    let mut hosts = Vec::with_capacity(manifests.hosts.len());
    for (name, host) in &manifests.hosts {
        match host {
            Ok(host) if host.spec.state == HostState::Retired => {}
            Ok(host) => hosts.push((name.as_str(), &host.labels)),
            Err(_) => return Vec::new(),
        }
    }
    let mut found = of_secrets(manifests, &hosts);
    found.extend(of_templates(manifests, &hosts));
    found
}

/// A host's name and labels.
type Labelled<'a> = (&'a str, &'a BTreeMap<String, String>);

fn is_idle(selector: &Selector, hosts: &[Labelled<'_>]) -> bool {
    !hosts
        .iter()
        .any(|(name, labels)| selector.matches(name, labels))
}

fn of_secrets(manifests: &Manifests, hosts: &[Labelled<'_>]) -> Vec<Diagnostic> {
    let secrets = manifests
        .secrets
        .values()
        .filter_map(|one| one.object.as_ref().ok());
    let idle = secrets.filter(|secret| is_idle(&secret.selector, hosts));
    idle.map(|secret| {
        let span = secret
            .node
            .get("hosts")
            .map_or(&secret.node.span, |node| &node.span);
        let message = format!("`{}` selects no host", secret.selector);
        Diagnostic::warning(code::IDLE_SELECTOR, span, message)
            .hint("correct the label or the name, or remove the Secret")
    })
    .collect()
}

fn of_templates(manifests: &Manifests, hosts: &[Labelled<'_>]) -> Vec<Diagnostic> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, content) in manifests.files.iter() {
        let is_manifest = ["fleet.yaml", "hosts/", "profiles/"]
            .iter()
            .any(|start| file.starts_with(start));
        if !is_manifest && !manifests.engine.is_template(file) {
            continue;
        }
        let bytes = content.bytes().map(|bytes| &**bytes);
        let Some(text) = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
            continue;
        };
        for (at, written) in selectors(text) {
            let idle = *known.entry(written).or_insert_with(|| {
                Selector::parse(written).is_ok_and(|selector| is_idle(&selector, hosts))
            });
            if idle {
                let span = span_of(file, text, at, written.len());
                let message = format!("`{written}` selects no host");
                found.push(
                    Diagnostic::warning(code::IDLE_SELECTOR, &span, message)
                        .hint("correct the label, or remove what it selects for"),
                );
            }
        }
    }
    found
}

/// Returns the selectors that a text with templates writes as a literal, each with its position:
/// `fleet.hosts('role=web')`, `fleet.endpoints(hosts='role=web')`.
fn selectors(text: &str) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    for (start, call) in [("fleet.hosts(", ""), ("fleet.endpoints(", "hosts=")] {
        for (at, _) in text.match_indices(start) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            if text[line..at].trim_start().starts_with('#') {
                continue;
            }
            let from = at + start.len();
            let arguments = text[from..].split(')').next().unwrap_or_default();
            let Some(argument) = arguments.find(call).map(|found| found + call.len()) else {
                continue;
            };
            let Some(quote) = arguments[argument..].chars().next() else {
                continue;
            };
            if quote != '\'' && quote != '"' {
                continue;
            }
            // A closing bracket may be a part of the selector: `role in (a, b)`.
            let begin = from + argument + 1;
            if let Some(end) = text[begin..].find(quote) {
                all.push((begin, &text[begin..begin + end]));
            }
        }
    }
    all
}

fn span_of(file: &Arc<str>, text: &str, at: usize, len: usize) -> Span {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Span::new(
        file.clone(),
        number(text[..at].matches('\n').count() + 1),
        number(text[line..at].chars().count() + 1),
        number(at)..number(at + len),
    )
}
