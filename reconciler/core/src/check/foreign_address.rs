//! Finds addresses to listen on that belong to another machine.

use std::net::{IpAddr, SocketAddr};

use plumb_api::Kind;
use plumb_document::{Diagnostic, Span};

use super::{HostView, unit_text};
use crate::manifest::{HostNetwork, code};
use crate::resolve::Placed;

/// Returns a warning for each address that a unit or a configuration file is to listen on, that lies in a
/// network of the fleet, and that isn't the host's. Any other address may be one that no manifest mentions.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for kind in [Kind::File, Kind::Unit] {
        for one in host.of(kind) {
            if !one.is_wanted() {
                continue;
            }
            let Some(text) = one.text() else { continue };
            for address in listens(one, text) {
                if is_of(host, address) {
                    continue;
                }
                let place = one.place_of("content");
                found.extend(owner_of(host, address, place));
            }
        }
    }
    found
}

/// Returns the addresses that a file makes a program listen on.
fn listens(one: &Placed<'_>, text: &str) -> Vec<IpAddr> {
    let name = one.address.name();
    if one.address.kind() == Kind::Unit {
        let sockets = unit_text::directives(text)
            .filter(|(key, _)| ["ListenStream", "ListenDatagram"].contains(key))
            .filter_map(|(_, value)| address(value));
        return sockets.chain(arguments(text)).collect();
    }
    if name.starts_with("/etc/ssh/sshd_config") {
        let lines = text.lines().filter_map(|line| {
            let (key, value) = line.trim().split_once(char::is_whitespace)?;
            key.eq_ignore_ascii_case("ListenAddress")
                .then(|| address(value.trim()))?
        });
        return lines.collect();
    }
    if name.starts_with("/etc/default/") {
        return arguments(text).collect();
    }
    Vec::new()
}

/// Returns the addresses in arguments such as `--web.listen-address=192.0.2.3:9100`.
fn arguments(text: &str) -> impl Iterator<Item = IpAddr> {
    text.split("listen-address=").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "\"',".contains(c));
        address(rest.get(..end.unwrap_or(rest.len()))?)
    })
}

/// Reads `ADDRESS` or `ADDRESS:PORT`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = match text.parse::<SocketAddr>() {
        Ok(socket) => socket.ip(),
        Err(_) => bare.parse().ok()?,
    };
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

/// True if the manifests give the host this address.
fn is_of(host: &HostView<'_>, address: IpAddr) -> bool {
    host.facts
        .networks
        .values()
        .any(|network| has(network, address))
}

fn has(network: &HostNetwork, address: IpAddr) -> bool {
    let aliases = network.aliases.values();
    let of_aliases = aliases.flat_map(|alias| [&alias.ipv4, &alias.ipv6]);
    [&network.ipv4, &network.ipv6]
        .into_iter()
        .chain(of_aliases)
        .flatten()
        .any(|text| text.parse() == Ok(address))
}

/// Returns the warning about an address that lies in a network of the fleet.
fn owner_of(host: &HostView<'_>, address: IpAddr, place: &Span) -> Option<Diagnostic> {
    let network = host.manifests.networks.values().flatten().find(|network| {
        let v4 = network.v4.map(ipnet::IpNet::V4);
        let v6 = network.v6.map(ipnet::IpNet::V6);
        [v4, v6]
            .into_iter()
            .flatten()
            .any(|net| net.contains(&address))
    })?;
    let mut others = host.manifests.facts.hosts.values().flatten();
    let other = others.find(|other| other.networks.values().any(|one| has(one, address)));
    let whose = other.map_or_else(
        || format!("an address of the network `{}`", network.name),
        |other| format!("an address of `{}`", other.name),
    );
    let message = format!("{address}, on which it is to listen, is {whose} and not of this host");
    Some(
        Diagnostic::warning(code::FOREIGN_ADDRESS, place, message).hint(format!(
            "write `{{{{ host.networks.{}.ipv4 }}}}` in a template, which is always the host's own",
            network.name
        )),
    )
}
