//! `Network`: subnets and their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The spec of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The type of the network.
    #[serde(default, rename = "type")]
    pub network_type: NetworkType,
    /// Its subnets, at most one of IPv4 and one of IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// The host or member through which traffic leaves the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Members that aren't a Host object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, NetworkMember>,
}

/// The type of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkType {
    /// A local network.
    #[default]
    Lan,
    /// A `WireGuard` network that Plumb makes.
    Wireguard,
    /// A network whose addresses another system gives, such as Tailscale.
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

/// A member that isn't a Host object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkMember {
    /// The suffix within the subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The explicit IPv4 address; without it, `id` gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The explicit IPv6 address; without it, `id` gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its `WireGuard` public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// True if it has no key on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    /// Networks behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}
