//! `Network`: subnets and their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}
