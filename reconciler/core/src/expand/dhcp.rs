//! `dhcp`: expands into a dnsmasq that leases a network's addresses.

use std::fmt::Write as _;

use plumb_api::kind::NetworkDhcp;
use plumb_api::period::Period;
use plumb_api::resource::{DhcpServerSpec, Problem};

use super::dnsmasq::{Server, Table};
use super::{ExpandContext, Outcome, Part, TypedResource};
use crate::manifest::{MemberFact, Network};

/// The time of a lease by default.
const LEASE: Period = Period::minutes(12 * 60);

/// Expands each resource into the server of its network.
pub(super) fn expand(
    all: &[TypedResource<'_, DhcpServerSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.name, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(name: &str, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let Some((network, members)) = context.network(name) else {
        return Ok(Vec::new());
    };
    let Some((network, dhcp)) = network.and_then(|one| Some((one, one.spec.dhcp.as_ref()?))) else {
        return Err(Problem {
            field: "",
            message: format!("the fleet has no network `{name}` with `dhcp`"),
            hint: format!(
                "add `dhcp: {{server: {}, range: [200, 250]}}` to networks/{name}.yaml, or correct the name",
                context.facts.name
            ),
        });
    };
    if dhcp.server != context.facts.name.as_str() {
        return Err(Problem {
            field: "",
            message: format!(
                "`{}` is the DHCP server of the network `{name}`",
                dhcp.server
            ),
            hint: format!("remove it here, or name this host as `server` in networks/{name}.yaml"),
        });
    }
    let server = Server::of("", name, context)?;
    let Some(interface) = &server.place.interface else {
        context.interface("", name)?;
        return Ok(Vec::new());
    };
    let lines = Lines {
        network,
        dhcp,
        members,
        interface,
        server: &server,
    };
    let text = lines.content(context)?;
    let table = Table {
        name: "reservations",
        text: reservations(members, context),
    };
    Ok(server.parts("dhcp", text, table, context))
}

/// Everything that the configuration needs.
struct Lines<'a> {
    network: &'a Network,
    dhcp: &'a NetworkDhcp,
    members: &'a [MemberFact],
    interface: &'a str,
    server: &'a Server<'a>,
}

impl Lines<'_> {
    fn content(&self, context: &ExpandContext<'_>) -> Result<String, Problem> {
        let mut text = format!(
            "# Written by plumb.\ndhcp-authoritative\ndhcp-leasefile=/var/lib/misc/dnsmasq-{0}.leases\ndhcp-hostsfile={1}\n",
            self.server.network,
            self.server.path("reservations")
        );
        let gateway = self.gateway()?;
        let resolves = context.resolves(self.server.network);
        let lease = self.dhcp.lease.unwrap_or(LEASE).duration().as_secs();
        let [first, last] = self.dhcp.range;
        let outside = || Problem {
            field: "",
            message: format!("the range [{first}, {last}] isn't in the network's subnet"),
            hint: format!(
                "correct `dhcp.range` in networks/{}.yaml",
                self.server.network
            ),
        };
        if let Some(subnet) = self.network.v4 {
            let (Some(first), Some(last)) = (self.network.v4_of(first), self.network.v4_of(last))
            else {
                return Err(outside());
            };
            let _ = writeln!(
                text,
                "dhcp-range={first},{last},{},{lease}",
                subnet.netmask()
            );
            // Without a value, dnsmasq names no router; without the line, itself.
            let router = gateway.and_then(|gateway| gateway.ipv4.as_ref());
            let router = router
                .map(|address| format!(",{address}"))
                .unwrap_or_default();
            let _ = writeln!(text, "dhcp-option=option:router{router}");
            if let Some(address) = self.server.place.ipv4.as_ref().filter(|_| resolves) {
                let _ = writeln!(text, "dhcp-option=option:dns-server,{address}");
            }
        }
        if let Some(subnet) = self.network.v6 {
            let (Some(first), Some(last)) = (self.network.v6_of(first), self.network.v6_of(last))
            else {
                return Err(outside());
            };
            let _ = writeln!(
                text,
                "enable-ra\ndhcp-range={first},{last},{},{lease}",
                subnet.prefix_len()
            );
            if gateway.is_none_or(|gateway| gateway.name != context.facts.name.as_str()) {
                // Clients must not take this host as their router.
                let _ = writeln!(text, "ra-param={},0,0", self.interface);
            }
            if let Some(address) = self.server.place.ipv6.as_ref().filter(|_| resolves) {
                let _ = writeln!(text, "dhcp-option=option6:dns-server,[{address}]");
            }
        }
        Ok(text)
    }

    /// Returns the member that is the network's gateway.
    fn gateway(&self) -> Result<Option<&MemberFact>, Problem> {
        let Some(name) = &self.network.spec.gateway else {
            return Ok(None);
        };
        let found = self.members.iter().find(|member| member.name == *name);
        match found {
            Some(member) => Ok(Some(member)),
            None => Err(Problem {
                field: "",
                message: format!("the gateway `{name}` has no address in its network"),
                hint: format!("add `{}` to the networks of `{name}`", self.server.network),
            }),
        }
    }
}

/// Returns the reservations of all members with a hardware address, in order of id.
fn reservations(members: &[MemberFact], context: &ExpandContext<'_>) -> String {
    let mut lines = Vec::new();
    for member in members {
        let hostname = context.hostname_of(&member.name);
        let mut add = |id: Option<u32>,
                       mac: &Option<String>,
                       addresses: [&Option<String>; 2],
                       name: String| {
            let [ipv4, ipv6] = addresses;
            let Some(mac) = mac else { return };
            let mut words = vec![mac.clone()];
            words.extend(ipv4.clone());
            words.extend(ipv6.as_ref().map(|address| format!("[{address}]")));
            if words.len() > 1 {
                words.push(name);
                lines.push((id, words.join(",")));
            }
        };
        add(
            member.id,
            &member.mac,
            [&member.ipv4, &member.ipv6],
            hostname.to_owned(),
        );
        for (alias, one) in &member.aliases {
            let name = format!("{hostname}-{alias}");
            add(one.id, &one.mac, [&one.ipv4, &one.ipv6], name);
        }
    }
    lines.sort_by_key(|(id, _)| (id.is_none(), *id));
    let mut text = String::from("# Written by plumb.\n");
    for (_, line) in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}
