//! `firewall`: adds the ports of endpoints, of WireGuard and of forwards, replaces networks by the host's
//! interfaces, and keeps a way in for Plumb itself.

use plumb_api::kind::{EndpointOn, Protocol};
use plumb_api::resource::{FirewallSpec, Opening, Presence, Problem, Zone};

use super::{ExpandContext, forward};

/// Completes the spec of a host's firewall.
pub(super) fn complete(
    spec: &FirewallSpec,
    context: &ExpandContext<'_>,
) -> Result<FirewallSpec, Vec<Problem>> {
    let mut spec = spec.clone();
    if spec.state == Presence::Present {
        spec.open.extend(endpoints(context));
        spec.open.extend(hubs(context));
        spec.forwards.extend(forward::ports(context));
    }
    let spec = spec
        .with_interfaces(|field, network| context.interface(field, network))
        .map_err(|problem| vec![problem])?;
    match lock_out(&spec, &context.connect_ports()) {
        Some(problem) => Err(vec![problem]),
        None => Ok(spec),
    }
}

/// Returns the ports of the host's endpoints. An endpoint of loopback, or of networks that the host isn't in, opens
/// none.
fn endpoints<'a>(context: &'a ExpandContext<'_>) -> impl Iterator<Item = Opening> + 'a {
    let is_here = |zone: &&Zone| match zone {
        Zone::Network(name) => context.facts.networks.contains_key(name.as_str()),
        Zone::Interface(_) => true,
    };
    context.facts.endpoints.iter().filter_map(move |endpoint| {
        let spec = &endpoint.spec;
        let on: Vec<Zone> = spec.on.zones().iter().filter(is_here).cloned().collect();
        let reachable = spec.on == EndpointOn::Everywhere || !on.is_empty();
        (reachable && !spec.ports.is_empty()).then(|| Opening {
            ports: spec.ports.clone(),
            protocol: spec.protocol.clone(),
            on,
            from: Vec::new(),
        })
    })
}

/// Returns the ports at which this host is the hub of a network: they are open in each of its other networks whose
/// interface is known, but for overlays.
fn hubs<'a>(context: &'a ExpandContext<'_>) -> impl Iterator<Item = Opening> + 'a {
    let networks = context.manifests.networks.values().flatten();
    networks.filter_map(move |network| {
        let star = network.spec.wireguard.as_ref()?;
        if star.hub != context.facts.name.as_str() {
            return None;
        }
        let others = context.facts.networks.iter().filter(|(name, own)| {
            **name != network.name && own.interface.is_some() && !context.is_overlay(name)
        });
        let on: Vec<Zone> = others
            .map(|(name, _)| Zone::Network(name.to_string()))
            .collect();
        (!on.is_empty()).then(|| Opening {
            ports: vec![star.port.into()],
            protocol: vec![Protocol::Udp],
            on,
            from: Vec::new(),
        })
    })
}

/// Returns the problem of a firewall that lets no connection to any of Plumb's own SSH ports in.
fn lock_out(spec: &FirewallSpec, ports: &[u16]) -> Option<Problem> {
    if ports.is_empty() || ports.iter().any(|port| spec.lets_in(*port)) {
        return None;
    }
    let all: Vec<String> = ports.iter().map(u16::to_string).collect();
    let all = all.join(", ");
    Some(Problem {
        field: "open",
        message: format!(
            "it would lock Plumb out, which connects to the TCP port {all} of this host"
        ),
        hint: format!(
            "add `open: [{{ports: [{all}]}}]`, or put the network that Plumb connects from into `trusted`"
        ),
    })
}
