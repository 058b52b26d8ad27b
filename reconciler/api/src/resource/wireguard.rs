//! `wireguard`: a host's place in a `WireGuard` network.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use crate::address::AnyAddress;

/// A host's place in a network of the type `wireguard`. The name is the network's. A host whose entry in
/// `networks` has a `publicKey` gets it without being told; write it out only to set a field, or to name it in
/// `remove`, `after` or `drift.ignore`.
///
/// It expands to the package `wireguard-tools`, a `keypair`, `/etc/wireguard/IFACE.conf`, the service
/// `wg-quick@IFACE`, and at spokes a timer that resolves the hub's name again. The hub has a peer for each member
/// with a key, a spoke has the hub alone. The private key never leaves the host: the agent puts it into the
/// configuration there. With `privateKey: {secret: NAME/KEY}` it is the value of a secret instead.
///
/// Routes of members with a key lead through the hub. A change of peers, addresses or routes reloads the interface
/// and interrupts no session. Two networks in which a host has the same `publicKey` share one key. All of it is
/// changed under the dead-man timer. Forwarding between spokes needs the `sysctl` `net.ipv4.ip_forward` and
/// `net.ipv6.conf.all.forwarding` on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireguardSpec {
    /// The largest packet of the interface in bytes; `wg-quick` chooses it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// Checks the name of a composite that is named like a network.
pub(super) fn check_network(name: &str) -> Result<(), String> {
    if crate::name::is_label(name) {
        Ok(())
    } else {
        Err("name it like its network".to_owned())
    }
}

/// Returns the problem of an MTU that IPv6 can't work with.
pub(super) fn check_mtu(mtu: Option<u16>) -> Option<Problem> {
    mtu.filter(|mtu| *mtu < 1280).map(|mtu| Problem {
        field: "mtu",
        message: format!("an MTU of {mtu} is too small for IPv6"),
        hint: "write at least 1280, or leave it out".to_owned(),
    })
}

impl Composite for WireguardSpec {
    const EXAMPLE: &'static str = r"wireguard:
  vpn: {mtu: 1380}
";

    fn check_name(name: &str) -> Result<(), String> {
        check_network(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        check_mtu(self.mtu).into_iter().collect()
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
