//! Addresses of hosts in networks: derived from ids or written in full. Two members can't have one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use plumb_api::HostName;
use plumb_api::kind::{HostState, MemberSpec, NetworkMember};
use plumb_document::{Diagnostic, Node, Span};
use serde::Serialize;

use super::{Facts, HostNetwork, MemberFact, Network, NetworkFacts, no_network, place};
use crate::manifest::{Host, Manifests, ObjectId, Problems, code};

/// The id and addresses that a member's manifest sets.
struct MemberAddresses<'a> {
    id: Option<u32>,
    address: Option<&'a str>,
    ipv6: Option<&'a str>,
}

/// A member's IPv4 and IPv6 address.
type Addresses = (Option<Ipv4Addr>, Option<Ipv6Addr>);

fn addresses(
    network: &Network,
    said: &MemberAddresses<'_>,
    span: &Span,
) -> Result<Addresses, Box<Diagnostic>> {
    let v4 = match (said.address, said.id) {
        (Some(text), _) => outright(network, text, "IPv4", network.v4.map(IpNet::V4), span)?,
        (None, Some(id)) if network.v4.is_some() => by_id(network, id, network.v4_of(id), span)?,
        _ => None,
    };
    let v6 = match (said.ipv6, said.id) {
        (Some(text), _) => outright(network, text, "IPv6", network.v6.map(IpNet::V6), span)?,
        (None, Some(id)) if network.v6.is_some() => by_id(network, id, network.v6_of(id), span)?,
        _ => None,
    };
    Ok((v4, v6))
}

fn outside(network: &Network, what: &str, span: &Span) -> Box<Diagnostic> {
    let message = format!("{what} is outside of the network `{}`", network.name);
    let hint = format!(
        "use one of its subnets: {}",
        network.spec.subnets.join(", ")
    );
    Box::new(Diagnostic::error(code::ADDRESS, span, message).hint(hint))
}

/// Parses an address that is written in full. If the network has a subnet of this family, the address must be
/// in that subnet.
fn outright<A: FromStr + Copy + Into<IpAddr>>(
    network: &Network,
    text: &str,
    family: &str,
    subnet: Option<IpNet>,
    span: &Span,
) -> Result<Option<A>, Box<Diagnostic>> {
    let Ok(address) = text.parse::<A>() else {
        let message = format!("`{text}` isn't an {family} address");
        return Err(Box::new(Diagnostic::error(code::ADDRESS, span, message)));
    };
    if subnet.is_some_and(|subnet| !subnet.contains(&address.into())) {
        return Err(outside(network, text, span));
    }
    Ok(Some(address))
}

fn by_id<A>(
    network: &Network,
    id: u32,
    address: Option<A>,
    span: &Span,
) -> Result<Option<A>, Box<Diagnostic>> {
    match address {
        Some(address) => Ok(Some(address)),
        None => Err(outside(network, &format!("the id {id}"), span)),
    }
}

fn membership(
    network: &Network,
    member: &MemberSpec,
    span: &Span,
    problems: &mut Problems,
) -> HostNetwork {
    let said = MemberAddresses {
        id: member.id,
        address: member.address.as_deref(),
        ipv6: member.ipv6.as_deref(),
    };
    let (v4, v6) = addresses(network, &said, span).unwrap_or_else(|diagnostic| {
        problems.diagnostics.push(*diagnostic);
        (None, None)
    });
    let aliases = member
        .aliases
        .iter()
        .map(|(name, alias)| (name.clone(), membership(network, alias, span, problems)))
        .collect();
    HostNetwork {
        id: member.id,
        ipv4: v4.map(|address| address.to_string()),
        ipv6: v6.map(|address| address.to_string()),
        prefix: network
            .v4
            .map(|net| net.prefix_len())
            .or_else(|| network.v6.map(|net| net.prefix_len())),
        interface: member.interface.clone(),
        mac: member.mac.clone(),
        public_key: member.public_key.clone(),
        assign: member.assign,
        aliases,
    }
}

