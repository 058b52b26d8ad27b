//! Verifies signatures with the keys of a policy.

mod armor;
mod openpgp;
mod ssh;

pub use armor::{Armor, ArmorError};
use sequoia_openpgp::Fingerprint;

use crate::key_name::KeyName;
use crate::object::Payload;
use crate::policy::KeyRing;
use crate::reason::{Reason, ReasonCode};

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
    /// The key's index in the key ring.
    pub(crate) key: usize,
    /// Fingerprint of the primary key or subkey that made the signature; `None` for SSH.
    pub(crate) part: Option<Fingerprint>,
    /// The time that the signature claims, in seconds since 1970.
    pub(crate) seconds: i64,
}

/// The reason why a verified signature has no authority.
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
    /// No key of the policy is known to have made it. The reason's code tells how bad that is.
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

    /// Returns the finding for a signature on a `revoke/` tag, which counts in spite of a weak hash or a
    /// revocation of the signing key. Otherwise, revoking one key could give authority back to another.
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

/// Verifies an armored signature. `claimed` is the date in the signed object, for signatures that don't
/// contain a time.
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
