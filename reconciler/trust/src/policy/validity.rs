//! Checks whether a key can make a signature that counts at a time, and why not.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sequoia_openpgp::cert::amalgamation::key::{ErasedKeyAmalgamation, PrimaryKey as _};
use sequoia_openpgp::cert::{Cert, ValidCert};
use sequoia_openpgp::crypto::mpi::PublicKey;
use sequoia_openpgp::packet::{Key, Signature, key};
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy as _, StandardPolicy};
use sequoia_openpgp::types::HashAlgorithm;
use sequoia_openpgp::{Error, Fingerprint, anyhow};
use ssh_key::public::KeyData;

use super::cert_revocations::{
    at, is_ended_by_weak_signature, newest_binding, primary_signatures, seconds_of,
};
use super::keys::RingKey;
use super::material::rsa_bits;
use super::unusable::Unusable;
use super::{KeyFile, KeyRing};
use crate::key_name::KeyName;
use crate::reason::ReasonCode;

/// The reason why no self-signature of a key counts at a time. If the self-signatures have different reasons,
/// the greatest variant is used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Unbound {
    Missing,
    Newer,
    Expired,
    Refused(String),
    WeakHash(&'static str),
}

impl Unbound {
    /// Returns the reason, or `None` if one of the signatures counts.
    fn of<'s>(
        standard: &StandardPolicy<'_>,
        signatures: impl Iterator<Item = &'s Signature>,
        seconds: i64,
    ) -> Option<Self> {
        let mut worst = Self::Missing;
        for signature in signatures {
            worst = worst.max(Self::of_one(standard, signature, seconds)?);
        }
        Some(worst)
    }

    fn of_one(standard: &StandardPolicy<'_>, signature: &Signature, seconds: i64) -> Option<Self> {
        if signature.signature_creation_time().map_or(0, seconds_of) > seconds {
            return Some(Self::Newer);
        }
        if signature
            .signature_alive(at(seconds), Duration::ZERO)
            .is_err()
        {
            return Some(Self::Expired);
        }
        // A signing subkey also signs its primary key, within the signature that binds it.
        let refused = |signature: &Signature| {
            let strength = HashAlgoSecurity::CollisionResistance;
            let error = standard.signature(signature, strength).err()?;
            Some(match signature.hash_algo() {
                HashAlgorithm::SHA1 => Self::WeakHash("SHA-1"),
                HashAlgorithm::MD5 => Self::WeakHash("MD5"),
                HashAlgorithm::RipeMD => Self::WeakHash("RIPEMD-160"),
                _ => Self::Refused(error.to_string()),
            })
        };
        refused(signature).or_else(|| signature.embedded_signatures().find_map(refused))
    }

    /// Formats the reason. `what` is the kind of self-signature, and `renew` the command that makes a new
    /// one.
    fn said(self, what: &str, renew: &str) -> Unusable {
        let renewed = format!("renew it where its secret key is: {renew}");
        match self {
            Self::Missing => Unusable::new(ReasonCode::KeyMisused, format!("it has no {what}")),
            Self::Newer => {
                let why = format!("its {what} is newer than that time");
                Unusable::new(ReasonCode::KeyExpired, why)
            }
            Self::Expired => {
                Unusable::new(ReasonCode::KeyExpired, format!("its {what} has expired"))
                    .hint(renewed)
            }
            Self::Refused(error) => {
                let why = format!("its {what} isn't accepted: {error}");
                Unusable::new(ReasonCode::KeyMisused, why).hint(renewed)
            }
            Self::WeakHash(hash) => {
                Unusable::new(ReasonCode::WeakCrypto, format!("its {what} is by {hash}"))
                    .hint(renewed)
            }
        }
    }
}

