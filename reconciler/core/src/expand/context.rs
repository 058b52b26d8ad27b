//! The facts that the expansion of a composite may read besides its spec.

use std::sync::Arc;

use plumb_api::HostName;
use plumb_api::kind::{HostState, NetworkType, OsFamily};
use plumb_api::resource::Problem;

use crate::manifest::{
    Consumer, EndpointFact, Host, HostFacts, HostNetwork, Manifests, ObjectId, SSH_PORT, Target,
    target,
};
use crate::render::BrokenReads;

/// The host whose composites are expanded, and its fleet, as the manifests describe them.
#[derive(Clone, Copy)]
pub(crate) struct ExpandContext<'a> {
    pub(crate) manifests: &'a Manifests,
    pub(crate) host: &'a Host,
    pub(crate) facts: &'a HostFacts,
    /// Records the objects with errors whose facts an expander requests. The host is held because of them.
    pub(crate) reads: &'a BrokenReads,
}

/// A host of the fleet whose facts are known.
pub(super) struct FleetHost<'a> {
    pub(super) facts: &'a HostFacts,
    pub(super) host: &'a Host,
}

impl<'a> ExpandContext<'a> {
    /// Returns the host's name. It includes the domain only if `hostname` in the manifest does.
    pub(super) fn hostname(&self) -> &'a str {
        hostname(self.facts, self.host)
    }

    /// Returns the fleet's domain.
    pub(super) fn domain(&self) -> Option<&'a str> {
        self.manifests.facts.domain.as_deref()
    }

    /// Returns the major version of Debian that the manifest names; `None` if it names none or another
    /// system.
    pub(super) fn debian(&self) -> Option<u32> {
        let os = self.host.spec.os.as_ref();
        let debian = os.filter(|os| os.family == OsFamily::Debian)?;
        debian.release.as_deref()?.split('.').next()?.parse().ok()
    }

    /// True if the manifest says that the host runs this release of Debian or a newer one.
    pub(super) fn is_debian(&self, release: u32) -> bool {
        self.debian().is_some_and(|known| known >= release)
    }

    /// Returns the users as which Plumb connects to the host.
    pub(super) fn connect_users(&self) -> impl Iterator<Item = &'a str> {
        let ways = self.host.spec.connect.iter();
        ways.map(|way| way.user.as_deref().unwrap_or("root"))
    }

    /// Returns the name of the host's interface in a network that a field refers to.
    pub(super) fn interface(&self, field: &'static str, name: &str) -> Result<String, Problem> {
        let Some(network) = self.facts.networks.get(name) else {
            return Err(Problem {
                field,
                message: format!("the host isn't in the network `{name}`"),
                hint: format!("add `{name}` under `networks`, or write `interface:NAME`"),
            });
        };
        network.interface.clone().ok_or_else(|| Problem {
            field,
            message: format!(
                "the manifest doesn't name the host's interface in the network `{name}`"
            ),
            hint: format!(
                "set `networks: {{{name}: {{interface: NAME}}}}`, or write `interface:NAME`"
            ),
        })
    }

    /// Returns the ports of the host that Plumb connects to.
    pub(super) fn connect_ports(&self) -> Vec<u16> {
        let ports = self.host.spec.connect.iter().map(|way| {
            let named =
                |endpoint: &&EndpointFact| way.endpoint.as_ref() == Some(&endpoint.local_name());
            let endpoint = self.facts.endpoints.iter().find(named);
            let first = endpoint.and_then(|endpoint| endpoint.spec.ports.first());
            way.port
                .or(first.map(|port| port.first))
                .unwrap_or(SSH_PORT)
        });
        let mut ports: Vec<u16> = ports.collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns the host's addresses in these networks. Fails if the host has no address in one of them.
    pub(super) fn addresses(&self, on: &[String]) -> Result<Vec<String>, Problem> {
        let mut all = Vec::new();
        for name in on {
            let network = self.facts.networks.get(name.as_str());
            let before = all.len();
            let both = network.map(|network| [&network.ipv4, &network.ipv6]);
            all.extend(both.into_iter().flatten().flatten().cloned());
            if all.len() == before {
                return Err(Problem {
                    field: "on",
                    message: format!("the host has no address in the network `{name}`"),
                    hint: "add it under `networks`, with an `id`".to_owned(),
                });
            }
        }
        Ok(all)
    }

    /// Returns the `ADDRESS:PORT` to listen on. If `on` is exactly one network, it is the host's address
    /// there; otherwise the address is left out, which means all interfaces.
    pub(super) fn listen(&self, on: &[String], port: u16) -> Result<String, Problem> {
        self.addresses(on)?;
        let address = match on {
            [one] => self
                .facts
                .networks
                .get(one.as_str())
                .and_then(HostNetwork::address),
            _ => None,
        };
        Ok(match address {
            Some(address) if address.contains(':') => format!("[{address}]:{port}"),
            Some(address) => format!("{address}:{port}"),
            None => format!(":{port}"),
        })
    }

    /// Returns all hosts of the fleet except retired hosts, in order of name. Hosts with errors are recorded
    /// in `reads`.
    pub(super) fn fleet(&self, reads: &BrokenReads) -> Vec<FleetHost<'a>> {
        let mut known = Vec::new();
        for (name, facts) in &self.manifests.facts.hosts {
            match (facts, self.manifests.hosts.get(name)) {
                (Ok(facts), Some(Ok(host))) if facts.state != HostState::Retired => {
                    known.push(FleetHost { facts, host });
                }
                (Ok(_), Some(Ok(_))) => {}
                _ => reads.hold([ObjectId::Host(name.clone())]),
            }
        }
        known
    }

    /// Returns an endpoint as this host reaches it, over the networks `on` if they are given; `None` if the
    /// endpoint's host has errors, which is recorded in `reads`.
    pub(super) fn target(
        &self,
        field: &'static str,
        to: &str,
        on: Option<&[String]>,
    ) -> Result<Option<Target>, Problem> {
        let consumer = Consumer::Host {
            host: self.facts,
            on,
        };
        let found = target(&self.manifests.facts, to, consumer);
        let found = found.map_err(|wrong| Problem {
            field,
            message: wrong.message,
            hint: wrong.hint,
        })?;
        let host = to
            .split('/')
            .next()
            .and_then(|name| name.parse::<HostName>().ok());
        if let (None, Some(host)) = (&found, host) {
            self.reads.hold([ObjectId::Host(host)]);
        }
        Ok(found)
    }

    /// Returns the `ADDRESS:PORT` at which this host reaches an endpoint; see [`Self::target`].
    pub(super) fn endpoint(
        &self,
        field: &'static str,
        to: &str,
    ) -> Result<Option<String>, Problem> {
        let target = self.target(field, to, None)?;
        Ok(target.map(|target| target.to_string()))
    }

    /// True if the network is an overlay, whose addresses another system assigns.
    pub(super) fn is_overlay(&self, network: &str) -> bool {
        let known = self.manifests.networks.get(network);
        known.is_some_and(|known| {
            known
                .as_ref()
                .is_ok_and(|network| network.spec.network_type == NetworkType::Overlay)
        })
    }

    /// Returns the repository's files that match a path, in which `*` stands for anything but `/`.
    pub(super) fn files(&self, path: &str) -> Vec<Arc<str>> {
        let Some((before, after)) = path.split_once('*') else {
            return vec![Arc::from(path)];
        };
        let matching = |file: &&Arc<str>| {
            let middle = file
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after));
            middle.is_some_and(|middle| !middle.contains('/'))
        };
        self.manifests
            .files
            .keys()
            .filter(matching)
            .cloned()
            .collect()
    }
}

impl FleetHost<'_> {
    /// Returns the host's name. It includes the domain only if `hostname` in the manifest does.
    pub(super) fn hostname(&self) -> &str {
        hostname(self.facts, self.host)
    }
}

fn hostname<'a>(facts: &'a HostFacts, host: &'a Host) -> &'a str {
    host.spec.hostname.as_deref().unwrap_or(facts.name.as_str())
}
