//! Signatures, and their value under the keys of a policy.

mod armor;
mod openpgp;
mod ssh;

use std::fmt;
use std::str::FromStr;

pub use armor::{Armor, ArmorError};
use sequoia_openpgp::Fingerprint;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::object::Payload;
use crate::policy::KeyRing;
use crate::reason::{Reason, ReasonCode};

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
    /// Parses an `OpenPGP` fingerprint: 40 hexadecimal digits; ignores spaces and case.
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

    /// Returns the fingerprint as the name of a `revoke/` tag has it: in hexadecimal digits.
    pub fn to_hex(&self) -> String {
        match self {
            Self::OpenPgp(fingerprint) => fingerprint.to_ascii_lowercase(),
            Self::Ssh(hash) => crate::oid::Oid::from_bytes(hash)
                .map(|hex| hex.to_string())
                .unwrap_or_default(),
        }
    }

    /// Parses the fingerprint in the name of a `revoke/` tag.
    pub fn from_hex(hex: &str) -> Result<Self, KeyNameError> {
        let lower = hex.to_ascii_lowercase();
        match crate::oid::Oid::from_hex(lower.as_bytes()) {
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

/// Returns the key that an armored signature names as its maker. The claim isn't verified.
pub fn named_key(block: &[u8]) -> Option<KeyName> {
    let armor = Armor::of(block)?;
    let bytes = armor.decode(block).ok()?;
    match armor {
        Armor::OpenPgp => openpgp::named_key(&bytes),
        Armor::Ssh => ssh::named_key(&bytes),
    }
}

/// A verified signature by a key of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The key's number in the ring.
    pub(crate) key: usize,
    /// The fingerprint of the primary key or subkey that made it; `None` for SSH.
    pub(crate) part: Option<Fingerprint>,
    /// The time that the signature claims, in seconds since 1970.
    pub(crate) seconds: i64,
}

/// The reason that a verified signature has no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The certificate revokes the key.
    Revoked,
    /// The signature is over a weak hash.
    WeakHash,
    /// The key had expired, is too short, or may not make this signature.
    Unfit,
}

/// The result of examining a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A key of the policy made it, and it counts.
    Good(Made),
    /// A key of the policy made it, and it doesn't count.
    Void(Made, Flaw, Reason),
    /// No key of the policy is known to have made it; the code says how bad that is.
    Not(Reason),
}

impl Finding {
    /// Returns the signature if a key of the policy made it.
    pub(crate) const fn made(&self) -> Option<&Made> {
        match self {
            Self::Good(made) | Self::Void(made, ..) => Some(made),
            Self::Not(_) => None,
        }
    }

    /// Returns the finding for a `revoke/` tag, where neither a weak hash nor a revocation of the signing key
    /// voids the signature. Otherwise revoking one key could give authority back to another.
    pub(crate) fn for_revoking(self) -> Self {
        match self {
            Self::Void(made, Flaw::Revoked | Flaw::WeakHash, _) => Self::Good(made),
            other => other,
        }
    }
}

pub(crate) fn not(code: ReasonCode, message: impl Into<String>) -> Finding {
    Finding::Not(Reason::new(code, message))
}

/// Examines an armored signature. `claimed` is the time that the object claims, for signatures without a
/// time.
pub(crate) fn examine(ring: &KeyRing, payload: Payload<'_>, block: &[u8], claimed: i64) -> Finding {
    let Some(armor) = Armor::of(block) else {
        if armor::is_x509(block) {
            return not(
                ReasonCode::UnsupportedSignature,
                "X.509 signatures can't be verified here",
            );
        }
        return not(
            ReasonCode::MalformedSignature,
            "the signature is neither a detached OpenPGP nor an SSH signature",
        );
    };
    match armor.decode(block) {
        Err(error) => not(ReasonCode::MalformedSignature, error.to_string()),
        Ok(bytes) => match armor {
            Armor::OpenPgp => openpgp::examine(ring, payload, &bytes),
            Armor::Ssh => ssh::examine(ring, payload, &bytes, claimed),
        },
    }
}