impl KeyRing {
    /// Checks that a primary key or subkey of a certificate can sign at a time: it is bound to the
    /// certificate, meant for signing, not expired and not revoked. A hard revocation counts at all times.
    pub(super) fn check_part(
        &self,
        key: &RingKey,
        part: &Fingerprint,
        seconds: i64,
    ) -> Result<(), Unusable> {
        let cert = key.cert().ok_or_else(Unusable::no_certificate)?;
        let (standard, whole) = (self.standard(), cert.fingerprint());
        let renew = format!("{RENEW} {whole} 2y {part}");
        let valid = self.check_certificate(key, cert, seconds)?;
        let Some(part) = valid.keys().find(|own| own.key().fingerprint() == *part) else {
            let own = cert.keys().filter(|own| own.key().fingerprint() == *part);
            let own = own.flat_map(|own| own.self_signatures().collect::<Vec<_>>());
            let unbound = Unbound::of(standard, own, seconds);
            return Err(unbound.map_or_else(too_weak, |unbound| {
                unbound.said("binding signature", &renew)
            }));
        };
        if let Some(by) = key.revocations().of_valid_part(&part, seconds) {
            return Err(Unusable::by_certificate(by));
        }
        part.alive().map_err(|error| ended(&error, &renew))?;
        let bound = part.binding_signature().signature_creation_time();
        let (bound, own) = (bound.map(seconds_of), part.amalgamation().self_signatures());
        if is_ended_by_weak_signature(standard, part.key(), own, bound, seconds) {
            return Err(ended_by_weak(&renew));
        }
        if !part.for_signing() {
            return Err(Unusable::new(
                ReasonCode::KeyMisused,
                "it isn't meant for signing",
            ));
        }
        Ok(())
    }

    fn check_certificate<'c>(
        &'c self,
        key: &RingKey,
        cert: &'c Cert,
        seconds: i64,
    ) -> Result<ValidCert<'c>, Unusable> {
        let (standard, name) = (self.standard(), cert.fingerprint());
        let renew = format!("{RENEW} {name} 2y");
        // Revocations are checked first: a revoked certificate may have no other valid signature left.
        let valid = cert.with_policy(standard, at(seconds));
        let bound = valid.as_ref().ok().and_then(newest_binding);
        if let Some(by) = key.revocations().in_force(&name, seconds, bound) {
            return Err(Unusable::by_certificate(by));
        }
        let primary = cert.primary_key().key();
        let valid = valid.map_err(|_| {
            if let Some(kind) = unverifiable(primary) {
                // The self-signatures of such a key can't be verified either.
                return Unusable::new(ReasonCode::KeyMisused, format!("it {kind}"));
            }
            match Unbound::of(standard, primary_signatures(cert), seconds) {
                Some(Unbound::Missing) => Unusable::new(
                    ReasonCode::KeyMisused,
                    "it has no self-signature, as from a keyserver that leaves out user IDs",
                )
                .hint(format!(
                    "export it where its secret key is: gpg --armor --export {name}"
                )),
                Some(unbound) => unbound.said("self-signature", &renew),
                None => too_weak(),
            }
        })?;
        valid.alive().map_err(|error| ended(&error, &renew))?;
        if is_ended_by_weak_signature(standard, primary, primary_signatures(cert), bound, seconds) {
            return Err(ended_by_weak(&renew));
        }
        Ok(valid)
    }

    /// Checks that a key can make a signature that counts at a time.
    pub(crate) fn usable(&self, index: usize, seconds: i64) -> Result<(), Unusable> {
        let key = self.get(index).ok_or_else(Unusable::no_certificate)?;
        if key.is_past(seconds) {
            return Err(Unusable::new(
                ReasonCode::KeyExpired,
                "its `validBefore` has passed",
            ));
        }
        match (&key.name, &key.file) {
            (KeyName::OpenPgp(_), Some(KeyFile::OpenPgp(cert))) => {
                self.usable_certificate(index, key, cert, seconds)
            }
            (KeyName::OpenPgp(_), _) => Err(Unusable::no_certificate()),
            (KeyName::Ssh(_), file) => {
                if let Some(by) = self.ssh_revoked_in_other_form(index, seconds) {
                    return Err(Unusable::in_another_form(by));
                }
                match file {
                    Some(KeyFile::Ssh(key)) => self.check_ssh(key.key_data()),
                    // An SSH signature carries its key, and the policy names the key by a strong hash.
                    _ => Ok(()),
                }
            }
        }
    }

    fn usable_certificate(
        &self,
        index: usize,
        key: &RingKey,
        cert: &Cert,
        seconds: i64,
    ) -> Result<(), Unusable> {
        let mut found: Option<Unusable> = None;
        for part in cert.keys().filter(is_meant_for_signing) {
            let name = part.key().fingerprint();
            let checked = self.openpgp_live(index, &name, seconds);
            let Err(mut unusable) = checked.and_then(|()| self.check_strength(part.key())) else {
                return Ok(());
            };
            unusable.why = format!("its signing key {name} can't sign: {}", unusable.why);
            found = Some(match found {
                Some(first) => Unusable {
                    why: format!("{}; {}", first.why, unusable.why),
                    ..first
                },
                None => unusable,
            });
        }
        // If the certificate as a whole is unusable, return that one reason rather than those of its keys.
        self.check_certificate(key, cert, seconds)?;
        Err(found
            .unwrap_or_else(|| Unusable::new(ReasonCode::KeyMisused, "it has no key for signing")))
    }

    /// Checks that signatures of an `OpenPGP` key can be verified here, and that it is long enough.
    pub(crate) fn check_strength<R: key::KeyRole>(
        &self,
        key: &Key<key::PublicParts, R>,
    ) -> Result<(), Unusable> {
        if let Some(kind) = unverifiable(key) {
            return Err(Unusable::new(
                ReasonCode::UnsupportedSignature,
                format!("it {kind}"),
            ));
        }
        match key.mpis() {
            PublicKey::RSA { .. } => self.check_rsa(key.mpis().bits().unwrap_or(0)),
            _ => Ok(()),
        }
    }

    fn check_ssh(&self, key: &KeyData) -> Result<(), Unusable> {
        match key {
            KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => Ok(()),
            KeyData::Ecdsa(ecdsa) if ecdsa.curve() != ssh_key::EcdsaCurve::NistP521 => Ok(()),
            KeyData::Rsa(rsa) => self.check_rsa(rsa_bits(rsa)),
            _ => Err(Unusable::new(
                ReasonCode::UnsupportedSignature,
                "keys of its kind can't be verified here",
            )),
        }
    }

    /// Checks that an RSA key has as many bits as the policy requires.
    pub(crate) fn check_rsa(&self, bits: usize) -> Result<(), Unusable> {
        let least = self.min_rsa_bits();
        if bits >= least {
            return Ok(());
        }
        let why = format!("it is RSA with {bits} bits, and the policy asks for {least}");
        Err(Unusable::new(ReasonCode::WeakCrypto, why))
    }
}

