//! `wireguard`: expands into a key, a configuration for wg-quick with the peers of the network, and its service.

use std::fmt::Write as _;

use ipnet::IpNet;
use plumb_api::kind::{NetworkType, WireguardNetwork};
use plumb_api::resource::{Problem, Schedule, WireguardSpec, host_and_port};
use plumb_api::{Kind, secret};

use super::network::Membership;
use super::{ExpandContext, Outcome, Part, TypedResource, shell, timer};
use crate::manifest::{HostNetwork, MemberFact};

const FOLDER: &str = "/etc/wireguard";
const TOOLS: &str = "package:wireguard-tools";

/// The program that brings a running interface to its configuration.
const RELOAD: &str = "wireguard-reload";

/// `wg syncconf` changes peers alone, so addresses and routes are brought along. Routes that wg-quick and this
/// program add have the protocol `boot`.
const RELOAD_TEXT: &str = r#"#!/bin/sh
# Written by plumb. Brings a WireGuard interface to its configuration without taking it down.
set -eu
interface=$1
configuration=/etc/wireguard/$interface.conf
umask 077
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
wg-quick strip "$interface" >"$stripped"
wg syncconf "$interface" "$stripped"
values() {
    sed -n "s/^$1 = //p" "$configuration" | tr ',' '\n' | tr -d ' ' | grep . || true
}
addresses=$(values Address)
routes=$(values AllowedIPs)
# An address that goes takes those along that came after it in its subnet.
ip -o address show dev "$interface" scope global | awk '{print $4}' | while read -r address; do
    echo "$addresses" | grep -qxF "$address" || ip address delete "$address" dev "$interface"
done
for address in $addresses; do
    ip address replace "$address" dev "$interface"
done
for route in $routes; do
    case $route in
        *:*) family=-6 ;;
        *) family=-4 ;;
    esac
    [ -n "$(ip "$family" route show dev "$interface" match "$route" 2>/dev/null)" ] ||
        ip "$family" route replace "$route" dev "$interface"
