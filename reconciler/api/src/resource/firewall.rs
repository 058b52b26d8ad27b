//! `firewall`: a table of nftables that belongs to Plumb alone.

mod rules;
mod subnet;
mod zone;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::{Claim, Dependency, Strength};
use super::field::{Manage, Presence};
use super::{Kind, Logins, Problem, Resource, UnitSpec, differs};
use crate::kind::{Port, Protocol};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

pub use rules::RulesReading;
pub use subnet::Subnet;
pub use zone::Zone;

/// The host's packet filter: the nftables table `inet plumb`, which belongs to Plumb alone. The name is always
/// `main`. `main: null` means the default of every field.
///
/// Loopback, established connections, and what IPv6 can't live without (neighbour discovery, path MTU, replies
/// of `DHCPv6`) always pass. Plumb replaces the table in one transaction, so that the host is never without rules,
/// and never touches another table. A unit of its own, `plumb-firewall.service`, loads the same rules at boot,
/// before the network is up. A rule that somebody adds to the table, changes or removes is drift.
///
/// A packet must pass the tables of Docker, podman and libvirt too, which stay as they are. What is forwarded
/// to a published port of a container passes. For the connections that containers and virtual machines open
/// themselves, list their bridge in `trusted`, such as `interface:docker0`, or write `forward: accept`.
///
/// The host's endpoints open their ports by themselves, on the interfaces of their networks; `open` is for what is
/// nobody's endpoint. On the hub of a `wireguard` network, the port of `WireGuard` opens in every other network that
/// isn't an overlay and whose interface the manifest names. `forward` of the Host forwards ports to other machines.
///
/// `on`, `trusted` and `masquerade` take networks of the host whose `interface` the manifest gives, or
/// `interface:NAME`. If input is dropped and no entry lets Plumb's own SSH connections in, `check` reports an
/// error. If a change cuts Plumb off all the same, the host puts the rules back that it had. The host needs the package `nftables`. Masquerading also needs the `sysctl` `net.ipv4.ip_forward`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// What happens to a packet for the host that no other field lets in: `drop` (default) or `accept`.
    #[serde(default, skip_serializing_if = "Policy::is_drop")]
    pub input: Policy,
    /// True (default) if the host answers pings. With `false` it drops them, from everywhere.
    #[serde(default, skip_serializing_if = "Ping::is_answer")]
    pub ping: Ping,
    /// Networks and interfaces from which everything passes, also what is forwarded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<Zone>,
    /// Open ports. An entry has `ports` (numbers, and ranges such as `"60000-61000"`), `protocol` (`[tcp]` when
    /// left out), `on` (networks and interfaces; all when left out) and `from` (addresses and subnets; all when
    /// left out).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Opening>,
    /// Checks that a packet's source is reachable: `strict` through the interface that the packet came from,
    /// `loose` (default) through any, `off` not at all.
    #[serde(default, skip_serializing_if = "ReversePath::is_loose")]
    pub reverse_path: ReversePath,
    /// Pairs of `from` and `to`, each a network or an interface: what is forwarded from the one to the other
    /// passes, and gets the host's own IPv4 address as its source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masquerade: Vec<Masquerade>,
    /// Ports that are forwarded to other machines. Write them as `forward` of the Host, which adds them here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<PortForward>,
    /// What happens to a forwarded packet that isn't masqueraded, from a trusted network, or forwarded to a
    /// published port: `drop` (default) or `accept`.
    #[serde(default, skip_serializing_if = "Policy::is_drop")]
    pub forward: Policy,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The fate of a packet that no rule accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// It is dropped.
    #[default]
    Drop,
    /// It passes.
    Accept,
}

impl Policy {
    /// True if this is the default, which the canonical form omits.
    pub fn is_drop(&self) -> bool {
        *self == Self::Drop
    }
}

/// Says whether the host answers pings. Manifests write a boolean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Ping {
    /// It answers.
    #[default]
    Answer,
    /// It drops them.
    Drop,
}

impl Ping {
    /// True if this is the default, which the canonical form omits.
    pub fn is_answer(&self) -> bool {
        *self == Self::Answer
    }
}

impl From<bool> for Ping {
    fn from(answer: bool) -> Self {
        if answer { Self::Answer } else { Self::Drop }
    }
}

impl From<Ping> for bool {
    fn from(ping: Ping) -> Self {
        ping == Ping::Answer
    }
}

/// The check of a packet's source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ReversePath {
    /// The route back to the source must lead through the packet's interface.
    Strict,
    /// There must be a route back to the source.
    #[default]
    Loose,
    /// No check.
    Off,
}

impl ReversePath {
    /// True if this is the default, which the canonical form omits.
    pub fn is_loose(&self) -> bool {
        *self == Self::Loose
    }
}

/// Ports that are open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    /// The ports.
    pub ports: Vec<Port>,
    /// The transport protocols.
    #[serde(default = "tcp", skip_serializing_if = "is_tcp")]
    pub protocol: Vec<Protocol>,
    /// The networks and interfaces from which the ports can be reached; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Zone>,
    /// The addresses that can reach the ports; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Subnet>,
}

