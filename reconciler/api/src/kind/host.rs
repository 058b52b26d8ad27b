//! `Host`: one machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Blocks;
use super::profile::EndpointSpec;
use crate::name::HostName;

/// The spec of a host; also the form of `Fleet.hostDefaults`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// The real host name, where it isn't the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The operating system; taken as a whole, never merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// The processor; asked of the host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// What becomes of it.
    #[serde(default, skip_serializing_if = "HostState::is_active")]
    pub state: HostState,
    /// Names that it had before; a rename keeps the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// Its identity, given at enrolment and never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its pinned SSH host keys: `ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// The ways to reach it, tried in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Connect>,
    /// The networks that it is in, and as what.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, MemberSpec>,
    /// Its profiles by key, with their parameters; `of` makes the key an instance of another profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    /// What it offers to others, beside what its profiles do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointSpec>,
    /// What is to be on it, at the middle priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: Blocks,
    /// The same at the lowest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: Blocks,
    /// The same at the highest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub force: Blocks,
    /// What others brought and this host doesn't want: addresses of resources and profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// JSON Patch (RFC 6902) on the composed resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Value>,
    /// What is done about drift.
    #[serde(default, skip_serializing_if = "DriftSpec::is_default")]
    pub drift: DriftSpec,
    /// What happens at first contact to what is there and differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// A pause that a person asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<SuspendSpec>,
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Os {
    /// Which.
    pub family: OsFamily,
    /// Its release, such as `"13"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OsFamily {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// `NixOS`.
    Nixos,
}

/// A processor architecture, as `uname -m` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// As `uname -m` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7l => "armv7l",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// What becomes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// It is driven.
    #[default]
    Active,
    /// Known to networks, not contacted.
    Dormant,
    /// Someone else's; it may be named.
    Unmanaged,
    /// It exists as an image only.
    Image,
    /// What Plumb made is taken back; then the object may be deleted.
    Retired,
}

impl HostState {
    /// Whether this is the default.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }

    /// The word in manifests.
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// The user to log in as; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A host name or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The host's address in this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The host's own endpoint (`sshd.ssh`): its networks and its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The port; 22 when left out, and never beside `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A host's membership of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberSpec {
    /// The suffix within the network's subnets: the same digits in IPv4 and IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The IPv4 address outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The IPv6 address outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// The interface's name on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The interface's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Who gives the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign: Option<Assign>,
    /// A `WireGuard` public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Further addresses of the same host in this network, by a name of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, MemberSpec>,
}

/// Who gives a host its address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Assign {
    /// The host itself.
    Static,
    /// A DHCP reservation; the host's own configuration is never touched.
    Dhcp,
    /// Someone else.
    External,
}

/// What is done about drift on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftSpec {
    /// For the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftMode>,
    /// Addresses of resources and fields whose drift is left alone: `file:/etc/resolv.conf#content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

impl DriftSpec {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is done about drift. New intent is applied in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftMode {
    /// It is put right; an alert only if it drifts again by the next run.
    #[default]
    Correct,
    /// It is left, and an alert is raised at once.
    Alert,
    /// It is left and not spoken of.
    Ignore,
}

/// What happens at first contact to what is there and differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Existing {
    /// The original is kept, to be given back, and the thing is managed.
    #[default]
    Keep,
    /// The run is refused.
    Refuse,
}

/// A pause that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuspendSpec {
    /// Why.
    pub reason: String,
    /// Until when (RFC 3339); for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
