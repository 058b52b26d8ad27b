//! Checks of a network's members: no two claim one thing, each has the key that it needs, and every name
//! leads to somebody.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use plumb_api::HostName;
use plumb_api::kind::{HostState, NetworkType};
use plumb_document::{Diagnostic, Span, closest, codes};

use super::{MemberFact, place};
use crate::manifest::{Manifests, Network, code};

/// The errors found in a network, by who has to mend them.
pub(super) struct Faults<'a> {
    /// The errors of hosts.
    pub(super) of_hosts: &'a mut BTreeMap<HostName, Vec<Diagnostic>>,
    /// The errors of the network's own manifest.
    pub(super) of_network: &'a mut Vec<Diagnostic>,
}

impl Faults<'_> {
    /// Adds an error to each host among these members, or to the network if none is a host.
    fn add<'m>(
        &mut self,
        members: impl IntoIterator<Item = &'m MemberFact>,
        diagnostic: &Diagnostic,
    ) {
        let hosts = members.into_iter().filter(|one| one.is_host);
        let hosts: Vec<HostName> = hosts.filter_map(|one| one.name.parse().ok()).collect();
        if hosts.is_empty() {
            self.of_network.push(diagnostic.clone());
        }
        for host in hosts {
            self.of_hosts
                .entry(host)
                .or_default()
                .push(diagnostic.clone());
        }
    }
}

/// Checks the members of a network.
pub(super) fn check(
    manifests: &Manifests,
    network: &Network,
    members: &[MemberFact],
    faults: &mut Faults<'_>,
) {
    clash(network, members, faults);
    for member in members {
        form(member, faults);
        routes(network, members, member, faults);
        if network.spec.network_type == NetworkType::Wireguard {
            key(network, member, faults);
        }
    }
    range(network, faults);
    for (role, path, name) in references(network) {
        let span = place(&network.node, path);
        faults
            .of_network
            .extend(nobody(manifests, members, role, name, span));
    }
}

/// Reports each address and key that two members claim.
fn clash(network: &Network, members: &[MemberFact], faults: &mut Faults<'_>) {
    let mut taken: BTreeMap<String, &MemberFact> = BTreeMap::new();
    for member in members {
        let aliases = member
            .aliases
            .values()
            .flat_map(|alias| [&alias.ipv4, &alias.ipv6, &alias.mac]);
        let all = [&member.ipv4, &member.ipv6, &member.mac, &member.public_key];
        let mut told: Option<&str> = None;
        for thing in all.into_iter().chain(aliases).flatten() {
            // Only base64 distinguishes letters by case.
            let thing = if member.public_key.as_ref() == Some(thing) {
                thing.clone()
            } else {
                thing.to_ascii_lowercase()
            };
            let Some(first) = taken.insert(thing.clone(), member) else {
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
                    "{thing} in the network `{}` is already used by `{}`",
                    network.name, first.name
                ),
            )
            .related(&first.span, "here")
            .hint(if Some(&thing) == member.public_key.as_ref() {
                "make a key for each member"
            } else {
                "give each member its own id"
            });
            faults.add([first, member], &diagnostic);
        }
    }
}

/// Reports a hardware address and a public key that have the wrong form.
fn form(member: &MemberFact, faults: &mut Faults<'_>) {
    let aliases = member
        .aliases
        .values()
        .filter_map(|alias| alias.mac.as_ref());
    for mac in member.mac.iter().chain(aliases).filter(|mac| !is_mac(mac)) {
        let message = format!("`{mac}` isn't a hardware address");
        let diagnostic = Diagnostic::error(codes::INVALID_VALUE, &member.span, message)
            .hint("write it like \"02:00:5e:00:53:01\"");
        faults.add([member], &diagnostic);
    }
    for key in member.public_key.iter().filter(|key| !is_key(key)) {
        let message = format!("`{key}` isn't a WireGuard public key");
        let diagnostic = Diagnostic::error(codes::INVALID_VALUE, &member.span, message)
            .hint("write what `wg pubkey` prints: 44 characters that end with `=`");
        faults.add([member], &diagnostic);
    }
}

fn is_mac(text: &str) -> bool {
    let bytes: Vec<&str> = text.split(':').collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
    bytes.len() == 6 && bytes.iter().all(is_byte)
}

fn is_key(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() == 44
        && text
            .strip_suffix('=')
            .is_some_and(|key| key.bytes().all(good))
}

/// Reports a member that can be no peer: without an address, or without a key and nobody said so.
fn key(network: &Network, member: &MemberFact, faults: &mut Faults<'_>) {
    let name = &network.name;
    if member.ipv4.is_none() && member.ipv6.is_none() {
        let message = format!("`{}` has no address in the network `{name}`", member.name);
        let diagnostic =
            Diagnostic::error(code::ADDRESS, &member.span, message).hint("give it an `id`");
        faults.add([member], &diagnostic);
    }
    let excused = member.keyless || member.state == HostState::Dormant;
    if member.public_key.is_none() && !excused {
        let message = format!(
            "`{}` has no public key in the network `{name}`, so nobody could talk to it",
            member.name
        );
        let hint = "add its `publicKey`, or write `keyless: true`";
        let diagnostic = Diagnostic::error(code::PEER, &member.span, message).hint(hint);
        faults.add([member], &diagnostic);
    }
    if member.public_key.is_some() && member.keyless {
        let message = format!("`{}` has a public key and is `keyless`", member.name);
        let diagnostic = Diagnostic::error(code::PEER, &member.span, message)
            .hint("remove `keyless` or `publicKey`");
        faults.add([member], &diagnostic);
    }
}

