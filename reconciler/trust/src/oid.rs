//! Names of git objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hash function that names a repository's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectFormat {
    /// SHA-1, with detection of collision attacks: 20 bytes.
    Sha1,
    /// SHA-256: 32 bytes.
    Sha256,
}

impl ObjectFormat {
    /// Returns the length of an object name in bytes.
    pub const fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The name of a git object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid {
    format: ObjectFormat,
    // The bytes after the format's length are always zero, so that the derived comparisons hold.
    bytes: [u8; 32],
}

const EMPTY_TREE_SHA1: [u8; 20] =
    *b"\x4b\x82\x5d\xc6\x42\xcb\x6e\xb9\xa0\x60\xe5\x4b\xf8\xd6\x92\x88\xfb\xee\x49\x04";
const EMPTY_TREE_SHA256: [u8; 32] = *b"\x6e\xf1\x9b\x41\x22\x5c\x53\x69\xf1\xc1\x04\xd4\x5d\x8d\x85\xef\xa9\xb0\x57\xb5\x3b\x14\xb4\xb9\xb9\x39\xdd\x74\xde\xcc\x53\x21";

/// Text or bytes that aren't an object's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object name: a name is 40 or 64 lower-case hexadecimal digits")]
pub struct OidError;

impl Oid {
    /// Makes a name from its 20 or 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OidError> {
        let format = match bytes.len() {
            20 => ObjectFormat::Sha1,
            32 => ObjectFormat::Sha256,
            _ => return Err(OidError),
        };
        let mut all = [0; 32];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { format, bytes: all })
    }

    /// Parses a name from its lower-case hexadecimal digits.
    pub fn from_hex(hex: &[u8]) -> Result<Self, OidError> {
        let format = match hex.len() {
            40 => ObjectFormat::Sha1,
            64 => ObjectFormat::Sha256,
            _ => return Err(OidError),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self { format, bytes })
    }

    /// Returns the name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.format.width()]
    }

    /// Returns the hash function that computed the name.
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// Returns the first twelve hexadecimal digits, for tables and messages.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }

    /// True if this is the name of the empty tree.
    pub(crate) fn is_empty_tree(&self) -> bool {
        match self.format {
            ObjectFormat::Sha1 => self.as_bytes() == EMPTY_TREE_SHA1,
            ObjectFormat::Sha256 => self.as_bytes() == EMPTY_TREE_SHA256,
        }
    }

    /// True if all bytes are zero, which is git's name for "nothing".
    pub fn is_null(&self) -> bool {
        self.bytes == [0; 32]
    }
}

fn digit(c: u8) -> Result<u8, OidError> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(OidError),
    }
}

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        Self::from_hex(text.as_bytes())
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.pad(std::str::from_utf8(&hex[..self.format.width() * 2]).unwrap_or_default())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Oid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Oid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_in_one_way() {
        let hex = "6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e";
        let oid: Oid = hex.parse().unwrap();
        assert_eq!(oid.to_string(), hex);
        assert_eq!(Oid::from_bytes(oid.as_bytes()).unwrap(), oid);
        assert_eq!(serde_json::to_string(&oid).unwrap(), format!("\"{hex}\""));
        assert_eq!(
            serde_json::from_str::<Oid>(&format!("\"{hex}\"")).unwrap(),
            oid
        );
        for wrong in [
            "",
            "6f1c",
            &hex.to_uppercase(),
            &format!("{hex}0"),
            &format!("g{}", &hex[1..]),
        ] {
            assert!(wrong.parse::<Oid>().is_err(), "{wrong}");
        }
    }
}
