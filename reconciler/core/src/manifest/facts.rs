//! Phase 1 of resolving: computes the static facts of every host, before any resource is rendered.
//! Expressions of one host can read nothing else about another host.

mod address;
mod checks;

pub(crate) use checks::endpoint_address;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value as Jinja;
use plumb_api::HostName;
use plumb_api::kind::{EndpointSpec, HostSpec, HostState, Os};
use plumb_document::{Diagnostic, Entry, Key, Map, Node, Span, Value, closest, decode};
use serde::Serialize;

use super::object::Object;
use super::{Host, Manifests, Network, ObjectId, Problems, code};
use crate::compose::Instance;
use crate::parallel;
use crate::render::{Context, Engine, has_expression};

/// The SSH port by default.
pub(crate) const SSH_PORT: u16 = 22;

/// A host's facts, or the reasons why they are unknown.
pub(crate) type FactsResult = Result<Arc<HostFacts>, Problems>;

/// The static facts of a fleet.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) domain: Option<String>,
    pub(crate) hosts: BTreeMap<HostName, FactsResult>,
    /// The labels of hosts whose facts are unknown but whose labels could be read.
    pub(crate) labels: BTreeMap<HostName, BTreeMap<String, String>>,
    pub(crate) networks: BTreeMap<Arc<str>, Result<Arc<NetworkFacts>, Problems>>,
    pub(crate) alertmanagers: Vec<plumb_api::AlertmanagerUrl>,
    /// The errors that don't belong to a single host.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Facts {
    /// Returns the hosts whose facts are unknown.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = ObjectId> {
        self.hosts
            .iter()
            .filter(|(_, known)| known.is_err())
            .map(|(name, _)| ObjectId::Host(name.clone()))
    }
}

/// The facts of a host that other hosts may read.
#[derive(Debug)]
pub(crate) struct HostFacts {
    pub(crate) name: HostName,
    pub(crate) state: HostState,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) networks: BTreeMap<Arc<str>, HostNetwork>,
    pub(crate) endpoints: Vec<EndpointFact>,
    /// The host's profiles with their parameters.
    pub(crate) instances: Vec<Instance>,
    /// The facts as a template value.
    pub(crate) value: Jinja,
}

impl HostFacts {
    /// Returns the first of [`Self::addresses_of`].
    pub(crate) fn address_of(
        &self,
        endpoint: &EndpointFact,
        network: Option<&str>,
    ) -> Option<String> {
        self.addresses_of(endpoint, network).next()
    }

    /// Returns the host's addresses in the networks that the endpoint lists, in that order; in all networks
    /// of the host if the endpoint lists none. If `network` is given, only the address in that network is
    /// returned.
    pub(crate) fn addresses_of<'a>(
        &'a self,
        endpoint: &'a EndpointFact,
        network: Option<&'a str>,
    ) -> impl Iterator<Item = String> + 'a {
        let named = endpoint
            .spec
            .on
            .iter()
            .filter_map(|on| self.networks.get_key_value(on.as_str()));
        let any = self.networks.iter().filter(|_| endpoint.spec.on.is_empty());
        named
            .chain(any)
            .filter(move |(name, _)| network.is_none_or(|network| ***name == *network))
            .filter_map(|(_, network)| network.address())
    }
}

/// The addresses of a host in one network.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostNetwork {
    pub(crate) id: Option<u32>,
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
    pub(crate) prefix: Option<u8>,
    pub(crate) interface: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) assign: Option<plumb_api::kind::Assign>,
    pub(crate) aliases: BTreeMap<String, HostNetwork>,
}

impl HostNetwork {
    /// Returns the address that other hosts use: IPv4 if there is one, else IPv6.
    pub(crate) fn address(&self) -> Option<String> {
        self.ipv4.clone().or_else(|| self.ipv6.clone())
    }
}

/// A service that a host offers.
#[derive(Debug)]
pub(crate) struct EndpointFact {
    /// The key of the profile instance that declares the endpoint; empty if the host itself declares it.
    pub(crate) instance: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) spec: EndpointSpec,
    /// The position of the endpoint's name.
    pub(crate) span: Span,
}

impl EndpointFact {
    /// Returns the name within its host: `NAME` or `INSTANCE.NAME`.
    pub(crate) fn local_name(&self) -> String {
        if self.instance.is_empty() {
            self.name.to_string()
        } else {
            format!("{}.{}", self.instance, self.name)
        }
    }
}

/// A network and its members, as a template value.
#[derive(Debug)]
pub(crate) struct NetworkFacts {
    pub(crate) value: Jinja,
}

/// A member of a network: a host, or a machine that isn't a host of the fleet.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberFact {
    pub(crate) name: String,
    pub(crate) id: Option<u32>,
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) keyless: bool,
    pub(crate) routes: Vec<String>,
    pub(crate) aliases: BTreeMap<String, HostNetwork>,
    pub(crate) state: &'static str,
    pub(crate) is_host: bool,
    #[serde(skip)]
    pub(crate) span: Span,
}

