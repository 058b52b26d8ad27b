//! `networks/NAME.yaml`: reads the subnets and members of a network.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use plumb_api::kind::{NetworkSpec, NetworkType};
use plumb_api::resource::{Zone, host_and_port};
use plumb_document::{Diagnostic, Node, Span, codes, decode};

use super::code;
use super::object::Object;

/// A decoded network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) name: Arc<str>,
    pub(crate) spec: NetworkSpec,
    pub(crate) node: Node,
    pub(crate) v4: Option<Ipv4Net>,
    pub(crate) v6: Option<Ipv6Net>,
}

pub(crate) fn read(object: &Object) -> Result<Network, Vec<Diagnostic>> {
    let spec: NetworkSpec = decode(&object.spec)?;
    let mut diagnostics = Vec::new();
    let place = |field: &str| {
        object
            .spec
            .get(field)
            .map_or(&object.span, |node| &node.span)
    };
    diagnostics.extend(settings(object, &spec));
    let (mut v4, mut v6) = (None, None);
    for (at, text) in spec.subnets.iter().enumerate() {
        let span = object
            .spec
            .get("subnets")
            .and_then(|list| list.as_seq()?.get(at))
            .map_or(place("subnets"), |node| &node.span);
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() != net => diagnostics.push(
                Diagnostic::error(
                    code::ADDRESS,
                    span,
                    format!("{text} has bits set after its prefix"),
                )
                .hint(format!("write {}", net.trunc())),
            ),
            Ok(IpNet::V4(net)) if v4.is_none() => v4 = Some(net),
            Ok(IpNet::V6(net)) if v6.is_none() => v6 = Some(net),
            Ok(_) => diagnostics.push(
                Diagnostic::error(
                    code::ADDRESS,
                    span,
                    "a network can have at most one IPv4 and one IPv6 subnet",
                )
                .hint("move the other one to a network of its own"),
            ),
            Err(_) => diagnostics.push(
                Diagnostic::error(code::ADDRESS, span, format!("`{text}` isn't a subnet"))
                    .hint("write it like 192.0.2.0/24 or \"2001:db8::/64\""),
            ),
        }
    }
    if diagnostics.is_empty() {
        Ok(Network {
            name: object.name.as_str().into(),
            spec,
            node: object.spec.clone(),
            v4,
            v6,
        })
    } else {
        Err(diagnostics)
    }
}

/// Returns the errors of the settings that one type of network has.
fn settings(object: &Object, spec: &NetworkSpec) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let place = |path: [&str; 2]| -> Span {
        let field = object.spec.get(path[0]);
        let inner = field.and_then(|field| field.get(path[1])).or(field);
        inner.map_or(&object.span, |node| &node.span).clone()
    };
    let mut wrong = |path: [&str; 2], message: String, hint: &str| {
        diagnostics.push(Diagnostic::error(codes::INVALID_VALUE, &place(path), message).hint(hint));
    };
    match (spec.network_type, &spec.wireguard) {
        (NetworkType::Wireguard, None) => wrong(
            ["type", ""],
            "a network of the type `wireguard` needs `wireguard`".to_owned(),
            "add `wireguard: {hub: NAME, endpoint: \"hub.fleet.example:51820\"}`",
        ),
        (NetworkType::Lan | NetworkType::Overlay, Some(_)) => wrong(
            ["wireguard", ""],
            format!(
                "a network of the type `{}` has no `wireguard`",
                spec.network_type.as_str()
            ),
            "write `type: wireguard`, or remove `wireguard`",
        ),
        _ => {}
    }
    if let Some(wireguard) = &spec.wireguard {
        if host_and_port(&wireguard.endpoint).is_none() {
            wrong(
                ["wireguard", "endpoint"],
                format!(
                    "`{}` isn't a name or an address with a port",
                    wireguard.endpoint
                ),
                "write it like hub.fleet.example:51820 or [2001:db8::1]:51820",
            );
        }
        let interface = wireguard.interface.as_ref().unwrap_or(&object.name);
        if let Err(message) = Zone::try_from(format!("interface:{interface}")) {
            wrong(
                ["wireguard", "interface"],
                message,
                "set `interface` to a name such as wg0",
            );
        }
    }
    if let Some(dhcp) = &spec.dhcp {
        if spec.network_type != NetworkType::Lan {
            wrong(
                ["dhcp", ""],
                format!(
                    "a network of the type `{}` has no `dhcp`",
                    spec.network_type.as_str()
                ),
                "remove `dhcp`",
            );
        }
        let [first, last] = dhcp.range;
        if first > last {
            wrong(
                ["dhcp", "range"],
                format!("the range begins with {first} and ends with {last}"),
                "write the first id first: [200, 250]",
            );
        }
    }
    diagnostics
}

impl Network {
    /// Returns the name of the interface that every host of a `wireguard` network has, unless its manifest
    /// names another.
    pub(crate) fn interface(&self) -> Option<String> {
        let wireguard = self.spec.wireguard.as_ref()?;
        let name = wireguard.interface.as_deref().unwrap_or(&self.name);
        Some(name.to_owned())
    }

    /// Returns the subnets.
    pub(crate) fn subnets(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.map(IpNet::V4);
        v4.into_iter().chain(self.v6.map(IpNet::V6))
    }

    /// Returns the IPv4 address of the member with this id: the base address of the subnet plus the id.
    /// Returns `None` outside of the subnet, and for the subnet's network and broadcast address.
    pub(crate) fn v4_of(&self, id: u32) -> Option<Ipv4Addr> {
        let net = self.v4?;
        let address = Ipv4Addr::from(u32::from(net.network()).checked_add(id)?);
        let edge =
            net.prefix_len() < 31 && (address == net.network() || address == net.broadcast());
        (net.contains(&address) && !edge).then_some(address)
    }

    /// Returns the IPv6 address of the member with this id. The id's decimal digits become the address's
    /// hexadecimal digits, so that 192.0.2.88 and `2001:db8::88` look like the same host.
    pub(crate) fn v6_of(&self, id: u32) -> Option<Ipv6Addr> {
        let net = self.v6?;
        let digits = u128::from_str_radix(&id.to_string(), 16).ok()?;
        let address = Ipv6Addr::from(u128::from(net.network()).checked_add(digits)?);
        (net.contains(&address) && id != 0).then_some(address)
    }
}
