//! `interface`: a host's static addresses in a network.

use serde::{Deserialize, Serialize};

use super::composite::Composite;
use super::contract::Problem;
use super::field::Manage;
use super::wireguard::{check_mtu, check_network};
use crate::address::AnyAddress;

/// A host's static addresses in a network. The name is the network's. A host whose entry in `networks` has
/// `assign: static` gets it without being told; write it out only to set a field, or to name it in `remove`,
/// `after` or `drift.ignore`. With `assign: dhcp` or `external`, Plumb never touches the interface.
///
/// It expands to `/etc/systemd/network/50-plumb-IFACE.network` and the service `systemd-networkd`, which reads it
/// again without a restart. The network's `gateway` becomes the default route, and routes of members lead through
/// their addresses. If ifupdown, `NetworkManager` or netplan already configures the interface, the change is
/// refused with its name. All of it is changed under the dead-man timer. So if it leaves git while nothing else on
/// the host gives the interface an address, the host puts it back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InterfaceSpec {
    /// The largest packet of the interface in bytes; the driver's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for InterfaceSpec {
    const EXAMPLE: &'static str = r"interface:
  lan: {mtu: 9000}
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