fn tcp() -> Vec<Protocol> {
    vec![Protocol::Tcp]
}

fn is_tcp(protocols: &[Protocol]) -> bool {
    protocols == [Protocol::Tcp]
}

impl Opening {
    /// True if it may let TCP connections to this port in.
    pub fn lets_in(&self, port: u16) -> bool {
        let holds = |range: &Port| (range.first..=range.last).contains(&port);
        self.protocol.contains(&Protocol::Tcp) && self.ports.iter().any(holds)
    }
}

/// A network whose connections to another one get the host's own address as their source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Masquerade {
    /// The network or interface that the connections come from.
    pub from: Zone,
    /// The network or interface that they go to.
    pub to: Zone,
}

/// A port that is forwarded to another machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortForward {
    /// The network or interface that the connections come from.
    pub from: Zone,
    /// The port that they come to.
    pub port: u16,
    /// The transport protocols.
    pub protocol: Vec<Protocol>,
    /// The address of the machine.
    pub to: IpAddr,
    /// The port on the machine.
    pub to_port: u16,
}

/// The observed state of a firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallObserved {
    /// The rules that the kernel has in Plumb's table; `None` if there is no such table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesReading>,
    /// The spec in Plumb's file; `None` if there is no such file, or somebody changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Box<FirewallSpec>>,
    /// The state of what loads the rules at boot.
    #[serde(default)]
    pub boot: BootLoading,
}

/// The state of the file and the unit that load the rules at boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BootLoading {
    /// Nothing is there.
    #[default]
    Absent,
    /// A part is missing, or isn't as Plumb wrote it.
    Changed,
    /// The unit is enabled and loads the file.
    Enabled,
}

impl FirewallSpec {
    /// The only name.
    pub const NAME: &'static str = "main";

    /// The file with the rules, in the form that `nft --json --file` reads.
    pub const FILE: &'static str = "/etc/plumb/firewall.json";

    /// The unit that loads the file at boot.
    pub const UNIT: &'static str = "plumb-firewall.service";

    /// The target that the unit belongs to.
    pub const TARGET: &'static str = "sysinit.target";

    /// The text of the unit. Debian's own unit flushes all tables whenever it starts, so it comes before.
    pub const UNIT_TEXT: &'static str = "\
# Written by plumb.
[Unit]
Description=Rules of the firewall that Plumb manages
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft --json --file /etc/plumb/firewall.json
ExecReload=/usr/sbin/nft --json --file /etc/plumb/firewall.json

[Install]
WantedBy=sysinit.target
";

    /// Returns the spec with each network replaced by the interface that `interface` returns for it. It gets the
    /// name of the field too. Lists get one order, whatever the order of the manifests.
    ///
    /// # Errors
    /// The first error of `interface`.
    pub fn with_interfaces<E>(
        &self,
        interface: impl Fn(&'static str, &str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let resolve = |field, zone: &Zone| match zone {
            Zone::Interface(_) => Ok(zone.clone()),
            Zone::Network(name) => interface(field, name).map(Zone::Interface),
        };
        let all = |field, zones: &[Zone]| {
            let resolved: Result<Vec<Zone>, E> =
                zones.iter().map(|zone| resolve(field, zone)).collect();
            resolved.map(ordered)
        };
        let mut spec = self.clone();
        spec.trusted = all("trusted", &self.trusted)?;
        for opening in &mut spec.open {
            opening.ports = ordered(std::mem::take(&mut opening.ports));
            opening.protocol = ordered(std::mem::take(&mut opening.protocol));
            opening.on = all("open", &opening.on)?;
            opening.from = ordered(std::mem::take(&mut opening.from));
        }
        for pair in &mut spec.masquerade {
            pair.from = resolve("masquerade", &pair.from)?;
            pair.to = resolve("masquerade", &pair.to)?;
        }
        for forward in &mut spec.forwards {
            forward.from = resolve("forwards", &forward.from)?;
            forward.protocol = ordered(std::mem::take(&mut forward.protocol));
        }
        spec.forwards = ordered(spec.forwards);
        spec.open = ordered(spec.open);
        spec.masquerade = ordered(spec.masquerade);
        Ok(spec)
    }

    /// Returns a network whose interface isn't known yet, if there is one.
    pub fn unresolved(&self) -> Option<&str> {
        let on = self.open.iter().flat_map(|opening| &opening.on);
        let pairs = self
            .masquerade
            .iter()
            .flat_map(|pair| [&pair.from, &pair.to]);
        let forwards = self.forwards.iter().map(|forward| &forward.from);
        let mut zones = self.trusted.iter().chain(on).chain(pairs).chain(forwards);
        zones.find_map(|zone| match zone {
            Zone::Network(name) => Some(name.as_str()),
            Zone::Interface(_) => None,
        })
    }

