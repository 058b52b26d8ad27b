//! The types of fields that several resource types share.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// The desired presence of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// The resource exists.
    #[default]
    Present,
    /// The resource doesn't exist. (To stop managing a resource, leave it out.)
    Absent,
}

impl Presence {
    /// True if this is the default, which the canonical form omits.
    pub fn is_present(&self) -> bool {
        *self == Self::Present
    }
}

/// The management mode of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Manage {
    /// Drift is found and handled as the host's `drift.mode` says.
    #[default]
    Always,
    /// The resource is created if it doesn't exist, and never changed again (Puppet's `replace => false`).
    Once,
}

impl Manage {
    /// True if this is the default, which the canonical form omits.
    pub fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

/// A file's content, identified by its hash. The controller sends the bytes as a blob if the host doesn't
/// have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// The number of bytes.
    pub size: u64,
}

impl Content {
    /// Returns the digest and size of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Digest::of_bytes(bytes),
            size: bytes.len() as u64,
        }
    }
}

/// Permission bits, as quoted octal in manifests: `"0644"`, `"4755"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u32);

impl Mode {
    /// Creates a mode from these bits. Bits above `0o7777` are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Returns the permission bits, `0` to `0o7777`.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal => Ok(Self(bits)),
            _ => Err("a mode must be three or four octal digits in quotes, such as \"0644\""),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mode({self})")
    }
}

/// A user or a group, by name or by number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

impl Principal {
    /// Returns the name, unless this is a number.
    pub fn name(&self) -> Option<&str> {
        self.id().is_none().then_some(&self.0)
    }

    /// Returns the number, if this is one.
    pub fn id(&self) -> Option<u32> {
        self.0.parse().ok()
    }

    /// Returns the text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True if Debian's `useradd` accepts the name and it is safe in paths and file formats.
pub(super) fn is_account_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.len() <= 32 && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.$".contains(&b))
}

impl FromStr for Principal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text
            .parse::<u32>()
            .is_ok_and(|id| id.to_string() == text && id != u32::MAX);
        if number || is_account_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("an owner or group must be a name such as www-data, or a number in quotes")
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({})", self.0)
    }
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

text_serde!(Mode);
text_serde!(Principal);

/// The file type that was observed at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileType {
    /// Nothing exists there.
    #[default]
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a socket or a pipe: Plumb never touches it.
    Other,
}

/// The meaning of a list of members: at least these, or only these (Puppet's `auth_membership`, Ansible's
/// `append: false`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Membership {
    /// At least these; others stay. This is the default, because with the opposite default people silently
    /// lost sudo.
    #[default]
    Minimum,
    /// Exactly these.
    Inclusive,
}

impl Membership {
    /// True if this is the default, which the canonical form omits.
    pub fn is_minimum(&self) -> bool {
        *self == Self::Minimum
    }
}
