//! `hosts/NAME.yaml`: reads one host's manifest and merges it with the fleet's `hostDefaults`.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::CompositeKind;
use plumb_api::kind::{HostSpec, OsFamily};
use plumb_api::name::{is_dns_name, is_interface};
use plumb_api::secret::is_age_key;
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, Value, decode};

use super::object::Object;
use super::{code, unsupported};
use crate::compose::{Block, Priority};

/// The file that a value of a host comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// `Fleet.hostDefaults`.
    Defaults,
    /// The host's own file.
    Host,
}

/// A host's manifest, combined with the fleet's defaults.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The path of the host's file.
    pub(crate) file: Arc<str>,
    /// The host's labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The position of the host's name in the file.
    pub(crate) span: Span,
    /// The typed static fields, merged with the defaults. Fields in `TREES` are left empty here.
    pub(crate) spec: HostSpec,
    /// The static fields as a tree, which has the position of each value.
    pub(crate) statics: Node,
    /// The profiles that each layer requests: key → parameters.
    pub(crate) profiles: Vec<(Layer, Arc<Map>)>,
    /// The endpoints that the host or the defaults declare; profiles declare endpoints of their own.
    pub(crate) endpoints: Map,
    /// The resource blocks of the host's own file; the blocks of the defaults are in the fleet.
    pub(crate) blocks: Vec<Block>,
    /// The addresses in `remove`: resources and profiles that the host doesn't get.
    pub(crate) remove: Vec<(Layer, Node)>,
    /// The JSON Patch operations in `patches`.
    pub(crate) patches: Vec<Node>,
}

impl Host {
    /// Returns the resource blocks of the host's own file, and one with the names that it publishes.
    pub(crate) fn all_blocks(&self) -> Vec<Block> {
        let published = self.statics.get("publish").map(|names| {
            let key = Key {
                text: CompositeKind::ReverseProxy.as_str().into(),
                span: names.span.clone(),
            };
            let value = names.clone();
            Block {
                priority: Priority::Resources,
                node: Node::map(Map::from_iter([Entry { key, value }]), names.span.clone()),
            }
        });
        self.blocks.iter().cloned().chain(published).collect()
    }
}

/// The host fields that stay untyped trees until they are composed and rendered.
const TREES: [&str; 7] = [
    "profiles",
    "endpoints",
    "resources",
    "defaults",
    "force",
    "remove",
    "patches",
];

/// True if this field of a host stays an untyped tree until it is composed and rendered.
pub(super) fn is_tree(field: &str) -> bool {
    TREES.contains(&field)
}

/// Combines a host's spec with the fleet's defaults. `render` evaluates the expressions in static fields.
pub(crate) fn read(
    object: &Object,
    defaults: &Arc<Map>,
    render: impl FnOnce(&Node) -> Result<Node, Vec<Diagnostic>>,
) -> Result<Host, Vec<Diagnostic>> {
    let own = match &object.spec.value {
        Value::Map(map) => map.clone(),
        Value::Null => Arc::default(),
        _ => {
            let message = format!("`spec` must be a mapping, not {}", object.spec.describe());
            return Err(vec![Diagnostic::error(
                plumb_document::codes::WRONG_TYPE,
                &object.spec.span,
                message,
            )]);
        }
    };
    let statics = render(&statics(defaults, &own, &object.spec.span))?;
    let mut diagnostics = Vec::new();
    let spec: HostSpec = decode(&statics)?;
    diagnostics.extend(check(&statics, &spec));
    let layers = [(Layer::Defaults, defaults), (Layer::Host, &own)];
    let profiles = layers
        .iter()
        .filter_map(|(layer, map)| {
            mapping(map.get("profiles")?, "profiles", &mut diagnostics).map(|map| (*layer, map))
        })
        .collect();
    let mut endpoints = Map::default();
    for (_, map) in layers {
        if let Some(map) = map
            .get("endpoints")
            .and_then(|node| mapping(node, "endpoints", &mut diagnostics))
        {
            for Entry { key, value } in map.iter() {
                endpoints.insert(key.clone(), value.clone());
            }
        }
    }
    let mut remove = Vec::new();
    let mut patches = Vec::new();
    for (layer, map) in layers {
        if let Some(node) = map.get("remove") {
            match decode::<Vec<String>>(node) {
                Ok(_) => remove.extend(
                    node.as_seq()
                        .into_iter()
                        .flatten()
                        .map(|item| (layer, item.clone())),
                ),
                Err(errors) => diagnostics.extend(errors),
            }
        }
        if let Some(node) = map.get("patches") {
            match node.as_seq() {
                Some(items) => patches.extend(items.iter().cloned()),
                None => diagnostics.push(
                    Diagnostic::error(
                        code::PATCH,
                        &node.span,
                        "`patches` must be a list of operations",
                    )
                    .hint("write - {op: replace, path: /resources/…, value: …}"),
                ),
            }
        }
    }
    let blocks = Block::all(&own, Priority::own);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    Ok(Host {
        file: object.file.clone(),
        labels: object.labels.clone(),
        span: object.span.clone(),
        spec,
        statics,
        profiles,
        endpoints,
        blocks,
        remove,
        patches,
    })
}

