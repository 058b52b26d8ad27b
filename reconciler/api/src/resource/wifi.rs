//! `wifi`: a wireless network that an interface joins.

use serde::{Deserialize, Serialize};

use super::composite::{Composite, Named};
use super::composite_name::check_file_stem;
use super::contract::Problem;
use super::field::Manage;
use crate::address::{AnyAddress, AnyKind};

/// A wireless network that an interface joins with `wpa_supplicant`. All networks of one interface expand to
/// `/etc/wpa_supplicant/wpa_supplicant-INTERFACE.conf`, which only root can read, and to the service
/// `wpa_supplicant@INTERFACE`, which reloads when the file changes. The agent fills in the passphrases.
///
/// The interface gets its addresses from elsewhere: from its place in a Network, or from DHCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WifiSpec {
    /// The name that the network announces.
    pub ssid: String,
    /// The secret with the passphrase, 8 to 63 characters: `secret:wifi/home`. When left out, the network is
    /// an open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<AnyAddress>,
    /// Of the networks in reach, the one with the highest number is joined; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// The interface's name on the host.
    pub interface: String,
    /// `true`: the network doesn't announce its name, so the interface has to ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnyAddress>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

impl Composite for WifiSpec {
    const EXAMPLE: &'static str = r"wifi:
  guests: {ssid: Fleet guests, priority: 10, interface: wlan0}
";

    fn check_name(name: &str) -> Result<(), String> {
        check_file_stem(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &'static str, message: &str, hint: &str| {
            problems.push(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            });
        };
        let length = self.ssid.len();
        if !(1..=32).contains(&length) || self.ssid.contains(char::is_control) {
            wrong(
                "ssid",
                "`ssid` must be a line of 1 to 32 bytes",
                "write ssid: Home",
            );
        }
        let is_secret = |one: &AnyAddress| one.kind() == AnyKind::Primitive(super::Kind::Secret);
        if self.psk.as_ref().is_some_and(|psk| !is_secret(psk)) {
            wrong(
                "psk",
                "`psk` must name a secret",
                "write psk: secret:wifi/home",
            );
        }
        if !crate::name::is_interface(&self.interface) {
            wrong(
                "interface",
                "this isn't the name of an interface",
                "write interface: wlan0",
            );
        }
        problems
    }

    fn names(&self) -> Vec<Named> {
        let named = |address: &AnyAddress| Named {
            field: "psk",
            any_of: vec![address.clone()],
        };
        self.psk.iter().map(named).collect()
    }

    fn after(&self) -> &[AnyAddress] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