/// Beginning of the command that renews a self-signature with a strong hash.
const RENEW: &str = "gpg --cert-digest-algo SHA512 --quick-set-expire";

/// True if any self-signature of a certificate, valid or not, says that a primary key or subkey is meant for
/// signing.
fn is_meant_for_signing(part: &ErasedKeyAmalgamation<'_, key::PublicParts>) -> bool {
    let signs = |signature: &Signature| signature.key_flags().is_some_and(|f| f.for_signing());
    let own = part.self_signatures().any(signs);
    own || part.primary() && primary_signatures(part.cert()).any(signs)
}

/// Describes a key whose signatures can't be verified here. Returns `None` if they can.
pub(crate) fn unverifiable<R: key::KeyRole>(key: &Key<key::PublicParts, R>) -> Option<String> {
    match key.mpis() {
        PublicKey::ECDSA { curve, .. } | PublicKey::EdDSA { curve, .. }
            if !curve.is_supported() =>
        {
            Some(format!(
                "is on the curve {curve}, which can't be verified here"
            ))
        }
        _ if !key.pk_algo().is_supported() => Some(format!(
            "is of the kind {}, which can't be verified here",
            key.pk_algo()
        )),
        _ => None,
    }
}

fn too_weak() -> Unusable {
    Unusable::new(ReasonCode::WeakCrypto, "its algorithm is too weak")
}

fn ended_by_weak(renew: &str) -> Unusable {
    let why = "a newer self-signature, with a weak hash, ends it";
    Unusable::new(ReasonCode::KeyExpired, why)
        .hint(format!("renew it where its secret key is: {renew}"))
}

/// Makes the reason for a key that isn't valid at a time, from the library's error.
fn ended(error: &anyhow::Error, renew: &str) -> Unusable {
    let moment = |time: &SystemTime| {
        let moment = Timestamp::from_second(seconds_of(*time)).unwrap_or_default();
        moment.to_string()
    };
    let why = match error.downcast_ref::<Error>() {
        Some(Error::Expired(time)) => format!("it expired on {}", moment(time)),
        Some(Error::NotYetLive(time)) => format!("it is valid only from {} on", moment(time)),
        _ => format!("it isn't valid: {error}"),
    };
    Unusable::new(ReasonCode::KeyExpired, why)
        .hint(format!("extend it where its secret key is: {renew}"))
}
