//! A host's place in a network, for the composites that make its interface.

use ipnet::IpNet;
use plumb_api::kind::{Assign, NetworkType};
use plumb_api::resource::Problem;
use plumb_api::{AnyAddress, CompositeAddress, CompositeKind};

use super::ExpandContext;
use crate::compose::{Piece, Priority, Scope};
use crate::manifest::{HostFacts, HostNetwork, Manifests, MemberFact, Network, ObjectId};

/// A host's place in a network, and the other members.
pub(super) struct Membership<'a> {
    /// The host's name.
    pub(super) name: &'a str,
    pub(super) network: &'a Network,
    pub(super) own: &'a HostNetwork,
    pub(super) members: &'a [MemberFact],
    /// The subnets of the host's other networks.
    pub(super) beside: Vec<IpNet>,
}

/// Returns the subnets of the local networks that the host is in beside the named one.
fn beside(context: &ExpandContext<'_>, name: &str) -> Vec<IpNet> {
    let others = context
        .facts
        .networks
        .keys()
        .filter(|other| ***other != *name);
    let networks = others.filter_map(|other| context.manifests.networks.get(other)?.as_ref().ok());
    networks
        .filter(|network| network.spec.network_type == NetworkType::Lan)
        .flat_map(|network| network.subnets())
        .collect()
}

impl<'a> Membership<'a> {
    /// Returns the host's place in the network of this name; `None` if the network or a host that may be in it has
    /// errors, which is recorded in `reads`.
    pub(super) fn of(context: &ExpandContext<'a>, name: &str) -> Result<Option<Self>, Problem> {
        let Some(own) = context.facts.networks.get(name) else {
            return Err(Problem {
                field: "",
                message: format!("the host isn't in the network `{name}`"),
                hint: format!("add `{name}` under `networks`, or remove this"),
            });
        };
        let facts = &context.manifests.facts;
        let (Some(Ok(network)), Some(Ok(known))) = (
            context.manifests.networks.get(name),
            facts.networks.get(name),
        ) else {
            context.reads.hold([ObjectId::Network(name.into())]);
            return Ok(None);
        };
        let may_be_in = |id: &ObjectId| match id {
            ObjectId::Host(host) => match context.manifests.hosts.get(host) {
                Some(Ok(host)) => host.spec.networks.contains_key(name),
                _ => true,
            },
            _ => false,
        };
        let unknown: Vec<ObjectId> = facts.unknown().filter(may_be_in).collect();
        if !unknown.is_empty() {
            context.reads.hold(unknown);
            return Ok(None);
        }
        Ok(Some(Self {
            name: context.facts.name.as_str(),
            network,
            own,
            members: &known.members,
            beside: beside(context, name),
        }))
    }

    /// Returns the host's addresses with the lengths of the subnets' prefixes.
    pub(super) fn addresses(&self) -> Vec<String> {
        let v4 = self.network.v4.map_or(32, |net| net.prefix_len());
        let v6 = self.network.v6.map_or(128, |net| net.prefix_len());
        let v4 = self.own.ipv4.iter().map(|one| format!("{one}/{v4}"));
        let v6 = self.own.ipv6.iter().map(|one| format!("{one}/{v6}"));
        v4.chain(v6).collect()
    }
}

/// Returns the composites that follow from a host's networks, as pieces without fields.
pub(crate) fn implied(manifests: &Manifests, facts: &HostFacts) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (name, own) in &facts.networks {
        let Some(Ok(network)) = manifests.networks.get(name) else {
            continue;
        };
        let kind = match network.spec.network_type {
            NetworkType::Wireguard if own.is_peer() => CompositeKind::Wireguard,
            NetworkType::Lan if own.assign == Some(Assign::Static) => CompositeKind::Interface,
            _ => continue,
        };
        let Ok(address) = CompositeAddress::new(kind, name) else {
            continue;
        };
        let scope = Scope {
            by: format!("network {name}").into(),
            instance: None,
        };
        pieces.push(Piece::new(
            AnyAddress::Composite(address),
            Priority::Defaults,
            network.node.span.clone(),
            std::sync::Arc::default(),
            std::sync::Arc::new(scope),
        ));
    }
    pieces
}
