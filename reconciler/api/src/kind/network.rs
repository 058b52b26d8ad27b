//! `Network`: subnets and who is in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The spec of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// What sort of network it is.
    #[serde(default, rename = "type")]
    pub network_type: NetworkType,
    /// Its subnets, at most one of IPv4 and one of IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// The host or member that leads out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Members that are nobody's Host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, NetworkMember>,
}

/// What sort of network it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkType {
    /// A local network.
    #[default]
    Lan,
    /// A `WireGuard` network, made by Plumb.
    Wireguard,
    /// Addresses given by another system, such as Tailscale.
    Overlay,
}

impl NetworkType {
    /// The word in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wireguard => "wireguard",
            Self::Overlay => "overlay",
        }
    }
}

/// A member that is nobody's Host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkMember {
    /// The suffix within the subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The IPv4 address outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The IPv6 address outright.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its `WireGuard` public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Whether it has no key on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    /// Networks behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}
