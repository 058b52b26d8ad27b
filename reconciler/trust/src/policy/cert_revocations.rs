//! Verifies the revocations of a certificate's keys.
//!
//! A revocation counts even if its hash is weak: gpg 1.4 and 2.0 revoke with SHA-1. A revocation by a
//! designated revoker counts as if the certificate's own key had made it (RFC 4880, 5.2.3.15).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation as _;
use sequoia_openpgp::cert::amalgamation::key::{PrimaryKey as _, ValidErasedKeyAmalgamation};
use sequoia_openpgp::cert::{Cert, ValidCert};
use sequoia_openpgp::packet::{Key, Signature, key};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy as _, StandardPolicy};
use sequoia_openpgp::types::RevocationType;
use sequoia_openpgp::{Fingerprint, KeyHandle};

/// The verified revocations of a certificate, by the primary key or subkey that they revoke.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertRevocations(HashMap<Fingerprint, Vec<KeyRevocation>>);

/// One verified revocation of a primary key or subkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRevocation {
    /// The value of the revocation's signature, without the unsigned parts, which may change.
    value: String,
    kind: RevocationType,
    /// The time of the revocation in seconds since 1970.
    made: i64,
    reason: String,
}

impl std::fmt::Display for KeyRevocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        match Timestamp::from_second(self.made) {
            Ok(made) if self.made > 0 => write!(f, ", on {made}"),
            _ => Ok(()),
        }
    }
}

/// A public key of any role.
pub(crate) type AnyKey = Key<key::PublicParts, key::UnspecifiedRole>;

impl CertRevocations {
    /// Verifies the revocations of a certificate. `find` returns the key with a fingerprint; it is used to
    /// find designated revokers.
    pub(super) fn of<'k>(cert: &Cert, find: impl Fn(&Fingerprint) -> Option<&'k AnyKey>) -> Self {
        let mut found = Self::default();
        let primary = cert.primary_key();
        let designated: Vec<&AnyKey> = revokers(cert).filter_map(|name| find(&name)).collect();
        let by_revoker = |revocation: &Signature, verify: &dyn Fn(&AnyKey) -> bool| {
            let issuers = revocation.get_issuers();
            let names = |key: &AnyKey| {
                let handle = KeyHandle::from(key.fingerprint());
                issuers.iter().any(|issuer| issuer.aliases(&handle))
            };
            designated.iter().any(|key| names(key) && verify(key))
        };
        let others = primary.other_revocations().filter(|revocation| {
            let verify =
                |key: &AnyKey| revocation.verify_primary_key_revocation(key, primary.key());
            by_revoker(revocation, &|key| verify(key).is_ok())
        });
        let own = primary.self_revocations();
        found.add(primary.key().fingerprint(), own.chain(others));
        for part in cert.keys().subkeys() {
            let others = part.other_revocations().filter(|revocation| {
                let verify = |key: &AnyKey| {
                    revocation.verify_subkey_revocation(key, primary.key(), part.key())
                };
                by_revoker(revocation, &|key| verify(key).is_ok())
            });
            let own = part.self_revocations();
            found.add(part.key().fingerprint(), own.chain(others));
        }
        found
    }

    fn add<'s>(&mut self, part: Fingerprint, revocations: impl Iterator<Item = &'s Signature>) {
        let revocations: Vec<KeyRevocation> = revocations.map(KeyRevocation::of).collect();
        if !revocations.is_empty() {
            self.0.entry(part).or_default().extend(revocations);
        }
    }

    /// Returns the revocation of a primary key or subkey that is in force at a time. A hard revocation is
    /// always in force. A soft one is in force from its own date until a newer self-signature; `bound` is the
    /// date of the newest self-signature that counts at that time.
    pub(crate) fn in_force(
        &self,
        part: &Fingerprint,
        seconds: i64,
        bound: Option<i64>,
    ) -> Option<&KeyRevocation> {
        let revocations = self.0.get(part)?;
        let hard = |revocation: &&KeyRevocation| revocation.kind == RevocationType::Hard;
        let stands = |revocation: &&KeyRevocation| {
            revocation.made <= seconds && bound.is_none_or(|bound| bound <= revocation.made)
        };
        revocations
            .iter()
            .find(hard)
            .or_else(|| revocations.iter().filter(stands).min_by_key(|r| r.made))
    }

    /// Returns the revocation that is in force at a time for a primary key or subkey of a valid certificate.
    pub(super) fn of_valid_part(
        &self,
        part: &ValidErasedKeyAmalgamation<'_, key::PublicParts>,
        seconds: i64,
    ) -> Option<&KeyRevocation> {
        let bound = if part.primary() {
            newest_binding(part.valid_cert())
        } else {
            part.binding_signature()
                .signature_creation_time()
                .map(seconds_of)
        };
        self.in_force(&part.key().fingerprint(), seconds, bound)
    }

    /// Returns every verified revocation, with the primary key or subkey that it revokes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &KeyRevocation)> {
        let each = |(part, all)| std::iter::repeat(part).zip::<&Vec<KeyRevocation>>(all);
        self.0.iter().flat_map(each)
    }

    /// True if a primary key or subkey has a hard revocation, which voids all its signatures whatever their
    /// date.
    pub(crate) fn is_hard(&self, part: &Fingerprint) -> bool {
        let hard = |revocation: &KeyRevocation| revocation.kind == RevocationType::Hard;
        self.0.get(part).is_some_and(|all| all.iter().any(hard))
    }
}