/// Evaluates the expressions in a host's static fields, which can read only the host's name and labels.
pub(super) fn render_statics(
    engine: &Engine,
    name: &HostName,
    object: &Object,
    statics: &Node,
) -> Result<Node, Vec<Diagnostic>> {
    if !has_expression(statics) {
        return Ok(statics.clone());
    }
    let host = Jinja::from_pairs([
        ("name", Jinja::from(name.as_str())),
        ("labels", crate::render::serialized(&object.labels)),
    ]);
    engine.render(statics, &Context::facts(&host, None))
}

/// An operating system as templates see it; missing values are `none`.
#[derive(Serialize)]
struct OsValue<'a> {
    family: plumb_api::kind::OsFamily,
    release: Option<&'a str>,
}

impl<'a> OsValue<'a> {
    fn of(os: &'a Os) -> Self {
        Self {
            family: os.family,
            release: os.release.as_deref(),
        }
    }
}

/// A host as templates see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostValue<'a> {
    name: &'a str,
    hostname: &'a str,
    fqdn: String,
    state: &'a str,
    labels: &'a BTreeMap<String, String>,
    os: Option<OsValue<'a>>,
    arch: Option<&'a str>,
    host_keys: &'a [String],
    networks: BTreeMap<&'a str, &'a HostNetwork>,
}

/// Returns the facts of all hosts and networks.
pub(super) fn all(manifests: &Manifests) -> Facts {
    let entries: Vec<_> = manifests.hosts.iter().collect();
    let known = parallel::map(&entries, |(name, entry)| match (&manifests.fleet, entry) {
        (Err(_), _) => Err(Problems::because(ObjectId::Fleet)),
        (_, Err(_)) => Err(Problems::because(ObjectId::Host((*name).clone()))),
        (Ok(_), Ok(host)) => facts_of(manifests, name, host).map(Arc::new),
    });
    let labels = entries
        .iter()
        .zip(&known)
        .filter_map(|((name, entry), known)| match (known, entry) {
            (Ok(_), _) => None,
            (Err(_), Ok(host)) => Some(((*name).clone(), host.labels.clone())),
            (Err(_), Err(broken)) => Some(((*name).clone(), broken.labels.clone()?)),
        });
    let mut facts = Facts {
        domain: manifests
            .fleet
            .as_ref()
            .ok()
            .and_then(|fleet| fleet.spec.domain.clone()),
        labels: labels.collect(),
        hosts: entries
            .iter()
            .zip(known)
            .map(|((name, _), known)| ((*name).clone(), known))
            .collect(),
        ..Facts::default()
    };
    checks::identities(manifests, &mut facts);
    address::networks(manifests, &mut facts);
    checks::alertmanagers(manifests, &mut facts);
    facts
}

fn facts_of(manifests: &Manifests, name: &HostName, host: &Host) -> Result<HostFacts, Problems> {
    let spec: &HostSpec = &host.spec;
    let networks = address::of_host(manifests, host)?;
    let hostname = spec.hostname.as_deref().unwrap_or(name.as_str());
    let domain = manifests
        .fleet
        .as_ref()
        .ok()
        .and_then(|fleet| fleet.spec.domain.as_deref());
    let value = crate::render::serialized(HostValue {
        name: name.as_str(),
        hostname,
        fqdn: match domain {
            Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
            _ => hostname.to_owned(),
        },
        state: spec.state.as_str(),
        labels: &host.labels,
        os: spec.os.as_ref().map(OsValue::of),
        arch: spec.arch.map(plumb_api::kind::Arch::as_str),
        host_keys: &spec.host_keys,
        networks: networks
            .iter()
            .map(|(name, network)| (&**name, network))
            .collect(),
    });
    let instances = crate::compose::instances(manifests, host, &value)?;
    let mut problems = Problems::default();
    let mut endpoints = Vec::new();
    for instance in &instances {
        let context = instance.context(&value, None);
        let of = &instance.profile.endpoints;
        offers(
            manifests,
            &instance.key,
            of,
            &context,
            &mut endpoints,
            &mut problems,
        );
    }
    let context = Context::facts(&value, None);
    offers(
        manifests,
        &Arc::from(""),
        &host.endpoints,
        &context,
        &mut endpoints,
        &mut problems,
    );
    problems.or(HostFacts {
        name: name.clone(),
        state: spec.state,
        labels: host.labels.clone(),
        networks,
        endpoints,
        instances,
        value,
    })
}

/// Renders the endpoints that a profile instance, or the host itself, declares and adds them to `all`.
fn offers(
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
            let unknown = spec
                .on
                .iter()
                .enumerate()
                .filter(|(_, on)| !manifests.networks.contains_key(on.as_str()));
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

/// Creates the error about an unknown network.
fn no_network(manifests: &Manifests, name: &str, span: &Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        code::UNKNOWN_REFERENCE,
        span,
        format!("unknown network `{name}`"),
    );
    match closest(name, manifests.networks.keys().map(|name| &**name)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint(format!("add networks/{name}.yaml")),
    }
}

/// Returns the position of the value at `path`, or of its nearest ancestor that exists.
fn place<'a>(node: &'a Node, path: &[&str]) -> &'a Span {
    let mut here = node;
    for step in path {
        match &here.value {
            Value::Map(map) => match map.get(step) {
                Some(next) => here = next,
                None => return &here.span,
            },
            _ => return &here.span,
        }
    }
    &here.span
}
