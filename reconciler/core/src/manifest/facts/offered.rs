//! Endpoints that composite resources give to the instance that declares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::CompositeKind;
use plumb_api::kind::{EndpointOn, EndpointSpec, Port, Protocol, ScrapeSpec};
use plumb_api::resource::{ExporterSpec, Zone};
use plumb_document::{Entry, Map, Node, Span, decode};
use serde::Deserialize;

use super::endpoint::EndpointFact;
use crate::compose::Block;
use crate::manifest::{Host, Manifests};
use crate::render::Context;

/// The fields that say where a composite listens. They see facts of the host and parameters only.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Listens {
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    on: Option<EndpointOn>,
    #[serde(default)]
    interval: Option<String>,
    #[serde(default)]
    certificate: Option<String>,
}

const FIELDS: [&str; 5] = ["port", "ports", "on", "interval", "certificate"];

/// Adds the endpoints of the composites that an instance, or the host itself, declares. An endpoint that a
/// manifest declares takes the place of one with its name, and of one with its port.
pub(super) fn add(
    manifests: &Manifests,
    host: &Host,
    instance: &Arc<str>,
    blocks: &[Block],
    context: &Context,
    all: &mut Vec<EndpointFact>,
) {
    let declared = all.len();
    for Declaration {
        kind,
        name,
        fields,
        span,
    } in resources(blocks)
    {
        let address = format!("{}:{name}", kind.as_str());
        let mut removed = host.remove.iter();
        if removed.any(|(_, node)| node.as_str() == Some(&address)) {
            continue;
        }
        let Some(listens) = listens(manifests, &fields, context) else {
            continue;
        };
        let Some((endpoint, mut spec)) = offer(kind, &name, &listens) else {
            continue;
        };
        if let EndpointOn::Zones(zones) = &mut spec.on {
            // A network that doesn't exist is an error of the resource.
            zones.retain(|zone| match zone {
                Zone::Network(name) => manifests.networks.contains_key(name.as_str()),
                Zone::Interface(_) => true,
            });
        }
        let fact = EndpointFact {
            instance: instance.clone(),
            name: endpoint.into(),
            spec,
            span,
        };
        let (before, own) = all.split_at_mut(declared);
        if let Some(same) = own.iter_mut().find(|one| one.name == fact.name) {
            unite(&mut same.spec, fact.spec);
            continue;
        }
        let takes_place = |other: &EndpointFact| {
            other.local_name() == fact.local_name() || other.clash(&fact).is_some()
        };
        if !before.iter().any(takes_place) {
            all.push(fact);
        }
    }
}

/// Adds what another resource of the same type offers.
fn unite(spec: &mut EndpointSpec, other: EndpointSpec) {
    for port in other.ports {
        if !spec.ports.contains(&port) {
            spec.ports.push(port);
        }
    }
    match (&mut spec.on, other.on) {
        (EndpointOn::Zones(zones), EndpointOn::Zones(more)) => {
            for zone in more {
                if !zones.contains(&zone) {
                    zones.push(zone);
                }
            }
        }
        (on, EndpointOn::Everywhere) => *on = EndpointOn::Everywhere,
        (EndpointOn::Everywhere, EndpointOn::Zones(_)) => {}
    }
}

/// A composite resource as the blocks of one instance declare it.
struct Declaration {
    kind: CompositeKind,
    name: Arc<str>,
    fields: Map,
    span: Span,
}

/// Returns the composites that may offer something, with the fields of the highest priority.
fn resources(blocks: &[Block]) -> Vec<Declaration> {
    let mut blocks: Vec<&Block> = blocks.iter().collect();
    blocks.sort_by_key(|block| block.priority);
    let mut all: Vec<Declaration> = Vec::new();
    for block in blocks {
        for kind in OFFERING {
            let names = block.node.get(kind.as_str()).and_then(Node::as_map);
            for Entry { key, value } in names.into_iter().flatten() {
                let fields = value.as_map().cloned().unwrap_or_default();
                let same = |one: &&mut Declaration| one.kind == kind && one.name == key.text;
                if let Some(before) = all.iter_mut().find(same) {
                    for Entry { key, value } in &fields {
                        before.fields.insert(key.clone(), value.clone());
                    }
                } else {
                    all.push(Declaration {
                        kind,
                        name: key.text.clone(),
                        fields,
                        span: key.span.clone(),
                    });
                }
            }
        }
    }
    all
}

/// The types that offer something.
const OFFERING: [CompositeKind; 6] = [
    CompositeKind::Alertmanager,
    CompositeKind::Dhcp,
    CompositeKind::Dns,
    CompositeKind::Exporter,
    CompositeKind::ReverseProxy,
    CompositeKind::Sshd,
];

/// Returns where a composite listens; `None` if its fields have mistakes, which are errors of the resource.
fn listens(manifests: &Manifests, fields: &Map, context: &Context) -> Option<Listens> {
    let mut read = Map::default();
    for entry in fields
        .iter()
        .filter(|entry| FIELDS.contains(&&*entry.key.text))
    {
        let value = manifests.engine.render(&entry.value, context).ok()?;
        read.insert(entry.key.clone(), value);
    }
    decode(&Node::map(read, Span::of_file(""))).ok()
}

/// Returns the endpoint of a composite, with its name; `None` if it listens nowhere, or nobody said where.
fn offer(kind: CompositeKind, name: &str, listens: &Listens) -> Option<(String, EndpointSpec)> {
    let tcp = [Protocol::Tcp];
    let on = listens.on.clone();
    let somewhere = on.clone().filter(|on| !on.is_loopback());
    let one = |name: &str, ports: &[u16], protocol: &[Protocol], on: Option<EndpointOn>| {
        let spec = EndpointSpec {
            ports: ports
                .iter()
                .map(|&port| Port {
                    first: port,
                    last: port,
                })
                .collect(),
            protocol: protocol.to_vec(),
            on: on?,
            scrape: None,
        };
        Some((name.to_owned(), spec))
    };
    match kind {
        CompositeKind::Alertmanager => one("api", &[9093], &tcp, somewhere),
        CompositeKind::Dns => one("dns", &[53], &[Protocol::Tcp, Protocol::Udp], on),
        CompositeKind::Dhcp => {
            let network = EndpointOn::Zones(vec![Zone::Network(name.to_owned())]);
            one("dhcp", &[67, 547], &[Protocol::Udp], Some(network))
        }
        CompositeKind::Exporter => {
            let port = listens.port.or_else(|| ExporterSpec::usual_port(name));
            let offered = port.and_then(|port| one(name, &[port], &tcp, somewhere));
            offered.map(|(name, spec)| {
                let scrape = ScrapeSpec {
                    job: name.clone(),
                    interval: listens.interval.clone(),
                    path: "/metrics".to_owned(),
                    labels: BTreeMap::new(),
                };
                (
                    name,
                    EndpointSpec {
                        scrape: Some(scrape),
                        ..spec
                    },
                )
            })
        }
        CompositeKind::ReverseProxy => {
            let ports: &[u16] = if listens.certificate.is_some() {
                &[80, 443]
            } else {
                &[80]
            };
            one("http", ports, &tcp, on)
        }
        CompositeKind::Sshd => {
            let ports: &[u16] = if listens.ports.is_empty() {
                &[22]
            } else {
                &listens.ports
            };
            one("ssh", ports, &tcp, somewhere)
        }
        _ => None,
    }
}
