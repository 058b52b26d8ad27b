//! Explains the state of a policy's key: if it could sign, why not, and until when.

use std::sync::Arc;

use jiff::Timestamp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::crypto::mpi::PublicKey;
use sequoia_openpgp::packet::{Key, key};

use super::cert_revocations::newest_binding;
use super::keys::{RingKey, at};
use super::moments::moments;
use super::{Authority, KeyFile};
use crate::signature::KeyName;

impl Authority {
    /// Returns the reason that a key of the policy couldn't make a signature that counts at a time. Returns
    /// `None` if it could, or if the policy doesn't have the key.
    pub fn unusable(&self, name: &KeyName, when: Timestamp) -> Option<String> {
        let key = self.ring_key(name)?;
        let seconds = when.as_second();
        let general = self.ring.usable(key, seconds).err()?;
        // The ring has one sentence for a certificate; this describes its parts.
        let past = key.valid_before.is_some_and(|end| seconds >= end);
        match key.cert().filter(|_| !past) {
            Some(cert) => Some(self.of_certificate(key, cert, seconds)),
            None => Some(general),
        }
    }

    /// Returns the time at which a key that could sign at `after` first can't sign any more. Returns `None`
    /// if no such time is known, if the key couldn't sign at `after`, or if the policy doesn't have the key.
    pub fn end_of(&self, name: &KeyName, after: Timestamp) -> Option<Timestamp> {
        let key = self.ring_key(name)?;
        let from = after.as_second();
        self.ring.usable(key, from).ok()?;
        let certificate = key
            .cert()
            .map(|cert| moments(&KeyFile::OpenPgp(Arc::new(cert.clone()))))
            .unwrap_or_default();
        let mut ends: Vec<i64> = certificate
            .into_iter()
            .chain(key.valid_before)
            .filter(|moment| *moment > from)
            .collect();
        ends.sort_unstable();
        let end = ends
            .into_iter()
            .find(|moment| self.ring.usable(key, *moment).is_err())?;
        Timestamp::from_second(end).ok()
    }

    /// True if `part` is the fingerprint of the policy's key `key`, or of a part or another form of it.
    /// Revoking a part revokes the key.
    pub fn is_part_of(&self, part: &KeyName, key: &KeyName) -> bool {
        let keys = self.ring.keys().iter().enumerate();
        keys.filter(|(_, own)| own.name == *key)
            .any(|(at, _)| self.ring.is_part_of(part, at))
    }

    fn ring_key(&self, name: &KeyName) -> Option<&RingKey> {
        self.ring.keys().iter().find(|key| key.name == *name)
    }

    fn of_certificate(&self, key: &RingKey, cert: &Cert, seconds: i64) -> String {
        let (standard, when) = (self.ring.standard(), at(seconds));
        let revocations = key.revocations();
        let valid = cert.with_policy(standard, when);
        let bound = valid.as_ref().ok().and_then(newest_binding);
        if revocations
            .in_force(&cert.fingerprint(), seconds, bound)
            .is_some()
        {
            return "it is revoked".to_owned();
        }
        let valid = match valid {
            Ok(valid) => valid,
            // A certificate whose algorithm can't be verified has no valid self-signature either.
            Err(error) => {
                return match self.weakness(cert.primary_key().key()) {
                    Some(why) => format!("it {why}"),
                    None => format!("it isn't valid: {error}"),
                };
            }
        };
        if let Err(error) = valid.alive() {
            return format!("it isn't valid: {error}");
        }
        let mut signing = valid.keys().for_signing().peekable();
        if signing.peek().is_none() {
            return "it has no key for signing".to_owned();
        }
        let each = signing.map(|part| {
            let why = if revocations.of_valid_part(&part, seconds).is_some() {
                "is revoked".to_owned()
            } else if let Err(error) = part.alive() {
                format!("isn't valid: {error}")
            } else {
                self.weakness(part.key())
                    .unwrap_or_else(|| "can sign".to_owned())
            };
            format!("its signing key {} {why}", part.key().fingerprint())
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// Returns the reason that a key is too weak or can't be verified here.
    fn weakness<R: key::KeyRole>(&self, key: &Key<key::PublicParts, R>) -> Option<String> {
        let least = self.ring.min_rsa_bits();
        match key.mpis() {
            PublicKey::RSA { .. } => {
                let bits = key.mpis().bits().unwrap_or(0);
                (bits < least)
                    .then(|| format!("is RSA with {bits} bits, and the policy asks for {least}"))
            }
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
}
