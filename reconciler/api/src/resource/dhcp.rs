//! `dhcp`: the addresses that a DHCP server gives to a network's members.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::field::Manage;
use crate::address::AnyAddress;
use crate::name::is_label;

/// The addresses that a DHCP server gives to a network's members. The name is that of the Network, whose `dhcp`
/// names the server, the range and the time of a lease. It expands to the package `dnsmasq-base` and to the
/// service `dnsmasq-NETWORK` with its files in `/etc/dnsmasq-NETWORK.d`, which it shares with `dns`.
///
/// Each host and member with a `mac` has its address reserved under its hostname, and each alias under
/// `HOSTNAME-ALIAS`, in order of id. Clients learn the network's gateway, the fleet's domain, and this host as
/// DNS server if it has `dns` in the network. In a network with an IPv6 subnet they also get IPv6 addresses, by
/// router advertisements and `DHCPv6`. New reservations need a reload, and a new range a restart. Leases stay in
/// `/var/lib/misc/dnsmasq-NETWORK.leases` when the resource leaves git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpServerSpec {
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for DhcpServerSpec {
    const EXAMPLE: &'static str = r"dhcp:
  lan: {}
";

    fn check_name(name: &str) -> Result<(), String> {
        if is_label(name) {
            Ok(())
        } else {
            Err("the name is that of a Network".to_owned())
        }
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
