//! `dns`: expands into a dnsmasq for each network, whose names have the addresses that this network reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use plumb_api::resource::{DnsSpec, Problem};
use plumb_document::closest;

use super::context::FleetHost;
use super::dnsmasq::{Server, Table};
use super::{ExpandContext, Outcome, Part, TypedResource};
use crate::manifest::HostNetwork;

/// Expands the resource.
pub(super) fn expand(
    all: &[TypedResource<'_, DnsSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(spec: &DnsSpec, context: &ExpandContext<'_>) -> Result<Vec<Part>, Problem> {
    let directory = Directory::of(context);
    let mut parts = Vec::new();
    for network in &spec.on {
        let server = Server::of("on", network, context)?;
        let view = View::of(spec, network, &directory, context)?;
        let table = Table {
            name: "hosts",
            text: view.hosts(),
        };
        let text = content(spec, &view, &server.path("hosts"));
        parts.extend(server.parts("dns", text, table, context));
    }
    Ok(parts)
}

/// Addresses of a machine by network.
type Places = BTreeMap<String, BTreeSet<IpAddr>>;

/// Everything that has a name, with its addresses.
struct Directory<'a> {
    /// The hosts, in order of name.
    hosts: Vec<FleetHost<'a>>,
    /// The places of hosts and of the members of networks that are no hosts.
    places: BTreeMap<String, Places>,
}

/// Returns the addresses of a place in a network.
fn addresses(ipv4: Option<&String>, ipv6: Option<&String>) -> BTreeSet<IpAddr> {
    let both = [ipv4, ipv6].into_iter().flatten();
    both.filter_map(|text| text.parse().ok()).collect()
}

fn places_of(networks: &BTreeMap<std::sync::Arc<str>, HostNetwork>) -> Places {
    networks
        .iter()
        .map(|(name, one)| {
            (
                name.to_string(),
                addresses(one.ipv4.as_ref(), one.ipv6.as_ref()),
            )
        })
        .filter(|(_, addresses)| !addresses.is_empty())
        .collect()
}

impl<'a> Directory<'a> {
    fn of(context: &ExpandContext<'a>) -> Self {
        let hosts = context.fleet(context.reads);
        let mut places: BTreeMap<String, Places> = BTreeMap::new();
        for network in context.networks() {
            for member in network.1.members.iter().filter(|member| !member.is_host) {
                let found = addresses(member.ipv4.as_ref(), member.ipv6.as_ref());
                let of_member = places.entry(member.name.clone()).or_default();
                of_member.insert(network.0.to_owned(), found);
            }
        }
        for host in &hosts {
            let name = host.facts.name.to_string();
            places.insert(name, places_of(&host.facts.networks));
        }
        Self { hosts, places }
    }

    /// Returns the names of a machine: its hostname, and its name in the fleet.
    fn names<'n>(&'n self, name: &'n str) -> Vec<&'n str> {
        let host = self
            .hosts
            .binary_search_by(|host| host.facts.name.as_str().cmp(name));
        let hostname = host.map_or(name, |at| self.hosts[at].hostname());
        if hostname == name {
            vec![name]
        } else {
            vec![hostname, name]
        }
    }
}

/// The names that one network sees.
#[derive(Default)]
struct View {
    /// The addresses of each name.
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The addresses of all names below a domain.
    domains: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The first name of each address, which a reverse question gets.
    first: BTreeMap<IpAddr, String>,
}

