//! `firewall`: replaces networks by the host's interfaces, and keeps a way in for Plumb itself.

use plumb_api::resource::{FirewallSpec, Problem};

use super::ExpandContext;

/// Completes the spec of a host's firewall.
pub(super) fn complete(
    spec: &FirewallSpec,
    context: &ExpandContext<'_>,
) -> Result<FirewallSpec, Vec<Problem>> {
    let spec = spec
        .with_interfaces(|field, network| context.interface(field, network))
        .map_err(|problem| vec![problem])?;
    match lock_out(&spec, &context.connect_ports()) {
        Some(problem) => Err(vec![problem]),
        None => Ok(spec),
    }
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
