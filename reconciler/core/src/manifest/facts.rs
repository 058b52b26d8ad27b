//! Phase 1 of resolving: computes the static facts of every host, before any resource is rendered.
//! Expressions of one host can read nothing else about another host.

mod address;
mod checks;
mod endpoint;
mod members;
mod network;

pub(crate) use endpoint::{Consumer, EndpointFact, NoTarget, Target, target};

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value as Jinja;
use plumb_api::HostName;
use plumb_api::kind::{HostSpec, HostState, Os};
use plumb_document::{Diagnostic, Node, Span, Value, closest};
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
    pub(crate) routes: Vec<String>,
    pub(crate) aliases: BTreeMap<String, AliasFact>,
}

/// A further address of a host or member in a network.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AliasFact {
    pub(crate) id: Option<u32>,
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
    pub(crate) mac: Option<String>,
}

impl HostNetwork {
    /// Returns the address that other hosts use: IPv4 if there is one, else IPv6.
    pub(crate) fn address(&self) -> Option<String> {
        self.ipv4.clone().or_else(|| self.ipv6.clone())
    }
}

/// A network and its members.
#[derive(Debug)]
pub(crate) struct NetworkFacts {
    /// The hosts and the other members, in order of id.
    pub(crate) members: Vec<MemberFact>,
    /// The network as a template value.
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
    pub(crate) aliases: BTreeMap<String, AliasFact>,
    pub(crate) state: HostState,
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
    network::networks(manifests, &mut facts);
    checks::ports(&mut facts);
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
        endpoint::read(
            manifests,
            &instance.key,
            of,
            &context,
            &mut endpoints,
            &mut problems,
        );
    }
    let context = Context::facts(&value, None);
    endpoint::read(
        manifests,
        &Arc::from(endpoint::HOST),
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
