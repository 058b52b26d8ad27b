//! `Host`: one machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Blocks;
use super::endpoint::EndpointSpec;
use crate::name::HostName;
use crate::resource::Zone;

/// The spec of a Host: one machine. `hostDefaults` of the Fleet has the same fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// The machine's host name, if it differs from the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The operating system. If several objects set it, one value replaces the other as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// The processor architecture. If it is left out, the controller requests it from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Says whether Plumb manages the host.
    #[serde(default, skip_serializing_if = "HostState::is_active")]
    pub state: HostState,
    /// Earlier names of the host. If its old name is listed here, a renamed host keeps its identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// Identity of the host, assigned at enrolment and never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The only SSH host keys that Plumb accepts from the host: `ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// The public key that secrets of the host are encrypted to: `age1…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_key: Option<String>,
    /// The ways to reach the host, tried in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Connect>,
    /// The networks that the host is in, with its addresses there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, MemberSpec>,
    /// Profiles of the host, with their parameters. The key is the profile's name, or any name if the
    /// parameters contain `of`, which then names the profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    /// Services that the host offers to others, in addition to its profiles' endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointSpec>,
    /// Ports of the host that are forwarded to endpoints of other machines, by a name of your choice. The host
    /// needs a `firewall`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forward: BTreeMap<String, ForwardSpec>,
    /// Resources of the host, at the middle priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::blocks"))]
    pub resources: Blocks,
    /// Resources at the lowest priority: `resources` and `force` override them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::blocks"))]
    pub defaults: Blocks,
    /// Resources at the highest priority: they override `resources` and `defaults`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::blocks"))]
    pub force: Blocks,
    /// Addresses of resources and profiles that the host would get from profiles or defaults, and that are
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// JSON Patch operations (RFC 6902) that are applied to the host's composed resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Value>,
    /// How drift of the host is handled.
    #[serde(default, skip_serializing_if = "DriftSpec::is_default")]
    pub drift: DriftSpec,
    /// How Plumb handles resources that exist and differ when it manages them for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// A pause, set by a person, during which Plumb leaves the host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<SuspendSpec>,
}

/// A port that is forwarded to an endpoint of another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardSpec {
    /// The network or interface (`interface:NAME`) that the connections come from.
    pub from: Zone,
    /// The port that they come to.
    pub port: u16,
    /// The endpoint that they are forwarded to: `HOST/INSTANCE.NAME`.
    pub to: String,
    /// The reason for which the port is open to others.
    pub reason: String,
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Os {
    /// The family.
    pub family: OsFamily,
    /// The release, such as `"13"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OsFamily {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// `NixOS`.
    Nixos,
}

/// A processor architecture, as `uname -m` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Arch {
    /// 64-bit Intel and AMD.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 32-bit ARM with hardware floating point.
    #[serde(rename = "armv7l")]
    Armv7l,
    /// 64-bit RISC-V.
    #[serde(rename = "riscv64")]
    Riscv64,
}

impl Arch {
    /// Returns the name that `uname -m` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7l => "armv7l",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// Says whether Plumb manages a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// The controller manages the host.
    #[default]
    Active,
    /// The host is a member of its networks, but the controller doesn't contact it.
    Dormant,
    /// Somebody else manages the host; manifests may refer to it.
    Unmanaged,
    /// The host exists only as an image.
    Image,
    /// Plumb undoes its changes on the host; after that, the object may be deleted.
    Retired,
}

impl HostState {
    /// True if this is the default.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }

    /// Returns the word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Dormant => "dormant",
            Self::Unmanaged => "unmanaged",
            Self::Image => "image",
            Self::Retired => "retired",
        }
    }
}

/// One way to reach a host: exactly one of `address`, `network` and `endpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// The user to log in as; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A host name or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Name of a network. Plumb connects to the host's address in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// An endpoint of the host itself (`sshd.ssh`). Plumb connects to its port, in its networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The port; 22 when left out. Not allowed with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A host's membership of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberSpec {
    /// The host's part of its addresses in the network's subnets, with the same digits in IPv4 and IPv6: 17
    /// gives `10.0.0.17` and `fd00::17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The IPv4 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The IPv6 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// The interface's name on the host. In a `wireguard` network, the network's `interface` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The interface's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Where the host gets the address from; `external` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign: Option<Assign>,
    /// A `WireGuard` public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The `WireGuard` private key, `{secret: NAME/KEY}`. When left out, the host makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKey>,
    /// True if the host has no public key on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    /// Subnets that are reached through the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Further addresses of the host in this network, each with a name of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, AliasSpec>,
}

/// A further address of a host or member in a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AliasSpec {
    /// The part of the addresses in the network's subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The IPv4 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The IPv6 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// The hardware address that the DHCP server gives the address to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A private key that is a secret of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrivateKey {
    /// The secret's value: `NAME/KEY`.
    pub secret: String,
}

/// Where a host gets its address in a network from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Assign {
    /// The host configures the address itself.
    Static,
    /// A DHCP reservation. Plumb never changes the host's own configuration.
    Dhcp,
    /// Another system assigns the address.
    External,
}

/// How drift of a host is handled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftSpec {
    /// How drift is handled on the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftMode>,
    /// Addresses of resources and fields whose drift is neither corrected nor reported:
    /// `file:/etc/resolv.conf#content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

impl DriftSpec {
    /// True if nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How drift is handled. Changes that come from git are applied in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DriftMode {
    /// Drift is corrected; an alert is raised only if the host drifts again by the next run.
    #[default]
    Correct,
    /// Drift stays, and an alert is raised at once.
    Alert,
    /// Drift stays and isn't reported.
    Ignore,
}

/// How Plumb handles resources that exist and differ when it manages them for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Existing {
    /// Plumb stores the original and manages the resource. When the resource leaves git, Plumb restores the
    /// original.
    #[default]
    Keep,
    /// The agent refuses the run.
    Refuse,
}

/// A pause, set by a person, during which Plumb leaves the host alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuspendSpec {
    /// The reason.
    pub reason: String,
    /// The end of the pause (RFC 3339); unlimited when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
