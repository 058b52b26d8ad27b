//! The origin of packets: a network of the fleet, or an interface of the host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Prefix of an interface's name in manifests.
const INTERFACE: &str = "interface:";

/// A network that the host is in, or one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Zone {
    /// The network with this name. The host gets the name of its interface instead.
    Network(String),
    /// The interface with this name.
    Interface(String),
}

impl Zone {
    /// Returns the name of the interface. A network whose interface isn't known yet stands for itself.
    pub(super) fn interface(&self) -> &str {
        match self {
            Self::Network(name) | Self::Interface(name) => name,
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => f.write_str(name),
            Self::Interface(name) => write!(f, "{INTERFACE}{name}"),
        }
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix(INTERFACE) {
            Some(name) if is_interface(name) => Ok(Self::Interface(name.to_owned())),
            Some(name) => Err(format!(
                "`{name}` isn't the name of an interface, which is 1 to 15 letters, digits, `.`, `_` and `-`"
            )),
            None if crate::name::is_label(&text) => Ok(Self::Network(text)),
            None => Err(format!(
                "`{text}` isn't the name of a network; an interface is written interface:NAME"
            )),
        }
    }
}

/// True if nothing in the name means something to nft, and the kernel takes it.
fn is_interface(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(good) && !matches!(name, "." | "..")
}
