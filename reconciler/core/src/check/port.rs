//! Finds ports that two endpoints of a host use in one network.

use plumb_document::Diagnostic;

use super::HostView;
use crate::manifest::{EndpointFact, code};

/// Returns a warning for each pair of endpoints of different instances that use one port in one network.
/// Endpoints of one instance belong to one program, which may serve several things at a port.
pub(super) fn check(host: &HostView<'_>) -> Vec<Diagnostic> {
    let all = &host.facts.endpoints;
    let mut found = Vec::new();
    for (at, second) in all.iter().enumerate() {
        for first in &all[..at] {
            let Some(port) = shared_port(first, second) else {
                continue;
            };
            if first.instance == second.instance || !meet(first, second) {
                continue;
            }
            let message = format!(
                "the endpoints `{}` and `{}` both use port {port}",
                first.local_name(),
                second.local_name()
            );
            found.push(
                Diagnostic::warning(code::PORT_CONFLICT, &second.span, message)
                    .related(&first.span, "the other one")
                    .hint("give one of them another port or other networks (`on`)"),
            );
        }
    }
    found
}

/// Returns the first port that both endpoints use with the same protocol.
fn shared_port(first: &EndpointFact, second: &EndpointFact) -> Option<u16> {
    let (a, b) = (&first.spec, &second.spec);
    if !a.protocol.iter().any(|one| b.protocol.contains(one)) {
        return None;
    }
    a.ports.iter().find_map(|a| {
        let overlap = b
            .ports
            .iter()
            .find(|b| a.first <= b.last && b.first <= a.last)?;
        Some(a.first.max(overlap.first))
    })
}

/// True if both endpoints listen in one network. An endpoint that names none listens in all.
fn meet(first: &EndpointFact, second: &EndpointFact) -> bool {
    let (a, b) = (&first.spec.on, &second.spec.on);
    a.is_empty() || b.is_empty() || a.iter().any(|one| b.contains(one))
}
