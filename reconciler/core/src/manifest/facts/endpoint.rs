//! Endpoints of hosts, and the addresses at which others reach them.

use std::fmt;
use std::sync::Arc;

use plumb_api::kind::{EndpointOn, EndpointSpec, Port, Protocol};
use plumb_api::resource::Zone;
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, closest, decode};

use super::{Facts, HostFacts, HostNetwork, no_network};
use crate::manifest::{Manifests, Problems, code};
use crate::render::Context;

/// The instance that a host's own endpoints belong to.
pub(super) const HOST: &str = "host";

/// The address of an endpoint that only its own host reaches.
const LOOPBACK: &str = "127.0.0.1";

/// A service that a host offers.
#[derive(Debug)]
pub(crate) struct EndpointFact {
    /// The key of the profile instance that declares the endpoint; `host` if the host itself declares it.
    pub(crate) instance: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) spec: EndpointSpec,
    /// The position of the name.
    pub(super) span: Span,
}

impl EndpointFact {
    /// Returns a port and protocol that both endpoints have in a place that both are offered in.
    pub(super) fn clash(&self, other: &Self) -> Option<(u16, Protocol)> {
        let meets = |zone: &Zone| other.spec.on.zones().contains(zone);
        let somewhere = match (&self.spec.on, &other.spec.on) {
            (EndpointOn::Everywhere, _) | (_, EndpointOn::Everywhere) => true,
            (one, two) if one.is_loopback() && two.is_loopback() => true,
            (one, _) => one.zones().iter().any(meets),
        };
        let mut theirs = other.spec.protocol.iter();
        let protocol = theirs.find(|one| self.spec.protocol.contains(one));
        let protocol = protocol.filter(|_| somewhere)?;
        let first = |port: &Port| {
            let theirs = other.spec.ports.iter();
            let mut common = theirs.filter(|one| one.first <= port.last && port.first <= one.last);
            common.next().map(|one| one.first.max(port.first))
        };
        Some((self.spec.ports.iter().find_map(first)?, *protocol))
    }

    /// Returns the name within its host: `INSTANCE.NAME`.
    pub(crate) fn local_name(&self) -> String {
        format!("{}.{}", self.instance, self.name)
    }
}

/// The user of an endpoint. It decides at which address the endpoint is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Consumer<'a> {
    /// The controller, which may be in any network.
    Controller,
    /// Anyone in this network.
    Network(&'a str),
    /// A host. With `on`, it uses these networks in their order; without, all of its networks, in the order
    /// of the endpoint.
    Host {
        host: &'a HostFacts,
        on: Option<&'a [String]>,
    },
}

impl HostFacts {
    /// Returns the addresses at which a consumer reaches an endpoint of this host, the best first: on the
    /// networks of the consumer that both are on, and in which the endpoint is offered. On the same host, an
    /// endpoint of loopback is reached at 127.0.0.1.
    pub(crate) fn addresses_for(
        &self,
        endpoint: &EndpointFact,
        consumer: Consumer<'_>,
    ) -> Vec<String> {
        let here = |name: &str| self.networks.get(name).and_then(HostNetwork::address);
        let offered: Vec<&str> = match &endpoint.spec.on {
            EndpointOn::Everywhere => self.networks.keys().map(|name| &**name).collect(),
            EndpointOn::Zones(zones) => zones
                .iter()
                .filter_map(|zone| match zone {
                    Zone::Network(name) => Some(name.as_str()),
                    Zone::Interface(_) => None,
                })
                .collect(),
        };
        let common: Vec<&str> = match consumer {
            Consumer::Controller => offered,
            Consumer::Network(network) => offered.into_iter().filter(|n| *n == network).collect(),
            Consumer::Host { host, on: None } => offered
                .into_iter()
                .filter(|name| host.networks.contains_key(*name))
                .collect(),
            Consumer::Host { host, on: Some(on) } => on
                .iter()
                .map(String::as_str)
                .filter(|name| host.networks.contains_key(*name) && offered.contains(name))
                .collect(),
        };
        let mut addresses: Vec<String> = common.into_iter().filter_map(here).collect();
        let own = matches!(consumer, Consumer::Host { host, .. } if host.name == self.name);
        let on_loopback =
            endpoint.spec.on.is_loopback() || endpoint.spec.on == EndpointOn::Everywhere;
        if own && on_loopback && addresses.is_empty() {
            addresses.push(LOOPBACK.to_owned());
        }
        addresses
    }

    /// Returns the first of [`Self::addresses_for`].
    pub(crate) fn address_for(
        &self,
        endpoint: &EndpointFact,
        consumer: Consumer<'_>,
    ) -> Option<String> {
        self.addresses_for(endpoint, consumer).into_iter().next()
    }

    /// Returns the endpoint and its first port at the address for a consumer; `None` if it has no port, or no
    /// address for this consumer.
    pub(crate) fn target(&self, endpoint: &EndpointFact, consumer: Consumer<'_>) -> Option<Target> {
        Some(Target {
            address: self.address_for(endpoint, consumer)?,
            port: endpoint.spec.ports.first()?.first,
            protocol: endpoint.spec.protocol.clone(),
        })
    }
}

