//! Names that can't be swapped for one another.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::resource::Kind;

/// A text is no name of the wanted sort; the message says what one looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    /// What was given, cut to a length fit for a message.
    pub given: String,
    /// What is wrong and what would be right, in a phrase.
    pub problem: Cow<'static, str>,
}

impl InvalidName {
    /// An error about `given`, which is cut to 80 characters.
    pub fn new(given: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            given: given.chars().take(80).collect(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.given, self.problem)
    }
}

impl std::error::Error for InvalidName {}

/// Whether the text is an RFC 1123 label: 1–63 of `a-z`, `0-9` and `-`, not beginning or ending with `-`.
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_label(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName::new(
                        text,
                        "a name is 1 to 63 of a-z, 0-9 and `-`, and neither begins nor ends with `-` (RFC 1123)",
                    ))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        text_serde!($name);
    )*};
}

macro_rules! text_serde {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

labels! {
    /// A host's name in the repository: the file's name under `hosts/`, an RFC 1123 label.
    HostName;
    /// A fleet's name: `metadata.name` of `fleet.yaml`.
    FleetName;
    /// A controller's identity, made once with its state folder; hosts fence by it.
    ControllerId;
}

impl FleetName {
    /// The name of a fleet whose own can't be read; nothing of such a fleet is ever driven.
    pub fn nameless() -> Self {
        Self("nameless".to_owned())
    }
}

/// How often a controller has started; hosts refuse what comes from an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The longest name of a resource, in bytes: Linux' `PATH_MAX`.
pub const MAX_RESOURCE_NAME: usize = 4096;

/// Checks what holds for the names of all resources.
pub(crate) fn check_resource_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() || name.len() > MAX_RESOURCE_NAME || name.contains(char::is_control) {
        return Err(InvalidName::new(
            name,
            "a resource's name has 1 to 4096 bytes and no control characters",
        ));
    }
    Ok(())
}

/// The address of a resource on a host: `file:/etc/motd`, `service:nginx`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    kind: Kind,
    /// Shared: a fleet of many hosts holds the same names many times.
    name: Arc<str>,
}

impl Address {
    /// An address; the name is checked by the rules of its type.
    ///
    /// # Errors
    /// When the type doesn't take such a name (a file's is an absolute path without `..`, and so on).
    pub fn new(kind: Kind, name: &str) -> Result<Self, InvalidName> {
        check_resource_name(name)?;
        kind.check_name(name)
            .map_err(|problem| InvalidName::new(name, problem))?;
        Ok(Self {
            kind,
            name: name.into(),
        })
    }

    /// The resource's type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The resource's name within its type.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Address {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let Some((kind, name)) = text.split_once(':') else {
            return Err(InvalidName::new(
                text,
                "an address is TYPE:NAME, such as file:/etc/motd",
            ));
        };
        let Ok(kind) = kind.parse::<Kind>() else {
            let all: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            return Err(InvalidName::new(
                text,
                format!("`{kind}` is no resource type; there are {}", all.join(", ")),
            ));
        };
        Self::new(kind, name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

text_serde!(Address);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in [
            "file:/etc/motd",
            "unit:nginx.service.d/limits.conf",
            "sysctl:net.ipv4.ip_forward",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_right() {
        for (text, says) in [
            ("motd", "TYPE:NAME"),
            ("files:/etc/motd", "no resource type; there are file"),
            ("file:etc/motd", "absolute"),
            ("file:/etc/../motd", "`..`"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn labels_are_rfc_1123() {
        assert!(is_label("local-nas") && is_label("a") && is_label(&"x".repeat(63)));
        assert!(!is_label("") && !is_label("-a") && !is_label("A") && !is_label(&"x".repeat(64)));
    }
}