/// Returns the networks that a host is in, with its addresses there.
pub(super) fn of_host(
    manifests: &Manifests,
    host: &Host,
) -> Result<BTreeMap<Arc<str>, HostNetwork>, Problems> {
    let mut problems = Problems::default();
    let mut networks = BTreeMap::new();
    let tree = host.statics.get("networks");
    for (name, member) in &host.spec.networks {
        let span = tree.map_or(&host.span, |tree| place(tree, &[name]));
        match manifests.networks.get_key_value(name.as_str()) {
            None => {
                let key = tree.and_then(Node::as_map).and_then(|map| map.entry(name));
                problems.diagnostics.push(no_network(
                    manifests,
                    name,
                    key.map_or(span, |entry| &entry.key.span),
                ));
            }
            Some((name, Err(_))) => {
                problems.because.insert(ObjectId::Network(name.clone()));
            }
            Some((name, Ok(network))) => {
                networks.insert(
                    name.clone(),
                    membership(network, member, span, &mut problems),
                );
            }
        }
    }
    problems.or(networks)
}

/// A network as templates see it.
#[derive(Serialize)]
struct NetworkValue<'a> {
    name: &'a str,
    r#type: &'a str,
    subnets: &'a [String],
    gateway: Option<&'a str>,
    hub: Option<&'a str>,
    members: &'a [MemberFact],
}

/// Adds all networks with their members to the facts. If hosts claim the same address, their facts become
/// unknown.
pub(super) fn networks(manifests: &Manifests, facts: &mut Facts) {
    let mut clashes: BTreeMap<HostName, Vec<Diagnostic>> = BTreeMap::new();
    let mut networks = BTreeMap::new();
    for (name, entry) in &manifests.networks {
        let Ok(network) = entry else {
            networks.insert(
                name.clone(),
                Err(Problems::because(ObjectId::Network(name.clone()))),
            );
            continue;
        };
        let mut problems = Problems::default();
        let mut members = own_members(manifests, network, &mut problems);
        for host in facts.hosts.values().flatten() {
            let (Some(of), Some(Ok(manifest))) =
                (host.networks.get(name), manifests.hosts.get(&host.name))
            else {
                continue;
            };
            if host.state == HostState::Retired {
                continue;
            }
            let span = manifest
                .statics
                .get("networks")
                .map_or(&manifest.span, |tree| place(tree, &[name]));
            members.push(MemberFact {
                name: host.name.to_string(),
                id: of.id,
                ipv4: of.ipv4.clone(),
                ipv6: of.ipv6.clone(),
                mac: of.mac.clone(),
                public_key: of.public_key.clone(),
                keyless: false,
                routes: Vec::new(),
                aliases: of.aliases.clone(),
                state: host.state.as_str(),
                is_host: true,
                span: span.clone(),
            });
        }
        members
            .sort_by(|a, b| (a.id.is_none(), a.id, &a.name).cmp(&(b.id.is_none(), b.id, &b.name)));
        clash(network, &members, &mut clashes, &mut problems);
        if let Some(gateway) = &network.spec.gateway {
            let known = members.iter().any(|member| member.name == *gateway)
                || manifests.hosts.keys().any(|host| host.as_str() == gateway);
            if !known {
                let diagnostic = Diagnostic::error(
                    code::UNKNOWN_REFERENCE,
                    place(&network.node, &["gateway"]),
                    format!("the gateway `{gateway}` isn't a host or member of this network"),
                );
                problems.diagnostics.push(
                    match plumb_document::closest(
                        gateway,
                        members.iter().map(|member| member.name.as_str()),
                    ) {
                        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                        None => diagnostic.hint("add it under `members`, or add its Host"),
                    },
                );
            }
        }
        let value = crate::render::serialized(NetworkValue {
            name,
            r#type: network.spec.network_type.as_str(),
            subnets: &network.spec.subnets,
            gateway: network.spec.gateway.as_deref(),
            hub: None,
            members: &members,
        });
        facts
            .diagnostics
            .extend(problems.diagnostics.iter().cloned());
        networks.insert(name.clone(), problems.or(Arc::new(NetworkFacts { value })));
    }
    facts.networks = networks;
    for (host, diagnostics) in clashes {
        if let Some(known) = facts.hosts.get_mut(&host) {
            if let Ok(host) = known {
                facts.labels.insert(host.name.clone(), host.labels.clone());
            }
            *known = Err(diagnostics.into());
        }
    }
}

