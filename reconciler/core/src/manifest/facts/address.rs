//! Addresses of hosts in networks: derived from ids or written in full. Two members can't have one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use plumb_api::kind::{AliasSpec, MemberSpec};
use plumb_document::{Diagnostic, Node, Span};

use super::{AliasFact, HostNetwork, Network, no_network, place};
use crate::manifest::{Host, Manifests, ObjectId, Problems, code};

/// The id and addresses that a member's manifest sets.
pub(super) struct MemberAddresses<'a> {
    pub(super) id: Option<u32>,
    pub(super) address: Option<&'a str>,
    pub(super) ipv6: Option<&'a str>,
}

/// A member's IPv4 and IPv6 address.
pub(super) type Addresses = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// Returns the addresses of a host or member in a network.
pub(super) fn addresses(
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
    HostNetwork {
        id: member.id,
        ipv4: v4.map(|address| address.to_string()),
        ipv6: v6.map(|address| address.to_string()),
        prefix: network
            .v4
            .map(|net| net.prefix_len())
            .or_else(|| network.v6.map(|net| net.prefix_len())),
        interface: member.interface.clone().or_else(|| network.interface()),
        mac: member.mac.clone(),
        public_key: member.public_key.clone(),
        assign: member.assign,
        routes: member.routes.clone(),
        aliases: aliases(network, &member.aliases, span, problems),
    }
}

/// Returns the error about the name of a member or an alias, which configurations of other programs get.
pub(super) fn bad_name(name: &str, what: &str, span: &Span) -> Option<Diagnostic> {
    (!plumb_api::name::is_label(name)).then(|| {
        let message = format!("`{}` isn't a valid name of a {what}", name.escape_debug());
        Diagnostic::error(code::INVALID_NAME, span, message)
            .hint("use 1 to 63 of a-z, 0-9 and `-`, without `-` at either end")
    })
}

/// Returns the further addresses of a host or member.
pub(super) fn aliases(
    network: &Network,
    aliases: &BTreeMap<String, AliasSpec>,
    span: &Span,
    problems: &mut Problems,
) -> BTreeMap<String, AliasFact> {
    let mut all = BTreeMap::new();
    for (name, alias) in aliases {
        if let Some(wrong) = bad_name(name, "alias", span) {
            problems.diagnostics.push(wrong);
            continue;
        }
        let said = MemberAddresses {
            id: alias.id,
            address: alias.address.as_deref(),
            ipv6: alias.ipv6.as_deref(),
        };
        match addresses(network, &said, span) {
            Ok((v4, v6)) => {
                let fact = AliasFact {
                    id: alias.id,
                    ipv4: v4.map(|address| address.to_string()),
                    ipv6: v6.map(|address| address.to_string()),
                    mac: alias.mac.clone(),
                };
                all.insert(name.clone(), fact);
            }
            Err(diagnostic) => problems.diagnostics.push(*diagnostic),
        }
    }
    all
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
