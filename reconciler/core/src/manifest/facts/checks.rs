//! Checks across hosts for identities that two hosts claim, and reads the addresses of Alertmanagers.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::{AlertmanagerUrl, HostName};
use plumb_document::{Diagnostic, Span, closest};

use super::{Facts, HostFacts, place};
use crate::manifest::{Manifests, code};

/// Checks that each `uid` and each former name belongs to one host, and that no former name is still in use.
pub(super) fn identities(manifests: &Manifests, facts: &mut Facts) {
    let mut uids: BTreeMap<&str, (&HostName, &Span)> = BTreeMap::new();
    let mut former: BTreeMap<&HostName, (&HostName, &Span)> = BTreeMap::new();
    let mut wrong: Vec<(HostName, Diagnostic)> = Vec::new();
    for (name, host) in manifests
        .hosts
        .iter()
        .filter_map(|(name, entry)| Some((name, entry.as_ref().ok()?)))
    {
        if let Some(uid) = &host.spec.uid {
            let span = place(&host.statics, &["uid"]);
            if let Some((other, first)) = uids.insert(uid, (name, span)) {
                let diagnostic = Diagnostic::error(
                    plumb_document::codes::INVALID_VALUE,
                    span,
                    format!("`{other}` has the same uid"),
                )
                .related(first, "here")
                .hint("enroll the newer host again: a uid belongs to one host for ever");
                wrong.push((other.clone(), diagnostic.clone()));
                wrong.push((name.clone(), diagnostic));
            }
        }
        for old in &host.spec.formerly {
            let span = place(&host.statics, &["formerly"]);
            let clash = match former.insert(old, (name, span)) {
                Some((other, _)) => Some(format!("`{old}` is a former name of `{other}` too")),
                None if manifests.hosts.contains_key(old) => Some(format!(
                    "`{old}` is listed in `formerly`, but still is a host"
                )),
                None => None,
            };
            if let Some(message) = clash {
                let diagnostic =
                    Diagnostic::error(plumb_document::codes::INVALID_VALUE, span, message)
                        .hint("remove one of the two: a rename moves the file and lists the old name in `formerly`");
                wrong.push((name.clone(), diagnostic));
            }
        }
    }
    for (name, diagnostic) in wrong {
        let Some(known) = facts.hosts.get_mut(&name) else {
            continue;
        };
        match known {
            Ok(host) => {
                facts.labels.insert(name, host.labels.clone());
                *known = Err(diagnostic.into());
            }
            Err(problems) => problems.diagnostics.push(diagnostic),
        }
    }
}

/// Adds the addresses of the Alertmanagers in fleet.yaml to the facts.
pub(super) fn alertmanagers(manifests: &Manifests, facts: &mut Facts) {
    let Ok(fleet) = &manifests.fleet else { return };
    for (at, one) in fleet.spec.alertmanagers.iter().enumerate() {
        let node = fleet
            .alertmanagers
            .as_ref()
            .and_then(|list| list.as_seq()?.get(at));
        let span = node.map_or_else(|| Span::of_file("fleet.yaml"), |node| node.span.clone());
        if let Some(url) = &one.url {
            if url.starts_with("http://") || url.starts_with("https://") {
                facts.alertmanagers.push(AlertmanagerUrl::new(url));
            } else {
                facts.diagnostics.push(
                    Diagnostic::error(
                        plumb_document::codes::INVALID_VALUE,
                        &span,
                        format!(
                            "`{}` isn't the address of an Alertmanager",
                            AlertmanagerUrl::new(url)
                        ),
                    )
                    .hint("write it like http://192.0.2.3:9093"),
                );
            }
        }
        if let Some(to) = &one.to {
            match endpoint_address(facts, to) {
                Ok(address) => {
                    let url =
                        address.map(|address| AlertmanagerUrl::new(format!("http://{address}")));
                    facts.alertmanagers.extend(url);
                }
                Err(message) => {
                    let near =
                        closest(to, names(facts).iter().map(String::as_str)).map(str::to_owned);
                    let diagnostic = Diagnostic::error(code::UNKNOWN_REFERENCE, &span, message);
                    facts.diagnostics.push(match near {
                        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                        None => diagnostic.hint(
                            "write HOST/INSTANCE.NAME, or HOST/NAME for one of the host itself",
                        ),
                    });
                }
            }
        }
    }
}

/// Returns the name by which manifests refer to an endpoint: `HOST/NAME` or `HOST/INSTANCE.NAME`.
fn name_of(host: &HostFacts, endpoint: &super::EndpointFact) -> String {
    if endpoint.instance.is_empty() {
        format!("{}/{}", host.name, endpoint.name)
    } else {
        format!("{}/{}.{}", host.name, endpoint.instance, endpoint.name)
    }
}

fn names(facts: &Facts) -> Vec<String> {
    facts
        .hosts
        .values()
        .flatten()
        .flat_map(|host: &Arc<HostFacts>| {
            host.endpoints
                .iter()
                .map(|endpoint| name_of(host, endpoint))
        })
        .collect()
}

/// Returns the address and port of the endpoint `to`; `None` if its host has errors, which are reported for
/// that host.
///
/// # Errors
/// Returns the reason if there is no such endpoint or it has no address.
pub(crate) fn endpoint_address(facts: &Facts, to: &str) -> Result<Option<String>, String> {
    let Some((host, _)) = to.split_once('/') else {
        return Err(format!("`{to}` isn't an endpoint"));
    };
    let Some((_, known)) = facts.hosts.iter().find(|(name, _)| name.as_str() == host) else {
        let near = closest(host, facts.hosts.keys().map(HostName::as_str));
        return Err(match near {
            Some(near) => format!("unknown host `{host}`; did you mean `{near}`?"),
            None => format!("unknown host `{host}`"),
        });
    };
    let Ok(facts) = known else { return Ok(None) };
    let Some(endpoint) = facts
        .endpoints
        .iter()
        .find(|endpoint| name_of(facts, endpoint) == to)
    else {
        return Err(format!("`{host}` has no such endpoint"));
    };
    let port = endpoint
        .spec
        .ports
        .first()
        .ok_or_else(|| format!("the endpoint `{to}` has no port"))?;
    let address = facts
        .address_of(endpoint, None)
        .ok_or_else(|| format!("`{host}` has no address in the networks of this endpoint"))?;
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address
    };
    Ok(Some(format!("{address}:{}", port.first)))
}
