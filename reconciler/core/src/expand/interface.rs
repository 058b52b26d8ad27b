//! `interface`: expands into a file of systemd-networkd, and its service.

use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::kind::Assign;
use plumb_api::resource::{InterfaceSpec, Problem};

use super::network::Membership;
use super::{ExpandContext, Outcome, Part, TypedResource};

const SERVICE: &str = "systemd-networkd";

/// The service of Debian 12 can't reload, and a restart would take longer.
const RELOAD: &str =
    "# Written by plumb.\n[Service]\nExecReload=\nExecReload=/usr/bin/networkctl reload\n";

/// The program that refuses a file for an interface that another program configures. Its first argument is the
/// interface.
const OTHERS: &str = r#"interface=$1
fail() {
    echo "$interface is configured by $1 already: remove it there, or write assign: external" >&2
    exit 1
}
if grep -qsE "^[[:space:]]*iface[[:space:]]+$interface[[:space:]]" /etc/network/interfaces /etc/network/interfaces.d/*; then
    fail "ifupdown (/etc/network/interfaces)"
fi
if ls /run/systemd/network/10-netplan-"$interface".network >/dev/null 2>&1 ||
    grep -qsE "^[[:space:]]+\"?$interface\"?:" /etc/netplan/*.yaml; then
    fail "netplan (/etc/netplan)"
fi
if command -v nmcli >/dev/null && nmcli -t -f DEVICE,STATE device 2>/dev/null | grep -q "^$interface:connect"; then
    fail NetworkManager
fi
"#;

/// Expands each resource into parts of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, InterfaceSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.name, one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(
    name: &str,
    spec: &InterfaceSpec,
    context: &ExpandContext<'_>,
) -> Result<Vec<Part>, Problem> {
    let Some(place) = Membership::of(context, name)? else {
        return Ok(Vec::new());
    };
    let problem = |message: String, hint: String| Problem {
        field: "",
        message,
        hint,
    };
    if place.own.assign != Some(Assign::Static) {
        return Err(problem(
            format!("the host's address in the network `{name}` isn't static"),
            format!("write `networks: {{{name}: {{assign: static}}}}`, or remove this"),
        ));
    }
    let Some(interface) = &place.own.interface else {
        return Err(problem(
            format!("the manifest doesn't name the host's interface in the network `{name}`"),
            format!("set `networks: {{{name}: {{interface: NAME}}}}`"),
        ));
    };
    if place.addresses().is_empty() {
        return Err(problem(
            format!("the host has no address in the network `{name}`"),
            format!("set `networks: {{{name}: {{id: NUMBER}}}}`"),
        ));
    }
    let path = format!("/etc/systemd/network/50-plumb-{interface}.network");
    let file = Part::root_file(&path)
        .field("content", content(&place, spec, interface))
        .field(
            "validate",
            vec!["/bin/sh", "-c", OTHERS, "%s", interface.as_str()],
        );
    let drop_in = Part::new(Kind::Unit, format!("{SERVICE}.service.d/plumb-reload.conf"))
        .field("content", RELOAD);
    let service = Part::new(Kind::Service, SERVICE)
        .field("state", "started")
        .field("enabled", true)
        .field("reloadOn", vec![format!("file:{path}")]);
    Ok(vec![file, drop_in, service])
}

fn content(place: &Membership<'_>, spec: &InterfaceSpec, interface: &str) -> String {
    let mut text = format!("# Written by plumb.\n[Match]\nName={interface}\n");
    if let Some(mtu) = spec.mtu {
        let _ = write!(text, "\n[Link]\nMTUBytes={mtu}\n");
    }
    text.push_str("\n[Network]\n");
    for address in place.addresses() {
        let _ = writeln!(text, "Address={address}");
    }
    let gateway = place.network.spec.gateway.as_deref();
    let others = place.members.iter().filter(|one| one.name != place.name);
    let others: Vec<_> = others.collect();
    for member in &others {
        if gateway != Some(member.name.as_str()) {
            continue;
        }
        for address in member.ipv4.iter().chain(&member.ipv6) {
            let _ = writeln!(text, "Gateway={address}");
        }
    }
    for member in others {
        for route in &member.routes {
            let via = if route.contains(':') {
                &member.ipv6
            } else {
                &member.ipv4
            };
            if let Some(via) = via {
                let _ = write!(text, "\n[Route]\nDestination={route}\nGateway={via}\n");
            }
        }
    }
    text
}