    /// True if it may let TCP connections to this port of the host in.
    pub fn lets_in(&self, port: u16) -> bool {
        self.wants_absent()
            || self.input == Policy::Accept
            || !self.trusted.is_empty()
            || self.open.iter().any(|opening| opening.lets_in(port))
    }

    /// Returns the fields that decide about packets, without those for Plumb itself.
    fn packets(&self) -> Self {
        Self {
            state: Presence::Present,
            after: Vec::new(),
            manage: Manage::Always,
            ..self.clone()
        }
    }

    /// Returns the text of [`Self::FILE`].
    pub fn file(&self) -> String {
        let all = serde_json::json!({
            "writtenBy": "plumb",
            "firewall": self.packets(),
            "nftables": self.transaction(),
        });
        format!("{all:#}\n")
    }

    /// Returns the spec of a text of [`Self::FILE`]; `None` if this version wouldn't write the same text for it.
    pub fn of_file(text: &str) -> Option<Self> {
        let mut all: Value = serde_json::from_str(text).ok()?;
        let spec: Self = serde_json::from_value(all.get_mut("firewall")?.take()).ok()?;
        (spec.file() == text).then_some(spec)
    }
}

/// Returns a list in order and without duplicates.
fn ordered<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items.dedup();
    items
}

impl Resource for FirewallSpec {
    type Observed = FirewallObserved;

    const EXAMPLE: &'static str = r#"package:
  nftables: {}
firewall:
  main:
    trusted: ["interface:virbr0"]
    open:
      - {ports: [22, 443]}
      - {ports: ["60000-61000"], protocol: [udp], on: ["interface:wg0"], from: [192.0.2.0/24]}
    masquerade: [{from: "interface:lan0", to: "interface:wan0"}]
sysctl:
  net.ipv4.ip_forward: {value: "1"}
"#;

    const SETS: &'static [&'static str] = &["after", "trusted", "open", "masquerade", "forwards"];

    fn check_name(name: &str) -> Result<(), String> {
        if name == Self::NAME {
            Ok(())
        } else {
            Err("a host has one firewall: name it `main`".to_owned())
        }
    }

    fn path(_name: &str) -> Option<String> {
        Some(Self::FILE.to_owned())
    }

    fn claims(&self, _name: &str) -> Vec<Claim> {
        vec![Claim {
            path: UnitSpec::path_in_folder(Self::UNIT),
            hint: "give yours another name: the firewall has a unit of this name".to_owned(),
        }]
    }

    fn lifeline(_name: &str) -> bool {
        true
    }

    fn cuts_off(_name: &str, _logins: &Logins) -> bool {
        true
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        if self.open.iter().any(|opening| opening.ports.is_empty()) {
            problem(
                "open",
                "an entry of `open` has no ports",
                "list its ports, or put the network into `trusted`",
            );
        }
        if self.open.iter().any(|opening| opening.protocol.is_empty()) {
            problem(
                "open",
                "an entry of `open` has no protocol",
                "write `protocol: [tcp]`, `[udp]` or both, or leave it out for TCP",
            );
        }
        if self.masquerade.iter().any(|pair| pair.from == pair.to) {
            problem(
                "masquerade",
                "`from` and `to` are the same network",
                "name the network that the connections leave through in `to`",
            );
        }
        problems
    }

    fn compare(&self, observed: &FirewallObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let found = if Self::exists(observed) {
            Presence::Present
        } else {
            Presence::Absent
        };
        if self.wants_absent() {
            differs(&mut changes, "state", Some(&self.state), Some(&found));
            return changes;
        }
        if found == Presence::Absent {
            differs(&mut changes, "state", Some(&self.state), Some(&found));
        }
        let saved = observed.saved.as_deref();
        macro_rules! fields {
            ($($name:literal: $field:ident),+) => {
                $(differs(&mut changes, $name, Some(&self.$field), saved.map(|spec| &spec.$field));)+
            };
        }
        fields!(
            "input": input, "ping": ping, "trusted": trusted, "open": open,
            "reversePath": reverse_path, "masquerade": masquerade, "forwards": forwards,
            "forward": forward
        );
        let rules = self.reading();
        differs(&mut changes, "rules", Some(&rules), observed.rules.as_ref());
        let enabled = BootLoading::Enabled;
        differs(&mut changes, "boot", Some(&enabled), Some(&observed.boot));
        changes
    }

    fn exists(observed: &FirewallObserved) -> bool {
        observed.rules.is_some() || observed.boot != BootLoading::Absent
    }

    fn requires(&self, _name: &str) -> Vec<Dependency> {
        let package = Address::new(Kind::Package, "nftables").ok();
        let before = |address| Dependency {
            address,
            strength: Strength::Implicit,
        };
        package.into_iter().map(before).collect()
    }

    fn consequences(&self, _name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let closes =
            self.input == Policy::Drop && fields.iter().any(|change| change.field == "input");
        if closes && !self.wants_absent() {
            vec![Consequence::SessionsAtRisk(
                "ports that aren't open".to_owned(),
            )]
        } else {
            Vec::new()
        }
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}

#[cfg(test)]
mod tests;
