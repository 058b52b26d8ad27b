//! Identifies keys by their material: two public keys of one secret key are the same key, whatever their
//! format.

use std::collections::BTreeSet;

use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::{Key, key};
use sequoia_openpgp::serialize::MarshalInto as _;
use sequoia_openpgp::types::Curve;
use sha2::Digest as _;
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey};

use crate::key_name::KeyName;

/// The material of a public key, or of a certificate's keys, as SHA-256 digests.
///
/// If a key can be written as an SSH key, its SSH fingerprint is one of the digests, so that it matches an
/// SSH key that the policy knows only by fingerprint. Security keys also have the digest of the plain key
/// inside, and RSA keys the digest of their modulus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Material(BTreeSet<[u8; 32]>);

impl Material {
    /// Returns the material of an `OpenPGP` primary key or subkey.
    pub(crate) fn of_openpgp<R: key::KeyRole>(key: &Key<key::PublicParts, R>) -> Self {
        if let Some(form) = ssh_form(key.mpis()) {
            return Self::of_ssh(&form);
        }
        let mut hash = sha2::Sha256::new_with_prefix([u8::from(key.pk_algo())]);
        hash.update(key.mpis().to_vec().unwrap_or_default());
        Self(BTreeSet::from([hash.finalize().into()]))
    }

    /// Returns the material of an SSH key.
    pub(crate) fn of_ssh(key: &KeyData) -> Self {
        let mut digests = BTreeSet::from_iter(fingerprint(key.clone()));
        match key {
            KeyData::Rsa(rsa) => {
                let modulus = rsa.n.as_positive_bytes().unwrap_or_default();
                let hash = sha2::Sha256::new_with_prefix(b"RSA modulus");
                digests.insert(hash.chain_update(modulus).finalize().into());
            }
            KeyData::SkEd25519(inside) => {
                digests.extend(fingerprint(KeyData::Ed25519(*inside.public_key())));
            }
            KeyData::SkEcdsaSha2NistP256(inside) => {
                let plain = EcdsaPublicKey::NistP256(*inside.ec_point());
                digests.extend(fingerprint(KeyData::Ecdsa(plain)));
            }
            _ => {}
        }
        Self(digests)
    }

    /// Returns the material that follows from a fingerprint alone: the SSH fingerprint itself, and nothing
    /// for `OpenPGP`.
    pub(crate) fn of_name(name: &KeyName) -> Self {
        match name {
            KeyName::Ssh(fingerprint) => Self(BTreeSet::from([*fingerprint])),
            KeyName::OpenPgp(_) => Self::default(),
        }
    }

    pub(crate) fn shares(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Returns the digests. Two public keys of one secret key have at least one digest in common.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter()
    }
}

fn fingerprint(key: KeyData) -> Option<[u8; 32]> {
    let key = ssh_key::PublicKey::new(key, "");
    key.fingerprint(ssh_key::HashAlg::Sha256).sha256()
}

fn ssh_form(key: &mpi::PublicKey) -> Option<KeyData> {
    match key {
        mpi::PublicKey::EdDSA {
            curve: Curve::Ed25519,
            q,
        } => {
            // The point is in native form after a prefix byte (RFC 9580, 9.2.1).
            let point = q.value().strip_prefix(&[0x40])?;
            Some(KeyData::Ed25519(Ed25519PublicKey(point.try_into().ok()?)))
        }
        mpi::PublicKey::Ed25519 { a } => Some(KeyData::Ed25519(Ed25519PublicKey(*a))),
        mpi::PublicKey::RSA { e, n } => {
            let number = |n: &mpi::MPI| ssh_key::Mpint::from_positive_bytes(n.value()).ok();
            let (e, n) = (number(e)?, number(n)?);
            Some(KeyData::Rsa(RsaPublicKey { e, n }))
        }
        mpi::PublicKey::ECDSA { q, .. } | mpi::PublicKey::ECDH { q, .. } => {
            let point = EcdsaPublicKey::from_sec1_bytes(q.value()).ok()?;
            Some(KeyData::Ecdsa(point))
        }
        _ => None,
    }
}

/// Returns the length of an RSA key in bits: that of its modulus without leading zeros.
pub(crate) fn rsa_bits(key: &RsaPublicKey) -> usize {
    let modulus = key.n.as_positive_bytes().unwrap_or_default();
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    (modulus.len() * 8).saturating_sub(unused as usize)
}
