//! Checks across hosts for identities that two hosts claim, and reads the addresses of Alertmanagers.

use std::collections::BTreeMap;

use plumb_api::{AlertmanagerUrl, HostName};
use plumb_document::{Diagnostic, Span};

use super::endpoint::{Consumer, NoTarget, Target, target};
use super::{Facts, place};
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
    hold(facts, wrong);
}

/// Adds errors to hosts, whose facts become unknown.
fn hold(facts: &mut Facts, wrong: Vec<(HostName, Diagnostic)>) {
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

/// Checks that no two endpoints of a host have the same port in the same network.
pub(super) fn ports(facts: &mut Facts) {
    let mut wrong: Vec<(HostName, Diagnostic)> = Vec::new();
    for host in facts.hosts.values().flatten() {
        for (at, endpoint) in host.endpoints.iter().enumerate() {
            for first in &host.endpoints[..at] {
                let Some((port, protocol)) = first.clash(endpoint) else {
                    continue;
                };
                let diagnostic = Diagnostic::error(
                    code::PORT,
                    &endpoint.span,
                    format!(
                        "the endpoint `{}` has the {} port {port} of `{}`",
                        endpoint.local_name(),
                        protocol.as_str(),
                        first.local_name()
                    ),
                )
                .related(&first.span, "here")
                .hint("choose another port, or offer them in different networks");
                wrong.push((host.name.clone(), diagnostic));
            }
        }
    }
    hold(facts, wrong);
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
            let url = |target: Target| AlertmanagerUrl::new(format!("http://{target}"));
            match target(facts, to, Consumer::Controller).map(|target| target.map(url)) {
                Ok(url) => facts.alertmanagers.extend(url),
                Err(NoTarget { message, hint }) => facts
                    .diagnostics
                    .push(Diagnostic::error(code::UNKNOWN_REFERENCE, &span, message).hint(hint)),
            }
        }
    }
}