/// An endpoint as a consumer reaches it. Its text is `ADDRESS:PORT`.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) protocol: Vec<Protocol>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.contains(':') {
            write!(f, "[{}]:{}", self.address, self.port)
        } else {
            write!(f, "{}:{}", self.address, self.port)
        }
    }
}

/// The error about a reference to an endpoint.
#[derive(Debug)]
pub(crate) struct NoTarget {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Returns the endpoint `HOST/INSTANCE.NAME` as a consumer reaches it; `None` if its host has errors, which
/// are reported for that host.
///
/// # Errors
/// There is no such endpoint, it has no port, or the consumer shares no network with it.
pub(crate) fn target(
    facts: &Facts,
    to: &str,
    consumer: Consumer<'_>,
) -> Result<Option<Target>, NoTarget> {
    let unknown = |message: String, names: Vec<String>| NoTarget {
        message,
        hint: match closest(to, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "write HOST/INSTANCE.NAME, or HOST/host.NAME for an endpoint in the Host object"
                    .to_owned()
            }
        },
    };
    let Some((host, local)) = to.split_once('/') else {
        return Err(unknown(format!("`{to}` isn't an endpoint"), names(facts)));
    };
    let Some((_, known)) = facts.hosts.iter().find(|(name, _)| name.as_str() == host) else {
        return Err(unknown(format!("unknown host `{host}`"), names(facts)));
    };
    let Ok(provider) = known else {
        return Ok(None);
    };
    let mut of_host = provider.endpoints.iter();
    let Some(endpoint) = of_host.find(|endpoint| endpoint.local_name() == local) else {
        let named = provider.endpoints.iter();
        let named = named.map(|endpoint| format!("{host}/{}", endpoint.local_name()));
        return Err(unknown(
            format!("`{host}` has no such endpoint"),
            named.collect(),
        ));
    };
    if endpoint.spec.ports.is_empty() {
        return Err(NoTarget {
            message: format!("the endpoint `{to}` has no port"),
            hint: "add its `ports`".to_owned(),
        });
    }
    match provider.target(endpoint, consumer) {
        Some(target) => Ok(Some(target)),
        None => Err(NoTarget {
            message: match consumer {
                Consumer::Controller => {
                    format!("`{host}` has no address in the networks of this endpoint")
                }
                Consumer::Network(network) => {
                    format!("`{to}` isn't offered in the network `{network}`")
                }
                Consumer::Host { host: from, .. } => {
                    format!("`{to}` isn't offered in any network of `{}`", from.name)
                }
            },
            hint: format!("add a network that both are in to `on` of the endpoint `{local}`"),
        }),
    }
}

fn names(facts: &Facts) -> Vec<String> {
    let hosts = facts.hosts.values().flatten();
    let all = hosts.flat_map(|host: &Arc<HostFacts>| {
        let endpoints = host.endpoints.iter();
        endpoints.map(|endpoint| format!("{}/{}", host.name, endpoint.local_name()))
    });
    all.collect()
}

/// Renders the endpoints that a profile instance, or the host itself, declares and adds them to `all`.
pub(super) fn read(
    manifests: &Manifests,
    instance: &Arc<str>,
    endpoints: &Map,
    context: &Context,
    all: &mut Vec<EndpointFact>,
    problems: &mut Problems,
) {
    for Entry {
        key: Key { text, span },
        value,
    } in endpoints
    {
        if !plumb_api::name::is_label(text) {
            problems.diagnostics.push(
                Diagnostic::error(
                    code::INVALID_NAME,
                    span,
                    format!("`{text}` isn't a valid name of an endpoint"),
                )
                .hint("use 1 to 63 of a-z, 0-9 and `-`"),
            );
            continue;
        }
        let spec = manifests.engine.render(value, context).and_then(|node| {
            let spec: EndpointSpec = decode(&node)?;
            let on = value.get("on").and_then(Node::as_seq).unwrap_or_default();
            let unknown = spec.on.zones().iter().enumerate();
            let unknown = unknown.filter_map(|(at, zone)| match zone {
                Zone::Network(name) if !manifests.networks.contains_key(name.as_str()) => {
                    Some((at, name))
                }
                _ => None,
            });
            let wrong: Vec<_> = unknown
                .map(|(at, name)| {
                    no_network(manifests, name, on.get(at).map_or(span, |node| &node.span))
                })
                .collect();
            if wrong.is_empty() {
                Ok(spec)
            } else {
                Err(wrong)
            }
        });
        match spec {
            Ok(spec) => all.push(EndpointFact {
                instance: instance.clone(),
                name: text.clone(),
                spec,
                span: span.clone(),
            }),
            Err(diagnostics) => problems.diagnostics.extend(diagnostics),
        }
    }
}