/// Returns the mapping in `node`, or `None` for null. Adds an error to `diagnostics` for any other value.
pub(crate) fn mapping(
    node: &Node,
    what: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<Map>> {
    match &node.value {
        Value::Map(map) => Some(map.clone()),
        Value::Null => None,
        _ => {
            let message = format!("`{what}` must be a mapping, not {}", node.describe());
            let diagnostic =
                Diagnostic::error(plumb_document::codes::WRONG_TYPE, &node.span, message);
            diagnostics.push(match node.value {
                Value::Seq(_) => diagnostic.hint("write it in braces instead of brackets: {a, b}"),
                _ => diagnostic,
            });
            None
        }
    }
}

/// Returns the static fields of a host: the host's own values override the defaults.
fn statics(defaults: &Map, own: &Map, span: &Span) -> Node {
    let is_static = |entry: &&Entry| !is_tree(&entry.key.text);
    let mut merged: Map = defaults.iter().filter(is_static).cloned().collect();
    for Entry { key, value } in own.iter().filter(is_static) {
        let value = match (&*key.text, merged.get(&key.text)) {
            ("networks" | "drift" | "publish", Some(default)) => overlay(default, value),
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    Node::map(merged, span.clone())
}

/// Merges two values. Mappings and the set `ignore` are united; any other own value replaces the default.
fn overlay(default: &Node, own: &Node) -> Node {
    let (Some(below), Some(above)) = (default.as_map(), own.as_map()) else {
        return own.clone();
    };
    let mut merged = below.clone();
    for Entry { key, value } in above {
        let value = match (below.get(&key.text), value.as_seq()) {
            (Some(under), Some(items)) if &*key.text == "ignore" => {
                let mut all = under.as_seq().unwrap_or_default().to_vec();
                all.extend(
                    items
                        .iter()
                        .filter(|item| !all.contains(item))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                Node::seq(all, value.span.clone())
            }
            (Some(under), _) => overlay(under, value),
            (None, _) => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    Node::map(merged, own.span.clone())
}

/// Returns the errors about names that other programs would read as more than a name.
fn check_names(node: &Node, spec: &HostSpec) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let place = |field: &str| node.get(field).map_or(&node.span, |node| &node.span);
    if let Some(hostname) = spec.hostname.as_deref().filter(|name| !is_dns_name(name)) {
        diagnostics.push(
            Diagnostic::error(
                code::INVALID_NAME,
                place("hostname"),
                format!("`{}` can't be a host's name", hostname.escape_debug()),
            )
            .hint("use letters, digits, `.`, `_` and `-`"),
        );
    }
    for (name, member) in &spec.networks {
        let interface = member.interface.as_deref();
        if let Some(interface) = interface.filter(|interface| !is_interface(interface)) {
            let span = node
                .get("networks")
                .and_then(|networks| networks.get(name)?.get("interface"))
                .map_or(place("networks"), |node| &node.span);
            diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    span,
                    format!(
                        "`{}` can't be an interface's name",
                        interface.escape_debug()
                    ),
                )
                .hint("use at most 15 letters, digits, `.`, `_` and `-`, as `ip link` shows them"),
            );
        }
    }
    diagnostics
}

/// Returns the errors in a decoded host that its Rust types don't rule out.
pub(crate) fn check(node: &Node, spec: &HostSpec) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let place = |field: &str| node.get(field).map_or(&node.span, |node| &node.span);
    if spec
        .os
        .as_ref()
        .is_some_and(|os| os.family == OsFamily::Nixos)
    {
        diagnostics.push(unsupported::diagnostic(place("os"), "the family `nixos`"));
    }
    for (at, one) in spec.connect.iter().enumerate() {
        let span = node
            .get("connect")
            .and_then(|list| list.as_seq()?.get(at))
            .map_or(place("connect"), |node| &node.span);
        let ways = [&one.address, &one.network, &one.endpoint];
        if ways.iter().filter(|way| way.is_some()).count() != 1 {
            diagnostics.push(
                Diagnostic::error(
                    code::CONNECT,
                    span,
                    "an entry of `connect` must have exactly one of `address`, `network` and `endpoint`",
                )
                .hint("write {user: deploy, address: 192.0.2.3} or {user: deploy, network: lan}"),
            );
        } else if one.endpoint.is_some() && one.port.is_some() {
            diagnostics.push(
                Diagnostic::error(
                    code::CONNECT,
                    span,
                    "`port` can't be set beside `endpoint`, which has a port",
                )
                .hint("remove `port`"),
            );
        }
    }
    diagnostics.extend(check_names(node, spec));
    if let Some(suspend) = &spec.suspend
        && suspend
            .until
            .as_ref()
            .is_some_and(|until| until.parse::<jiff::Timestamp>().is_err())
    {
        let span = node
            .get("suspend")
            .and_then(|node| node.get("until"))
            .map_or(place("suspend"), |node| &node.span);
        diagnostics.push(
            Diagnostic::error(
                plumb_document::codes::INVALID_VALUE,
                span,
                "this isn't a valid time",
            )
            .hint("write it as 2026-12-01T00:00:00Z"),
        );
    }
    if spec.age_key.as_deref().is_some_and(|key| !is_age_key(key)) {
        diagnostics.push(
            Diagnostic::error(
                plumb_document::codes::INVALID_VALUE,
                place("ageKey"),
                "this isn't the public half of an age key",
            )
            .hint("run `plumb enroll` to pin the host's key; it looks like age1…"),
        );
    }
    for (at, key) in spec.host_keys.iter().enumerate() {
        let mut words = key.split_ascii_whitespace();
        let (kind, data) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let known = ["ssh-ed25519", "ssh-rsa"].contains(&kind) || kind.starts_with("ecdsa-sha2-");
        if !known || data.len() < 16 {
            let span = node
                .get("hostKeys")
                .and_then(|list| list.as_seq()?.get(at))
                .map_or(place("hostKeys"), |node| &node.span);
            diagnostics.push(
                Diagnostic::error(plumb_document::codes::INVALID_VALUE, span, "this isn't an SSH host key")
                    .hint("run `plumb enroll` to see and pin the host's keys; they look like \"ssh-ed25519 AAAA…\""),
            );
        }
    }
    diagnostics
}