/// Reports routes that aren't subnets, and those that overlap the network or the routes of another member.
fn routes(network: &Network, members: &[MemberFact], member: &MemberFact, faults: &mut Faults<'_>) {
    for text in &member.routes {
        let route = match text.parse::<IpNet>() {
            Ok(route) if route.trunc() == route => route,
            Ok(route) => {
                let message = format!("{text} has bits set after its prefix");
                let diagnostic = Diagnostic::error(code::ADDRESS, &member.span, message)
                    .hint(format!("write {}", route.trunc()));
                faults.add([member], &diagnostic);
                continue;
            }
            Err(_) => {
                let message = format!("`{text}` isn't a subnet");
                let diagnostic = Diagnostic::error(code::ADDRESS, &member.span, message)
                    .hint("write it like 192.0.2.0/24 or \"2001:db8::/64\"");
                faults.add([member], &diagnostic);
                continue;
            }
        };
        if network.subnets().any(|subnet| overlap(&subnet, &route)) {
            let message = format!(
                "the route {text} of `{}` overlaps the network `{}` itself",
                member.name, network.name
            );
            let diagnostic = Diagnostic::error(code::ADDRESS, &member.span, message)
                .hint("remove the route: members are reached at their own addresses");
            faults.add([member], &diagnostic);
        }
        // Each pair once: the later one of the two is told.
        let earlier = members.iter().take_while(|one| one.name != member.name);
        for other in earlier {
            let mut theirs = other.routes.iter().filter_map(|text| text.parse().ok());
            if let Some(other_route) = theirs.find(|their: &IpNet| overlap(their, &route)) {
                let message = format!(
                    "the route {text} of `{}` overlaps {other_route}, which is reached through `{}`",
                    member.name, other.name
                );
                let diagnostic = Diagnostic::error(code::ADDRESS, &member.span, message)
                    .related(&other.span, "here")
                    .hint("let one member have the route");
                faults.add([other, member], &diagnostic);
            }
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Reports a range of leases outside of the subnet.
fn range(network: &Network, faults: &mut Faults<'_>) {
    let Some(dhcp) = &network.spec.dhcp else {
        return;
    };
    let span = place(&network.node, &["dhcp", "range"]);
    match network.v4 {
        None => faults.of_network.push(
            Diagnostic::error(
                code::ADDRESS,
                span,
                format!(
                    "the network `{}` has no IPv4 subnet to lease from",
                    network.name
                ),
            )
            .hint("add one to `subnets`, or remove `dhcp`"),
        ),
        Some(subnet) => {
            let outside = |id: &&u32| network.v4_of(**id).is_none();
            if let Some(id) = dhcp.range.iter().find(outside) {
                faults.of_network.push(
                    Diagnostic::error(
                        code::ADDRESS,
                        span,
                        format!("the id {id} of the range is outside of {subnet}"),
                    )
                    .hint("choose a smaller range or a larger subnet"),
                );
            }
        }
    }
}

/// Returns the names in a network's own fields, with what they are for and where they stand.
fn references(network: &Network) -> Vec<(&'static str, &'static [&'static str], &str)> {
    let spec = &network.spec;
    let mut all: Vec<(&str, &[&str], &str)> = Vec::new();
    if let Some(gateway) = &spec.gateway {
        all.push(("gateway", &["gateway"], gateway));
    }
    if let Some(wireguard) = &spec.wireguard {
        all.push(("hub", &["wireguard", "hub"], &wireguard.hub));
    }
    if let Some(dhcp) = &spec.dhcp {
        all.push(("DHCP server", &["dhcp", "server"], &dhcp.server));
    }
    all
}

/// Returns the error about a name in a network that no member has.
fn nobody(
    manifests: &Manifests,
    members: &[MemberFact],
    role: &str,
    name: &str,
    span: &Span,
) -> Option<Diagnostic> {
    if members.iter().any(|member| member.name == name) {
        return None;
    }
    let mut hosts = manifests.hosts.iter();
    let message = match hosts.find(|(host, _)| host.as_str() == name) {
        // Its own errors are told.
        Some((_, Err(_))) => return None,
        Some((_, Ok(host))) if host.spec.state == HostState::Retired => {
            format!("the {role} `{name}` is retired")
        }
        Some((_, Ok(_))) => format!("the {role} `{name}` isn't in this network"),
        None => format!("the {role} `{name}` isn't a host or member of this network"),
    };
    let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, span, message);
    let names = members.iter().map(|member| member.name.as_str());
    Some(match closest(name, names) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("add it under `members`, or add the network to its Host"),
    })
}

/// Returns the errors about networks whose subnets overlap those of another network. Addresses of overlays
/// belong to another system, and aren't compared.
pub(super) fn overlaps(manifests: &Manifests) -> BTreeMap<Arc<str>, Vec<Diagnostic>> {
    let own = manifests.networks.values().flatten();
    let own = own.filter(|network| network.spec.network_type != NetworkType::Overlay);
    let all: Vec<&Arc<Network>> = own.collect();
    let mut found: BTreeMap<Arc<str>, Vec<Diagnostic>> = BTreeMap::new();
    for (at, network) in all.iter().enumerate() {
        for other in &all[..at] {
            for subnet in network.subnets() {
                let Some(theirs) = other.subnets().find(|one| overlap(one, &subnet)) else {
                    continue;
                };
                let diagnostic = Diagnostic::error(
                    code::ADDRESS,
                    place(&network.node, &["subnets"]),
                    format!("{subnet} overlaps {theirs} of the network `{}`", other.name),
                )
                .related(place(&other.node, &["subnets"]), "here")
                .hint("give each network its own subnet");
                found
                    .entry(network.name.clone())
                    .or_default()
                    .push(diagnostic);
            }
        }
    }
    found
}
