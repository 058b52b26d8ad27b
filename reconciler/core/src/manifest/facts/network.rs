//! Networks with their members: hosts that say so in their manifests, and the network's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::HostName;
use plumb_api::kind::{HostState, NetworkMember};
use plumb_document::Diagnostic;
use serde::Serialize;

use super::address::{MemberAddresses, addresses, aliases, bad_name};
use super::members::{self, Faults};
use super::{Facts, MemberFact, NetworkFacts, place};
use crate::manifest::{Manifests, Network, ObjectId, Problems, code};

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

/// Adds all networks with their members to the facts. The facts of hosts with errors in
/// their memberships become unknown.
pub(super) fn networks(manifests: &Manifests, facts: &mut Facts) {
    let mut of_hosts: BTreeMap<HostName, Vec<Diagnostic>> = BTreeMap::new();
    let mut networks = BTreeMap::new();
    let overlaps = members::overlaps(manifests);
    for (name, entry) in &manifests.networks {
        let Ok(network) = entry else {
            networks.insert(
                name.clone(),
                Err(Problems::because(ObjectId::Network(name.clone()))),
            );
            continue;
        };
        let mut problems = Problems::default();
        problems
            .diagnostics
            .extend(overlaps.get(name).into_iter().flatten().cloned());
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
                keyless: manifest
                    .spec
                    .networks
                    .get(&**name)
                    .is_some_and(|member| member.keyless),
                routes: of.routes.clone(),
                aliases: of.aliases.clone(),
                state: host.state,
                is_host: true,
                span: span.clone(),
            });
        }
        members
            .sort_by(|a, b| (a.id.is_none(), a.id, &a.name).cmp(&(b.id.is_none(), b.id, &b.name)));
        let mut faults = Faults {
            of_hosts: &mut of_hosts,
            of_network: &mut problems.diagnostics,
        };
        members::check(manifests, network, &members, &mut faults);
        let value = crate::render::serialized(NetworkValue {
            name,
            r#type: network.spec.network_type.as_str(),
            subnets: &network.spec.subnets,
            gateway: network.spec.gateway.as_deref(),
            hub: network
                .spec
                .wireguard
                .as_ref()
                .map(|wireguard| wireguard.hub.as_str()),
            members: &members,
        });
        facts
            .diagnostics
            .extend(problems.diagnostics.iter().cloned());
        networks.insert(
            name.clone(),
            problems.or(Arc::new(NetworkFacts { members, value })),
        );
    }
    facts.networks = networks;
    for (host, diagnostics) in of_hosts {
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
            aliases: further,
        } = member;
        let span = place(&network.node, &["members", name]);
        if let Some(wrong) = bad_name(name, "member", span) {
            problems.diagnostics.push(wrong);
            continue;
        }
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
            aliases: aliases(network, further, span, problems),
            state: HostState::Unmanaged,
            is_host: false,
            span: span.clone(),
        });
    }
    members
}
