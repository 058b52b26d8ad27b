//! `hosts`: expands into a block in the file of names and addresses, and in cloud-init's template of it.

use std::fmt::Write as _;
use std::sync::Arc;

use plumb_api::Kind;
use plumb_api::resource::{HostsSpec, Problem};

use super::context::FleetHost;
use super::known_hosts::with_extra;
use super::{ExpandContext, Outcome, Part, TypedResource};

/// The file, and the template from which cloud-init writes it again at each boot if it is told to.
const FILE: &str = "/etc/hosts";
const TEMPLATE: &str = "/etc/cloud/templates/hosts.debian.tmpl";

/// Expands each resource into the same block, which contains the lines of all resources.
pub(super) fn expand(
    all: &[TypedResource<'_, HostsSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    let mut networks: Vec<&str> = Vec::new();
    for name in all.iter().flat_map(|one| &one.spec.networks) {
        if !networks.contains(&name.as_str()) {
            networks.push(name);
        }
    }
    if networks.is_empty() {
        networks.extend(context.facts.networks.keys().map(|name| &**name));
    }
    let key = networks.iter().map(|&name| name.to_owned()).collect();
    let lines = context.once_for(&context.manifests.of_fleet.hosts, key, |fleet| {
        lines(fleet, &networks, context).into()
    });
    let text = with_extra(&lines, all.iter().flat_map(|one| &one.spec.extra));
    all.iter()
        .map(|one| {
            let unknown = |name: &&String| !context.manifests.networks.contains_key(name.as_str());
            match one.spec.networks.iter().find(unknown) {
                Some(name) => Err(vec![Problem {
                    field: "networks",
                    message: format!("the fleet has no network `{name}`"),
                    hint: format!("add networks/{name}.yaml, or correct the name"),
                }]),
                None => Ok(parts(&text)),
            }
        })
        .collect()
}

/// Returns the lines about the fleet's hosts in these networks.
fn lines(fleet: &[FleetHost<'_>], networks: &[&str], context: &ExpandContext<'_>) -> String {
    let mut text = String::new();
    for host in fleet {
        let names = names(host, context).join(" ");
        for address in addresses(host, networks) {
            let _ = writeln!(text, "{address} {names}");
        }
    }
    text
}

fn parts(text: &Arc<str>) -> Vec<Part> {
    let block = |path: &str| {
        Part::new(Kind::File, path)
            .shared("content", text)
            .field("block", true)
    };
    vec![block(FILE), block(TEMPLATE).field("ifMissing", "skip")]
}

/// Returns the names of a host, the full one first.
fn names(host: &FleetHost<'_>, context: &ExpandContext<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(domain) = context.domain().filter(|_| !host.hostname().contains('.')) {
        names.push(format!("{}.{domain}", host.hostname()));
    }
    names.push(host.hostname().to_owned());
    let name = host.facts.name.as_str();
    if name != host.hostname() {
        names.push(name.to_owned());
    }
    names
}

/// Returns the static addresses of a host in these networks, in their order.
fn addresses<'a>(host: &FleetHost<'a>, networks: &[&str]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for name in networks {
        let Some(network) = host.facts.networks.get(*name) else {
            continue;
        };
        for address in [&network.ipv4, &network.ipv6].into_iter().flatten() {
            if !all.contains(&address.as_str()) {
                all.push(address);
            }
        }
    }
    all
}
