//! `fleet.yaml`: reads the settings of the fleet and the defaults of its hosts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use plumb_api::FleetName;
use plumb_api::kind::{FleetSpec, HostState, ObjectKind};
use plumb_document::{Diagnostic, Map, Node, SourceFile, Span, Value, decode, parse};

use super::object::{self, Broken, Object};
use super::{code, host, unsupported};
use crate::render::has_expression;

/// The accepted lengths of the dead-man timer.
const CONFIRM: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_hours(1);

/// The decoded Fleet object.
#[derive(Debug, Clone)]
pub(crate) struct FleetObject {
    pub(crate) name: FleetName,
    pub(crate) spec: FleetSpec,
    /// `hostDefaults` as a tree.
    pub(crate) defaults: Arc<Map>,
    /// `alertmanagers` as a tree, which has the position of each value.
    pub(crate) alertmanagers: Option<Node>,
}

pub(crate) fn read(file: &Arc<str>, content: &SourceFile) -> Result<FleetObject, Broken> {
    let object = object::read(file, content, ObjectKind::Fleet, None)?;
    decoded(&object)
}

/// Returns what can be used of a fleet.yaml with errors: the fields that are right on their own. It serves
/// only to find more errors; no host is driven by it.
pub(crate) fn salvage(files: &BTreeMap<Arc<str>, SourceFile>) -> FleetObject {
    let file: Arc<str> = Arc::from("fleet.yaml");
    let bytes = files.get(&file).and_then(SourceFile::bytes);
    let node = bytes.and_then(|bytes| parse(&file, bytes).ok());
    let spec = node.as_ref().and_then(|node| node.get("spec"));
    let entries = spec.and_then(Node::as_map).into_iter().flatten();
    let with = |entries: Map| {
        let span = Span::of_file(file.clone());
        let written = Node::map(entries, span.clone());
        let (spec, unsupported) = unsupported::take_out(ObjectKind::Fleet, &written);
        if !unsupported.is_empty() {
            return None;
        }
        decoded(&Object {
            file: file.clone(),
            name: FleetName::nameless().to_string(),
            labels: BTreeMap::new(),
            span,
            spec,
        })
        .ok()
    };
    let good = entries.filter(|entry| with([(*entry).clone()].into_iter().collect()).is_some());
    let good: Map = good.cloned().collect();
    with(good).unwrap_or_else(|| FleetObject {
        name: FleetName::nameless(),
        spec: FleetSpec::default(),
        defaults: Arc::default(),
        alertmanagers: None,
    })
}

/// Returns the error about a domain that other programs would read as more than a name.
fn check_domain(object: &Object, spec: &FleetSpec) -> Option<Diagnostic> {
    let domain = spec.domain.as_deref()?;
    let span = object
        .spec
        .get("domain")
        .map_or(&object.span, |node| &node.span);
    (!plumb_api::name::is_dns_name(domain)).then(|| {
        let message = format!("`{}` can't be a domain", domain.escape_debug());
        Diagnostic::error(code::INVALID_NAME, span, message).hint("write it like fleet.example")
    })
}

fn decoded(object: &Object) -> Result<FleetObject, Broken> {
    let broken = |diagnostics| Broken {
        labels: None,
        diagnostics,
    };
    let defaults = object.spec.get("hostDefaults");
    // Defaults with expressions can't be decoded here: an expression has no type until each host evaluates
    // it.
    let late = defaults.filter(|defaults| has_expression(&statics_of(defaults)));
    let spec: FleetSpec = match late {
        None => decode(&object.spec),
        Some(_) => decode(&without_defaults(&object.spec)),
    }
    .map_err(broken)?;
    let mut diagnostics = Vec::new();
    if let Some(defaults) = defaults {
        for own in [
            "uid", "hostname", "formerly", "hostKeys", "ageKey", "suspend",
        ] {
            if let Some(entry) = defaults.as_map().and_then(|map| map.entry(own)) {
                diagnostics.push(
                    Diagnostic::error(
                        plumb_document::codes::INVALID_VALUE,
                        &entry.key.span,
                        format!("`{own}` can't be a default: it belongs to a single host"),
                    )
                    .hint("set it in the host's own file"),
                );
            }
        }
        if late.is_none() {
            diagnostics.extend(host::check(defaults, &spec.host_defaults));
        }
        if spec.host_defaults.state != HostState::Active {
            let span = defaults
                .get("state")
                .map_or(&defaults.span, |node| &node.span);
            diagnostics.push(
                Diagnostic::error(
                    plumb_document::codes::INVALID_VALUE,
                    span,
                    "`state` can't be a default: it belongs to a single host",
                )
                .hint("set it in the host's own file"),
            );
        }
    }
    diagnostics.extend(check_domain(object, &spec));
    if !CONFIRM.contains(&spec.dead_man.confirm.duration()) {
        let confirm = object
            .spec
            .get("deadMan")
            .and_then(|node| node.get("confirm"));
        let span = confirm.map_or(&object.span, |node| &node.span);
        diagnostics.push(
            Diagnostic::error(
                plumb_document::codes::INVALID_VALUE,
                span,
                "the controller must get between 5s and 1h to connect again",
            )
            .hint("write deadMan: {confirm: 2m}, or leave it out"),
        );
    }
    let alertmanagers = object.spec.get("alertmanagers").cloned();
    diagnostics.extend(check_alertmanagers(
        &spec,
        alertmanagers.as_ref(),
        &object.span,
    ));
    let name = match object.name.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let error: plumb_api::name::InvalidName = error;
            diagnostics.push(Diagnostic::error(
                code::INVALID_NAME,
                &object.span,
                error.to_string(),
            ));
            None
        }
    };
    match name {
        Some(name) if diagnostics.is_empty() => Ok(FleetObject {
            name,
            spec,
            defaults: match defaults.map(|node| &node.value) {
                Some(Value::Map(map)) => map.clone(),
                _ => Arc::default(),
            },
            alertmanagers,
        }),
        _ => Err(broken(diagnostics)),
    }
}

fn check_alertmanagers(spec: &FleetSpec, list: Option<&Node>, object: &Span) -> Vec<Diagnostic> {
    let wrong = |at: usize| {
        let node = list.and_then(|list| list.as_seq()?.get(at));
        Diagnostic::error(
            plumb_document::codes::INVALID_VALUE,
            node.map_or(object, |node| &node.span),
            "an Alertmanager must have exactly one of `to` and `url`",
        )
        .hint("write {to: HOST/INSTANCE.NAME} for an endpoint, or {url: \"http://…\"}")
    };
    let all = spec.alertmanagers.iter().enumerate();
    all.filter(|(_, one)| one.to.is_some() == one.url.is_some())
        .map(|(at, _)| wrong(at))
        .collect()
}

fn without_defaults(spec: &Node) -> Node {
    let rest = spec
        .as_map()
        .into_iter()
        .flatten()
        .filter(|entry| &*entry.key.text != "hostDefaults");
    Node::map(rest.cloned().collect(), spec.span.clone())
}

fn statics_of(defaults: &Node) -> Node {
    let fields = defaults
        .as_map()
        .into_iter()
        .flatten()
        .filter(|entry| !host::is_tree(&entry.key.text));
    Node::map(fields.cloned().collect(), defaults.span.clone())
}
