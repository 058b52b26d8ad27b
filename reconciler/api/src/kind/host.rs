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
    /// The real host name, if it isn't the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The operating system; taken as a whole, never merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// The processor; when left out, the controller asks the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// The host's mode: driven or not.
    #[serde(default, skip_serializing_if = "HostState::is_active")]
    pub state: HostState,
    /// The host's earlier names; a rename keeps the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<HostName>,
    /// Its identity, given at enrolment and never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Its pinned SSH host keys: `ssh-ed25519 AAAA…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
    /// The ways to reach the host, tried in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Connect>,
    /// The networks that the host is in, with its addresses there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, MemberSpec>,
    /// The host's profiles by key, with their parameters; `of` makes the key an instance of another profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, Option<BTreeMap<String, Value>>>,
    /// Services that the host offers to others, in addition to its profiles' endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointSpec>,
    /// The host's own resources, at the middle priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: Blocks,
    /// Resources at the lowest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: Blocks,
    /// Resources at the highest priority.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub force: Blocks,
    /// Addresses of resources and profiles that come from elsewhere and that this host doesn't want.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// JSON Patch (RFC 6902) on the composed resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Value>,
    /// The handling of drift.
    #[serde(default, skip_serializing_if = "DriftSpec::is_default")]
    pub drift: DriftSpec,
    /// The handling of resources that exist and differ at first contact.
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
    /// The family.
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

/// A processor architecture, as `uname -m` prints it.
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

/// The mode of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// The controller drives the host.
    #[default]
    Active,
    /// Networks know the host, but the controller doesn't contact it.
    Dormant,
    /// Someone else manages the host; manifests may name it.
    Unmanaged,
    /// The host exists only as an image.
    Image,
    /// Plumb takes back everything that it made; then the object may be deleted.
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// The user to log in as; root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A host name or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The name of a network: the host's address there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The host's own endpoint (`sshd.ssh`), with its networks and its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The port; 22 when left out. Not allowed with `endpoint`.
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
    /// The explicit IPv4 address; without it, `id` gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The explicit IPv6 address; without it, `id` gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// The interface's name on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The interface's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The source of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign: Option<Assign>,
    /// A `WireGuard` public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Further addresses of the host in this network, each with a name of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, MemberSpec>,
}

/// The source of a host's address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Assign {
    /// The host configures the address itself.
    Static,
    /// A DHCP reservation; Plumb never changes the host's own configuration.
    Dhcp,
    /// Another system gives the address.
    External,
}

/// The handling of drift on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftSpec {
    /// The mode for the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftMode>,
    /// Addresses of resources and fields whose drift is left alone: `file:/etc/resolv.conf#content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
}

impl DriftSpec {
    /// True if nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The handling of drift. New intent is applied in every mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// The handling of resources that exist and differ at first contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Existing {
    /// The original is stored, to be given back, and the resource is managed.
    #[default]
    Keep,
    /// The run is refused.
    Refuse,
}

/// A pause that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuspendSpec {
    /// The reason.
    pub reason: String,
    /// The end of the pause (RFC 3339); unlimited when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
