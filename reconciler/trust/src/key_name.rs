//! Names of keys: their fingerprints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::oid::Oid;

/// A key by its fingerprint.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// An `OpenPGP` certificate, by its primary key's fingerprint in upper-case hexadecimal digits.
    OpenPgp(String),
    /// An SSH key, by the SHA-256 of its public part.
    Ssh([u8; 32]),
}

/// Text that isn't a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: write 40 hexadecimal digits for OpenPGP, or SHA256:… for SSH")]
pub struct KeyNameError;

impl KeyName {
    /// Parses an `OpenPGP` fingerprint: 40 hexadecimal digits. Ignores spaces, case, and `0x` at the
    /// beginning.
    pub fn openpgp(text: &str) -> Result<Self, KeyNameError> {
        let digits: String = text.chars().filter(|c| *c != ' ').collect();
        let digits = digits.strip_prefix("0x").unwrap_or(&digits);
        if digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self::OpenPgp(digits.to_ascii_uppercase()))
        } else {
            Err(KeyNameError)
        }
    }

    /// Parses an SSH fingerprint as `ssh-keygen -l` writes it: `SHA256:…`.
    pub fn ssh(text: &str) -> Result<Self, KeyNameError> {
        let fingerprint = ssh_key::Fingerprint::from_str(text).map_err(|_| KeyNameError)?;
        fingerprint.sha256().map(Self::Ssh).ok_or(KeyNameError)
    }

    /// Returns the fingerprint in lower-case hexadecimal digits, as in the name of a `revoke/` tag.
    pub fn to_hex(&self) -> String {
        match self {
            Self::OpenPgp(fingerprint) => fingerprint.to_ascii_lowercase(),
            Self::Ssh(hash) => Oid::from_bytes(hash)
                .map(|hex| hex.to_string())
                .unwrap_or_default(),
        }
    }

    /// Parses a fingerprint in hexadecimal digits, as in the name of a `revoke/` tag.
    pub fn from_hex(hex: &str) -> Result<Self, KeyNameError> {
        let lower = hex.to_ascii_lowercase();
        match Oid::from_hex(lower.as_bytes()) {
            Ok(oid) => match <[u8; 32]>::try_from(oid.as_bytes()) {
                Ok(hash) => Ok(Self::Ssh(hash)),
                Err(_) => Self::openpgp(hex),
            },
            Err(_) => Err(KeyNameError),
        }
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        if text.starts_with("SHA256:") {
            Self::ssh(text)
        } else {
            Self::openpgp(text)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenPgp(fingerprint) => f.pad(fingerprint),
            Self::Ssh(hash) => fmt::Display::fmt(&ssh_key::Fingerprint::Sha256(*hash), f),
        }
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for KeyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
