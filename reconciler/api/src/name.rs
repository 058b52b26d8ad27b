//! Names of different types, so that they can't be confused with one another.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::resource::Kind;

/// The error for a text that isn't a valid name. Its message describes a valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    /// The given text, cut to a length fit for a message.
    pub given: String,
    /// The mistake and the right form, in a phrase.
    pub problem: Cow<'static, str>,
    /// The unknown word within the text, if the mistake is one.
    pub unknown: Option<UnknownWord>,
}

/// A word that isn't one of a closed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The words that would be right.
    pub known: &'static [&'static str],
}

impl InvalidName {
    /// Creates an error about `given`, truncated to 80 characters.
    pub fn new(given: &str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            given: given.chars().take(80).collect(),
            problem: problem.into(),
            unknown: None,
        }
    }

    /// Creates the error about an unknown resource type.
    pub(crate) fn unknown_type(given: &str, word: &str, known: &'static [&'static str]) -> Self {
        let word: String = word.chars().take(80).collect();
        Self {
            unknown: Some(UnknownWord {
                word: word.clone(),
                known,
            }),
            ..Self::new(given, format!("unknown resource type `{word}`"))
        }
    }

    /// Returns the error as one of a deserializer, which suggests the word that was probably meant.
    pub(crate) fn into_serde<E: serde::de::Error>(self) -> E {
        match self.unknown {
            Some(unknown) => E::unknown_variant(&unknown.word, unknown.known),
            None => E::custom(self),
        }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.given, self.problem)
    }
}

impl std::error::Error for InvalidName {}

/// True if the text is an RFC 1123 label: 1–63 of `a-z`, `0-9` and `-`, not beginning or ending with `-`.
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// True if the text can be a host's or a domain's name in the configurations of other programs: letters, digits, `.`,
/// `_` and `-`, 253 at most, and not with `.` or `-` at an end.
pub fn is_dns_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=253).contains(&text.len())
        && text.bytes().all(good)
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
}

/// True if the kernel and systemd take a text as the name of an interface.
pub fn is_interface(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=15).contains(&text.len()) && text.bytes().all(good) && !text.starts_with(['.', '-'])
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
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
                        "a name must be 1 to 63 of a-z, 0-9 and `-`, without `-` at either end (RFC 1123)",
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
    /// A host's name in the repository, an RFC 1123 label: the name of its file under `hosts/`.
    HostName;
    /// A fleet's name: `metadata.name` of `fleet.yaml`.
    FleetName;
    /// Identity of a controller, created together with its state folder and sent in every request to a host.
    ControllerId;
}

impl FleetName {
    /// Returns the name for a fleet whose own name can't be read. The controller never changes hosts of such
    /// a fleet.
    pub fn nameless() -> Self {
        Self("nameless".to_owned())
    }
}

/// Number of a controller's start. A host rejects requests with a lower number than it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Maximum length of a resource's name in bytes: Linux' `PATH_MAX`.
pub const MAX_RESOURCE_NAME: usize = 4096;

/// Checks the rules that hold for the names of all resources.
pub(crate) fn check_resource_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() || name.len() > MAX_RESOURCE_NAME || name.contains(char::is_control) {
        return Err(InvalidName::new(
            name,
            "a resource's name must have 1 to 4096 bytes and no control characters",
        ));
    }
    Ok(())
}

/// The address of a resource on a host: `file:/etc/motd`, `service:nginx`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    kind: Kind,
    /// Shared, because a fleet of many hosts holds the same names many times.
    name: Arc<str>,
}

impl Address {
    /// Creates an address. The name must satisfy the rules of the resource type.
    ///
    /// # Errors
    /// Fails if the resource type doesn't accept the name. For example, a file's name must be an absolute
    /// path without `..`.
    pub fn new(kind: Kind, name: &str) -> Result<Self, InvalidName> {
        check_resource_name(name)?;
        kind.check_name(name)
            .map_err(|problem| InvalidName::new(name, problem))?;
        Ok(Self {
            kind,
            name: name.into(),
        })
    }

    /// Returns the resource's type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the resource's name within its type.
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
                "write an address as TYPE:NAME, such as file:/etc/motd",
            ));
        };
        let Ok(kind) = kind.parse::<Kind>() else {
            return Err(InvalidName::unknown_type(text, kind, Kind::NAMES));
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

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(InvalidName::into_serde)
    }
}

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
            ("files:/etc/motd", "unknown resource type `files`"),
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
