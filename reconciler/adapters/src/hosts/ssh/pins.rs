//! Pinned host keys: the only keys that are accepted, and the only key types that are offered.

use std::borrow::Cow;

use russh::keys::ssh_key::EcdsaCurve;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::{Preferred, cipher, kex};

/// The host keys that a host may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pins(Vec<PublicKey>);

impl Pins {
    /// Parses the lines of a manifest (`ssh-ed25519 AAAA… [comment]`). It skips lines that it can't parse and
    /// keys of other types than [`TYPES`], and returns `None` if no key is left.
    pub(super) fn parse(lines: &[String]) -> Option<Self> {
        let keys: Vec<_> = lines
            .iter()
            .filter_map(|line| PublicKey::from_openssh(line.trim()).ok())
            .filter(|key| TYPES.contains(&key.algorithm()))
            .collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// True if the key is pinned. Comments are ignored.
    pub(super) fn hold(&self, shown: &PublicKey) -> bool {
        self.0.iter().any(|pin| pin.key_data() == shown.key_data())
    }

    /// Lists the types of the pinned keys, for messages.
    pub(super) fn types(&self) -> String {
        let mut types: Vec<_> = self
            .0
            .iter()
            .map(|key| key.algorithm().to_string())
            .collect();
        types.dedup();
        types.join(", ")
    }
    /// Returns the algorithms to offer. They include only pinned key types, because any other key of the
    /// server would be a mismatch.
    pub(super) fn preferred(&self) -> Preferred {
        let mut key: Vec<Algorithm> = Vec::new();
        for pin in &self.0 {
            let algorithm = pin.algorithm();
            if !key.contains(&algorithm) {
                key.push(algorithm);
            }
        }
        preferred(key)
    }
}

/// Returns the algorithms to offer, with these host key types. The other algorithms are russh's defaults, and
/// the NIST curves and AES-128-GCM: FIPS and STIG baselines leave only these.
pub(super) fn preferred(key: Vec<Algorithm>) -> Preferred {
    let mut kex = Preferred::DEFAULT.kex.into_owned();
    let nist = [
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
    ];
    let after = kex.iter().rposition(|name| name.as_ref().contains("25519"));
    let at = after.map_or(0, |at| at + 1);
    kex.splice(at..at, nist);
    let mut cipher = Preferred::DEFAULT.cipher.into_owned();
    let after = cipher.iter().position(|name| *name == cipher::AES_256_GCM);
    cipher.insert(after.map_or(0, |at| at + 1), cipher::AES_128_GCM);
    Preferred {
        key: Cow::Owned(key),
        kex: Cow::Owned(kex),
        cipher: Cow::Owned(cipher),
        ..Preferred::DEFAULT
    }
}

/// The accepted types of host keys. RSA is excluded: its only available implementation isn't constant-time
/// (RUSTSEC-2023-0071), and every server that was installed in the last ten years also has one of these.
pub(super) const TYPES: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
];

/// True if host keys of this type, as SSH names it, can be pinned.
pub(super) fn is_accepted(name: &str) -> bool {
    TYPES.iter().any(|one| one.as_str() == name)
}

/// Formats a key's type and fingerprint, as people compare them.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

#[cfg(test)]
mod tests {
    use super::super::tests::key;
    use super::*;

    #[test]
    fn only_the_pinned_types_are_offered_and_comments_do_not_count() {
        let pinned = key(1).public_key().clone();
        let line = format!("{} admin@nas", pinned.to_openssh().unwrap());
        let pins = Pins::parse(&[line, "ssh-ed25519 garbage".to_owned()]).unwrap();
        assert_eq!(*pins.preferred().key, [Algorithm::Ed25519]);
        assert!(pins.hold(&pinned));
        assert!(!pins.hold(key(2).public_key()));
        assert_eq!(Pins::parse(&["nonsense".to_owned()]), None);
    }
}
