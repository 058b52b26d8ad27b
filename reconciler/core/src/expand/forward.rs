//! `forward` of a Host: ports that its firewall sends to endpoints of other machines.

use std::collections::BTreeMap;

use plumb_api::kind::Protocol;
use plumb_api::resource::{PortForward, Zone};
use plumb_api::{Address, Kind};
use plumb_document::{Diagnostic, Node, codes};

use super::ExpandContext;
use crate::manifest::{Consumer, NoTarget, ObjectId, Problems, Target, code, target};

/// Returns the forwards whose endpoints are known. [`check`] reports the others.
pub(super) fn ports(context: &ExpandContext<'_>) -> Vec<PortForward> {
    let all = context.host.spec.forward.values();
    all.filter_map(|forward| {
        let Target {
            address,
            port,
            protocol,
        } = reached(context, &forward.to).ok()??;
        Some(PortForward {
            from: forward.from.clone(),
            port: forward.port,
            protocol,
            to: address.parse().ok()?,
            to_port: port,
        })
    })
    .collect()
}

fn reached(context: &ExpandContext<'_>, to: &str) -> Result<Option<Target>, NoTarget> {
    let consumer = Consumer::Host {
        host: context.facts,
        on: None,
    };
    target(&context.manifests.facts, to, consumer)
}

/// Checks a host's forwards. `is_there` returns whether the host has a resource.
pub(crate) fn check(context: &ExpandContext<'_>, is_there: impl Fn(&Address) -> bool) -> Problems {
    let mut problems = Problems::default();
    let forwards = &context.host.spec.forward;
    let tree = context.host.statics.get("forward");
    let firewall = Address::new(Kind::Firewall, "main");
    let mut taken: BTreeMap<(&Zone, u16, Protocol), &str> = BTreeMap::new();
    for (name, forward) in forwards {
        let entry = tree.and_then(|tree| tree.get(name));
        let place = |field: &str| {
            let field = entry.and_then(|entry| entry.get(field));
            field
                .or(entry)
                .map_or(&context.host.span, |node: &Node| &node.span)
        };
        let mut wrong = |code, field: &str, message: String, hint: &str| {
            let diagnostic = Diagnostic::error(code, place(field), message).hint(hint);
            problems.diagnostics.push(diagnostic);
        };
        if !firewall.as_ref().is_ok_and(&is_there) {
            wrong(
                code::UNKNOWN_REFERENCE,
                "",
                format!("the forward `{name}` needs `firewall:main`, which the host doesn't have"),
                "add `firewall: {main: {}}` to the host's resources",
            );
        }
        if forward.reason.trim().is_empty() {
            wrong(
                codes::INVALID_VALUE,
                "reason",
                format!("the forward `{name}` has no reason"),
                "say why the port is open to others",
            );
        }
        if forward.port == 0 {
            wrong(
                codes::INVALID_VALUE,
                "port",
                "0 isn't a port".to_owned(),
                "write a port from 1 to 65535",
            );
        }
        match reached(context, &forward.to) {
            Err(NoTarget { message, hint }) => {
                wrong(code::UNKNOWN_REFERENCE, "to", message, &hint);
            }
            Ok(None) => {
                let host = forward
                    .to
                    .split('/')
                    .next()
                    .and_then(|one| one.parse().ok());
                problems.because.extend(host.map(ObjectId::Host));
            }
            Ok(Some(found)) => {
                for protocol in found.protocol {
                    let key = (&forward.from, forward.port, protocol);
                    if let Some(first) = taken.insert(key, name) {
                        wrong(
                            code::PORT,
                            "port",
                            format!(
                                "the forward `{name}` has the {} port {} of `{first}`",
                                protocol.as_str(),
                                forward.port
                            ),
                            "choose another port",
                        );
                    }
                }
            }
        }
    }
    problems
}