done
for family in -4 -6; do
    ip "$family" route show dev "$interface" proto boot | awk '{print $1}' | while read -r route; do
        case $route in
            */*) full=$route ;;
            *:*) full=$route/128 ;;
            *) full=$route/32 ;;
        esac
        echo "$routes" | grep -qxF "$full" || ip "$family" route delete "$route" dev "$interface" proto boot
    done
done
"#;

/// Expands each resource into parts of its own.
pub(super) fn expand(
    all: &[TypedResource<'_, WireguardSpec>],
    context: &ExpandContext<'_>,
) -> Vec<Outcome> {
    all.iter()
        .map(|one| parts(one.name, one.spec, context).map_err(|problem| vec![problem]))
        .collect()
}

fn parts(
    name: &str,
    spec: &WireguardSpec,
    context: &ExpandContext<'_>,
) -> Result<Vec<Part>, Problem> {
    let Some(place) = Membership::of(context, name)? else {
        return Ok(Vec::new());
    };
    let (NetworkType::Wireguard, Some(star)) = (
        place.network.spec.network_type,
        &place.network.spec.wireguard,
    ) else {
        return Err(Problem {
            field: "",
            message: format!("the network `{name}` isn't of the type `wireguard`"),
            hint: "remove it".to_owned(),
        });
    };
    let Some(interface) = &place.own.interface else {
        return Ok(Vec::new());
    };
    let peers = peers(&place, star)?;
    let key = Key::of(name, interface, context);
    let path = format!("{FOLDER}/{interface}.conf");
    let service = format!("wg-quick@{interface}");
    let mut after = vec![TOOLS.to_owned()];
    let mut parts = vec![Part::new(Kind::Package, "wireguard-tools")];
    if let Key::Made(file) = &key {
        let mut part = Part::new(Kind::Keypair, file)
            .field("type", "wireguard")
            .field("after", vec![TOOLS]);
        if let Some(public) = &place.own.public_key {
            part = part.field("publicKey", public.as_str());
        }
        parts.push(part);
        after.push(format!("keypair:{file}"));
    }
    let text = configuration(&place, star, spec, &key, &peers);
    parts.push(
        Part::new(Kind::File, &path)
            .field("owner", "root")
            .field("group", "root")
            .field("mode", "0600")
            .field("content", text)
            .field("after", after),
    );
    parts.push(shell::program(RELOAD, RELOAD_TEXT.to_owned()));
    let reload = shell::path(RELOAD);
    parts.push(
        Part::new(Kind::Unit, format!("{service}.service.d/plumb-reload.conf")).field(
            "content",
            format!("# Written by plumb.\n[Service]\nExecReload=\nExecReload={reload} %i\n"),
        ),
    );
    parts.push(
        Part::new(Kind::Service, &service)
            .field("state", "started")
            .field("enabled", true)
            .field("reloadOn", vec![format!("file:{path}")])
            .field("after", vec![TOOLS.to_owned(), format!("file:{reload}")]),
    );
    parts.extend(refresh(&place, star, interface, &peers));
    Ok(parts)
}

/// The private key of an interface.
enum Key {
    /// The host makes it in this file.
    Made(String),
    /// The value of this secret.
    Secret(String),
}

impl Key {
    /// Returns the key of the interface. Networks in which the host has the same public key share the file of
    /// the first one.
    fn of(name: &str, interface: &str, context: &ExpandContext<'_>) -> Self {
        let entries = &context.host.spec.networks;
        let own = entries.get(name);
        if let Some(secret) = own.and_then(|own| own.private_key.as_ref()) {
            return Self::Secret(secret.secret.clone());
        }
        let public = own.and_then(|own| own.public_key.as_ref());
        let mut same = entries.iter().filter(|(_, entry)| {
            public.is_some() && entry.public_key.as_ref() == public && entry.private_key.is_none()
        });
        let first = same.find_map(|(name, _)| {
            context
                .facts
                .networks
                .get(name.as_str())?
                .interface
                .as_deref()
        });
        Self::Made(format!("{FOLDER}/{}.key", first.unwrap_or(interface)))
    }

    /// Returns the placeholder that the host replaces by the key.
    fn placeholder(&self) -> String {
        match self {
            Self::Made(path) => secret::private_key_placeholder(path),
            Self::Secret(name) => secret::placeholder(name),
        }
    }
}

/// A peer of this host.
struct Peer<'a> {
    member: &'a MemberFact,
    key: &'a str,
    allowed: Vec<String>,
}

/// Returns the peers of this host in order of id: at the hub every other member with a key, at a spoke the hub.
fn peers<'a>(place: &'a Membership<'_>, star: &WireguardNetwork) -> Result<Vec<Peer<'a>>, Problem> {
    let others = place.members.iter().filter(|one| one.name != place.name);
    let keyed = others.filter_map(|member| Some((member, member.public_key.as_deref()?)));
    if star.hub == place.name {
        let peer = |(member, key): (&'a MemberFact, &'a str)| {
            let mut allowed = single(member);
            allowed.extend(member.routes.iter().cloned());
            Peer {
                member,
                key,
                allowed,
            }
        };
        return Ok(keyed.map(peer).collect());
    }
    let mut routes = Vec::new();
    let mut hub = None;
    for (member, key) in keyed {
        // A subnet that the host is in itself isn't reached through the tunnel.
        let far = |route: &&String| {
            let route = route.parse::<IpNet>();
            !route.is_ok_and(|route| place.beside.iter().any(|own| own.contains(&route)))
        };
        routes.extend(member.routes.iter().filter(far).cloned());
        if member.name == star.hub {
            hub = Some((member, key));
        }
    }
    let Some((member, key)) = hub else {
        return Err(Problem {
            field: "",
            message: format!(
                "the hub `{}` of the network `{}` has no public key",
                star.hub, place.network.name
            ),
            hint: "add its `publicKey`".to_owned(),
        });
    };
    let mut allowed = single(member);
    allowed.extend(place.network.subnets().map(|subnet| subnet.to_string()));
    allowed.extend(routes);
    Ok(vec![Peer {
        member,
        key,
        allowed,
    }])
}

/// Returns the addresses of a member as subnets of one address.
fn single(member: &MemberFact) -> Vec<String> {
    let v4 = member.ipv4.iter().map(|address| format!("{address}/32"));
    let v6 = member.ipv6.iter().map(|address| format!("{address}/128"));
    v4.chain(v6).collect()
}

fn configuration(
    place: &Membership<'_>,
    star: &WireguardNetwork,
    spec: &WireguardSpec,
    key: &Key,
    peers: &[Peer<'_>],
) -> String {
    let mut text = String::from("# Written by plumb.\n[Interface]\n");
    let _ = writeln!(text, "Address = {}", place.addresses().join(", "));
    let _ = writeln!(text, "ListenPort = {}", star.port);
    let _ = writeln!(text, "PrivateKey = {}", key.placeholder());
    if let Some(mtu) = spec.mtu {
        let _ = writeln!(text, "MTU = {mtu}");
    }
    for peer in peers {
        let _ = writeln!(text, "\n# {}\n[Peer]", peer.member.name);
        let _ = writeln!(text, "PublicKey = {}", peer.key);
        let _ = writeln!(text, "AllowedIPs = {}", peer.allowed.join(", "));
        if star.hub != place.name {
            let _ = writeln!(text, "Endpoint = {}", star.endpoint);
            if let Some(keepalive) = star.keepalive {
                let seconds = keepalive.duration().as_secs().max(1);
                let _ = writeln!(text, "PersistentKeepalive = {seconds}");
            }
        }
    }
    text
}

/// Returns the timer with which a spoke resolves the hub's name again. An address needs none.
fn refresh(
    place: &Membership<'_>,
    star: &WireguardNetwork,
    interface: &str,
    peers: &[Peer<'_>],
) -> Vec<Part> {
    let (host, _) = host_and_port(&star.endpoint).unwrap_or_default();
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let (Some(every), Some(peer)) = (star.refresh_endpoint, peers.first()) else {
        return Vec::new();
    };
    if is_address || star.hub == place.name {
        return Vec::new();
    }
    let run = [
        "/usr/bin/wg",
        "set",
        interface,
        "peer",
        peer.key,
        "endpoint",
        &star.endpoint,
    ];
    let schedule = Schedule {
        every: Some(every),
        ..Schedule::default()
    };
    timer::parts(
        &format!("wireguard-endpoint-{interface}"),
        &timer::job(run.map(str::to_owned).to_vec(), &schedule),
    )
}

impl HostNetwork {
    /// True if the host is a peer in this `wireguard` network: it has a key.
    pub(crate) fn is_peer(&self) -> bool {
        self.public_key.is_some()
    }
}
