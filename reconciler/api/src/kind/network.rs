//! `Network`: subnets and their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::host::AliasSpec;
use crate::period::Period;

/// The spec of a Network: its subnets, and the members that have no Host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The type of the network.
    #[serde(default, rename = "type")]
    pub network_type: NetworkType,
    /// Subnets of the network: at most one of IPv4 and one of IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// The host or member through which traffic leaves the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The star of a network of the type `wireguard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<WireguardNetwork>,
    /// The leases of a `lan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<NetworkDhcp>,
    /// Members that have no Host object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, NetworkMember>,
}

/// The type of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NetworkType {
    /// A local network.
    #[default]
    Lan,
    /// A `WireGuard` network that Plumb sets up.
    Wireguard,
    /// A network whose addresses another system assigns, such as Tailscale.
    Overlay,
}

impl NetworkType {
    /// Returns the word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wireguard => "wireguard",
            Self::Overlay => "overlay",
        }
    }
}

/// A `WireGuard` network in the form of a star: every spoke talks to the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireguardNetwork {
    /// The host or member that every other one connects to. It may belong to another fleet.
    pub hub: String,
    /// The interface's name on hosts; the network's name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The UDP port of every member; 51820 when left out.
    #[serde(default = "wireguard_port")]
    pub port: u16,
    /// The address and port at which spokes reach the hub: `hub.fleet.example:51820`.
    pub endpoint: String,
    /// The interval at which spokes send a packet, so that address translation on the way doesn't forget them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Period>,
    /// The interval at which spokes resolve the name in `endpoint` again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_endpoint: Option<Period>,
}

fn wireguard_port() -> u16 {
    51820
}

/// The leases of a DHCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkDhcp {
    /// The host that serves leases.
    pub server: String,
    /// The first and the last id of the addresses that are leased to anyone.
    pub range: [u32; 2],
    /// The duration of a lease; 12h when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Period>,
}

/// A member that has no Host object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkMember {
    /// The member's part of its addresses in the network's subnets, with the same digits in IPv4 and IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The IPv4 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The IPv6 address, if it isn't the one that `id` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Hardware address of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `WireGuard` public key of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// True if the member has no public key on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    /// Subnets that are reached through the member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Further addresses of the member, each with a name of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, AliasSpec>,
}