impl View {
    fn of(
        spec: &DnsSpec,
        network: &str,
        directory: &Directory<'_>,
        context: &ExpandContext<'_>,
    ) -> Result<Self, Problem> {
        let mut view = Self::default();
        let domain = context.domain();
        let full = |name: &str| match domain {
            Some(domain) if !name.contains('.') => format!("{name}.{domain}"),
            _ => name.to_owned(),
        };
        // The network that asks comes first, then the others in which the server answers.
        let order = || {
            let others = spec.on.iter().map(String::as_str);
            std::iter::once(network).chain(others.filter(move |one| *one != network))
        };
        for (machine, places) in &directory.places {
            let here = order().find_map(|network| places.get(network));
            let names = directory.names(machine);
            for name in &names {
                for address in here.into_iter().flatten() {
                    view.first.entry(*address).or_insert_with(|| full(name));
                    view.add(&full(name), *address);
                    view.add(name, *address);
                }
                for (network, found) in places {
                    if let Some(domain) = domain.filter(|_| !name.contains('.')) {
                        for address in found {
                            view.add(&format!("{name}.{network}.{domain}"), *address);
                        }
                    }
                }
            }
        }
        for (name, alias) in context.aliases(network) {
            for address in addresses(alias.ipv4.as_ref(), alias.ipv6.as_ref()) {
                view.add(&full(&name), address);
                view.add(&name, address);
            }
        }
        for host in &directory.hosts {
            let Some(places) = directory.places.get(host.facts.name.as_str()) else {
                continue;
            };
            for (name, published) in &host.host.spec.publish {
                let here = order()
                    .filter(|network| published.on.includes(network))
                    .find_map(|network| places.get(network));
                for address in here.into_iter().flatten() {
                    view.add(name, *address);
                }
            }
        }
        for (name, target) in &spec.records {
            let found = match (target.parse(), directory.places.get(target)) {
                (Ok(address), _) => BTreeSet::from([address]),
                (Err(_), Some(places)) => {
                    let here = order().find_map(|network| places.get(network));
                    here.cloned().ok_or_else(|| no_address(target, &spec.on))?
                }
                (Err(_), None) => return Err(unknown(target, directory)),
            };
            view.set(name, found);
        }
        Ok(view)
    }

    /// Adds an address of a name, or of all names below a domain if the name begins with `*.`.
    fn add(&mut self, name: &str, address: IpAddr) {
        let addresses = match name.strip_prefix("*.") {
            Some(domain) => self.domains.entry(domain.to_ascii_lowercase()),
            None => self.names.entry(name.to_ascii_lowercase()),
        };
        addresses.or_default().insert(address);
    }

    /// Sets the addresses of a name, whatever else stands for it.
    fn set(&mut self, name: &str, addresses: BTreeSet<IpAddr>) {
        match name.strip_prefix("*.") {
            Some(domain) => self.domains.insert(domain.to_ascii_lowercase(), addresses),
            None => self.names.insert(name.to_ascii_lowercase(), addresses),
        };
    }

    /// Returns the file of names. dnsmasq answers a reverse question with the first name of an address.
    fn hosts(&self) -> String {
        let mut text = String::from("# Written by plumb.\n");
        let mut by_address: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        for (name, addresses) in &self.names {
            for address in addresses {
                by_address.entry(*address).or_default().push(name);
            }
        }
        for (address, mut names) in by_address {
            let first = self
                .first
                .get(&address)
                .map(|name| name.to_ascii_lowercase());
            names.sort_by_key(|name| (Some(*name) != first.as_deref(), *name));
            let _ = writeln!(text, "{address} {}", names.join(" "));
        }
        text
    }
}

/// Creates the problem of a record whose host no network of the server has.
fn no_address(target: &str, on: &[String]) -> Problem {
    Problem {
        field: "records",
        message: format!("`{target}` has no address in {}", on.join(", ")),
        hint: "add a network that both are in to `on`".to_owned(),
    }
}

fn unknown(target: &str, directory: &Directory<'_>) -> Problem {
    let names = directory.places.keys().map(String::as_str);
    Problem {
        field: "records",
        message: format!("the fleet has no host or member `{target}`"),
        hint: match closest(target, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the name of a host, or an address".to_owned(),
        },
    }
}

fn content(spec: &DnsSpec, view: &View, hosts: &str) -> String {
    let mut text =
        format!("# Written by plumb.\nno-hosts\naddn-hosts={hosts}\ndomain-needed\nbogus-priv\n");
    if !spec.upstreams.is_empty() {
        text.push_str("no-resolv\n");
    }
    for server in &spec.upstreams {
        let _ = match server.parse::<SocketAddr>() {
            Ok(server) => writeln!(text, "server={}#{}", server.ip(), server.port()),
            Err(_) => writeln!(text, "server={server}"),
        };
    }
    for domain in &spec.local {
        let _ = writeln!(text, "local=/{domain}/");
    }
    for (domain, addresses) in &view.domains {
        let _ = writeln!(text, "local=/{domain}/");
        for address in addresses {
            let _ = writeln!(text, "address=/{domain}/{address}");
        }
    }
    text
}
