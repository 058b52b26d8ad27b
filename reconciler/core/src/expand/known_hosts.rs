//! `knownHosts`: expands into the file of the fleet's SSH host keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use plumb_api::resource::KnownHostsSpec;

use super::context::FleetHost;
use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// Expands each resource into the same file, which contains the lines of all resources.
pub(super) fn expand(
    all: &[TypedResource<'_, KnownHostsSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let lines = context.once(&context.manifests.of_fleet.known_hosts, |fleet| {
        lines(fleet, context).into()
    });
    let extra = all.iter().flat_map(|one| &one.spec.extra);
    let text = with_extra(lines, extra);
    each(all, |_| {
        vec![Part::root_file("/etc/ssh/ssh_known_hosts").shared("content", &text)]
    })
}

/// Returns the text with more lines at its end, each once.
pub(super) fn with_extra<'e>(text: &Arc<str>, extra: impl Iterator<Item = &'e String>) -> Arc<str> {
    let extra: BTreeSet<&String> = extra.collect();
    if extra.is_empty() {
        return text.clone();
    }
    let lines = extra.into_iter().flat_map(|line| [line.as_str(), "\n"]);
    let all: String = std::iter::once(&**text).chain(lines).collect();
    all.into()
}

/// Returns the file's lines about the fleet.
fn lines(fleet: &[FleetHost<'_>], context: &ExpandContext<'_>) -> String {
    let mut text = String::from("# Written by plumb.\n");
    for host in fleet {
        let names: Vec<String> = names(host, context).into_iter().collect();
        for key in &host.host.spec.host_keys {
            // A comment at the end of a pinned key is left out.
            let key: Vec<&str> = key.split_whitespace().take(2).collect();
            let _ = writeln!(text, "{} {}", names.join(","), key.join(" "));
        }
    }
    text
}

/// Returns the names and static addresses under which SSH may know a host, including `[NAME]:PORT` for ports
/// other than 22.
fn names(host: &FleetHost<'_>, context: &ExpandContext<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::from([
        host.facts.name.as_str().to_owned(),
        host.hostname().to_owned(),
    ]);
    if let Some(domain) = context.domain().filter(|_| !host.hostname().contains('.')) {
        names.insert(format!("{}.{domain}", host.hostname()));
    }
    for (name, network) in &host.facts.networks {
        if !context.is_overlay(name) {
            names.extend(
                [&network.ipv4, &network.ipv6]
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
        }
    }
    names.extend(
        host.host
            .spec
            .connect
            .iter()
            .filter_map(|way| way.address.clone()),
    );
    let mut ports: BTreeSet<u16> = host
        .host
        .spec
        .connect
        .iter()
        .filter_map(|way| way.port)
        .collect();
    let ssh = host
        .facts
        .endpoints
        .iter()
        .filter(|endpoint| &*endpoint.name == "ssh");
    ports.extend(ssh.flat_map(|endpoint| endpoint.spec.ports.iter().map(|port| port.first)));
    ports.remove(&22);
    let with_ports: Vec<String> = ports
        .iter()
        .flat_map(|port| names.iter().map(move |name| format!("[{name}]:{port}")))
        .collect();
    names.extend(with_ports);
    names
}
