//! Computes the routes to a host (addresses, ports and users) from its manifest and its networks.

use plumb_document::{Diagnostic, closest};

use crate::desired::Endpoint;
use crate::manifest::{
    Consumer, EndpointFact, Host, HostFacts, Manifests, Problems, SSH_PORT, code,
};

/// The user to connect as by default.
const USER: &str = "root";

/// Returns the routes to a host in the manifest's order, without duplicates.
pub(super) fn routes(
    manifests: &Manifests,
    host: &Host,
    facts: &HostFacts,
) -> Result<Vec<Endpoint>, Problems> {
    let mut problems = Problems::default();
    let mut routes: Vec<Endpoint> = Vec::new();
    let nodes = host
        .statics
        .get("connect")
        .and_then(|list| list.as_seq())
        .unwrap_or_default();
    for (at, way) in host.spec.connect.iter().enumerate() {
        let node = nodes.get(at);
        let span = node.map_or(&host.span, |node| &node.span);
        let from_defaults = span.file() != &host.file;
        let user = way.user.clone().unwrap_or_else(|| USER.to_owned());
        let mut add = |address: String, port: u16| {
            let route = Endpoint {
                address,
                port,
                user: user.clone(),
            };
            if !routes.contains(&route) {
                routes.push(route);
            }
        };
        if let Some(address) = &way.address {
            add(address.clone(), way.port.unwrap_or(SSH_PORT));
        }
        if let Some(network) = &way.network {
            match facts
                .networks
                .get(network.as_str())
                .map(crate::manifest::HostNetwork::address)
            {
                Some(Some(address)) => add(address, way.port.unwrap_or(SSH_PORT)),
                // A route in the fleet's defaults applies only to hosts that have an address in its network.
                _ if from_defaults => {}
                Some(None) => problems.diagnostics.push(
                    Diagnostic::error(
                        code::CONNECT,
                        span,
                        format!("the host has no address in the network `{network}`"),
                    )
                    .hint("give it an `id` in that network"),
                ),
                None => {
                    let diagnostic = Diagnostic::error(
                        code::CONNECT,
                        span,
                        format!("the host isn't in the network `{network}`"),
                    );
                    let near = closest(network, manifests.networks.keys().map(|name| &**name));
                    problems
                        .diagnostics
                        .push(match near.filter(|near| near != network) {
                            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                            None => diagnostic.hint("add it under `networks`"),
                        });
                }
            }
        }
        if let Some(wanted) = &way.endpoint {
            let found = facts
                .endpoints
                .iter()
                .find(|endpoint| endpoint.local_name() == *wanted);
            match found {
                None if from_defaults => {}
                None => {
                    let names: Vec<String> = facts
                        .endpoints
                        .iter()
                        .map(EndpointFact::local_name)
                        .collect();
                    let diagnostic = Diagnostic::error(
                        code::CONNECT,
                        span,
                        format!("the host has no endpoint `{wanted}`"),
                    );
                    problems.diagnostics.push(
                        match closest(wanted, names.iter().map(String::as_str)) {
                            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                            None => diagnostic.hint(
                                "write INSTANCE.NAME, such as sshd.ssh, or host.NAME for one of the Host object",
                            ),
                        },
                    );
                }
                Some(endpoint) => {
                    let port = endpoint
                        .spec
                        .ports
                        .first()
                        .map_or(SSH_PORT, |port| port.first);
                    facts
                        .addresses_for(endpoint, Consumer::Controller)
                        .into_iter()
                        .for_each(|address| add(address, port));
                }
            }
        }
    }
    problems.or(routes)
}