fn own_members(
    manifests: &Manifests,
    network: &Network,
    problems: &mut Problems,
) -> Vec<MemberFact> {
    let mut members = Vec::new();
    for (name, member) in &network.spec.members {
        let NetworkMember {
            id,
            address,
            ipv6,
            mac,
            public_key,
            keyless,
            routes,
        } = member;
        let span = place(&network.node, &["members", name]);
        if let Some((host, _)) = manifests
            .hosts
            .iter()
            .find(|(host, _)| host.as_str() == name)
        {
            problems.diagnostics.push(
                Diagnostic::error(
                    code::DUPLICATE_OBJECT,
                    span,
                    format!("`{host}` is both a Host and a member"),
                )
                .hint("remove the member: a Host lists its networks itself"),
            );
            continue;
        }
        let said = MemberAddresses {
            id: *id,
            address: address.as_deref(),
            ipv6: ipv6.as_deref(),
        };
        let (v4, v6) = match addresses(network, &said, span) {
            Ok(found) => found,
            Err(diagnostic) => {
                problems.diagnostics.push(*diagnostic);
                continue;
            }
        };
        members.push(MemberFact {
            name: name.clone(),
            id: *id,
            ipv4: v4.map(|address| address.to_string()),
            ipv6: v6.map(|address| address.to_string()),
            mac: mac.clone(),
            public_key: public_key.clone(),
            keyless: *keyless,
            routes: routes.clone(),
            aliases: BTreeMap::new(),
            state: HostState::Unmanaged.as_str(),
            is_host: false,
            span: span.clone(),
        });
    }
    members
}

/// Reports each address that two members claim: as an error of the hosts among the two, or of the network if
/// neither is a host.
fn clash(
    network: &Network,
    members: &[MemberFact],
    clashes: &mut BTreeMap<HostName, Vec<Diagnostic>>,
    problems: &mut Problems,
) {
    let mut taken: BTreeMap<&str, &MemberFact> = BTreeMap::new();
    for member in members {
        let aliases = member
            .aliases
            .values()
            .flat_map(|alias| [&alias.ipv4, &alias.ipv6, &alias.mac]);
        let all = [&member.ipv4, &member.ipv6, &member.mac]
            .into_iter()
            .chain(aliases)
            .flatten();
        let mut told: Option<&str> = None;
        for address in all {
            let Some(first) = taken.insert(address, member) else {
                continue;
            };
            // A member may use an address several times, such as the MAC of one card. Members that share an
            // id clash in IPv4 and IPv6, which is reported once.
            if first.name == member.name || told.replace(&first.name) == Some(&*first.name) {
                continue;
            }
            let diagnostic = Diagnostic::error(
                code::ADDRESS,
                &member.span,
                format!(
                    "{address} in the network `{}` is already used by `{}`",
                    network.name, first.name
                ),
            )
            .related(&first.span, "here")
            .hint("give each member its own id");
            let hosts = [first, member]
                .into_iter()
                .filter(|one| one.is_host)
                .filter_map(|one| one.name.parse().ok());
            let hosts: Vec<HostName> = hosts.collect();
            if hosts.is_empty() {
                problems.diagnostics.push(diagnostic.clone());
            }
            for host in hosts {
                clashes.entry(host).or_default().push(diagnostic.clone());
            }
        }
    }
}