/// Returns the value of a signature, which is equal for all copies of the signature.
pub(super) fn value_of(signature: &Signature) -> String {
    format!("{:?}{:?}", signature.digest_prefix(), signature.mpis())
}

impl KeyRevocation {
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// True if the revocation is in force at a time. Ignores newer self-signatures, which could end a soft
    /// revocation.
    pub(super) fn voids(&self, seconds: i64) -> bool {
        self.kind == RevocationType::Hard || self.made <= seconds
    }

    /// Reads a revocation. A revocation without a reason, or with an unknown reason, is hard.
    fn of(signature: &Signature) -> Self {
        let reason = signature.reason_for_revocation();
        Self {
            value: value_of(signature),
            kind: reason.map_or(RevocationType::Hard, |(code, _)| code.revocation_type()),
            made: signature.signature_creation_time().map_or(0, seconds_of),
            reason: reason.map_or_else(
                || "no reason given".to_owned(),
                |(code, _)| code.to_string(),
            ),
        }
    }
}

/// Returns the keys that a certificate designates as revokers in any of its self-signatures. Like gpg, this
/// ignores later withdrawals of a designation.
fn revokers(cert: &Cert) -> impl Iterator<Item = Fingerprint> {
    primary_signatures(cert)
        .flat_map(|signature| signature.revocation_keys())
        .map(|named| named.revoker().1.clone())
}

/// True if a self-signature that is newer than the one that counts (dated `bound`), and has a weak hash, ends
/// the key's validity. A weak hash can end a key's validity but can't extend it.
pub(super) fn is_ended_by_weak_signature<'s, R: key::KeyRole>(
    standard: &StandardPolicy<'_>,
    key: &Key<key::PublicParts, R>,
    mut signatures: impl Iterator<Item = &'s Signature>,
    bound: Option<i64>,
    seconds: i64,
) -> bool {
    signatures.any(|signature| {
        let made = signature.signature_creation_time().map_or(0, seconds_of);
        let strength = HashAlgoSecurity::CollisionResistance;
        made <= seconds
            && bound.is_none_or(|bound| bound < made)
            && standard.signature(signature, strength).is_err()
            && signature.key_alive(key, at(seconds)).is_err()
    })
}

/// Returns the self-signatures of a certificate's primary key and of its user IDs.
pub(super) fn primary_signatures(cert: &Cert) -> impl Iterator<Item = &Signature> {
    let users = cert
        .userids()
        .flat_map(|user| user.self_signatures().collect::<Vec<_>>());
    cert.primary_key().self_signatures().chain(users)
}

/// Returns the time of the newest self-signature of a certificate's primary key.
pub(super) fn newest_binding(cert: &ValidCert<'_>) -> Option<i64> {
    let primary = cert.primary_key();
    let direct = primary.direct_key_signature().ok();
    let times = [Some(primary.binding_signature()), direct]
        .into_iter()
        .flatten();
    times
        .filter_map(|signature| signature.signature_creation_time())
        .map(seconds_of)
        .max()
}

pub(super) fn seconds_of(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

pub(super) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
