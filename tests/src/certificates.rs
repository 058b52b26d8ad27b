//! `OpenPGP` certificates changed: revocations, designated revokers, keys with given secrets.

use openpgp::Cert;
use openpgp::cert::{CertRevocationBuilder, SubkeyRevocationBuilder, UserIDRevocationBuilder};
use openpgp::crypto::{KeyPair, mpi};
use openpgp::packet::key::{Key4, PrimaryRole, SecretParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key as PgpKey, Packet, UserID};
use openpgp::types::{
    Curve, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, ReasonForRevocation, RevocationKey,
    SignatureType,
};
use sequoia_openpgp as openpgp;

use crate::keys::{BORN, Key, at};

/// How a revocation is made.
#[derive(Clone, Copy)]
pub struct Revoking {
    /// The reason that it gives.
    pub reason: ReasonForRevocation,
    /// Its creation time in seconds since 1970.
    pub seconds: i64,
    /// The hash that is signed.
    pub hash: HashAlgorithm,
}

impl Revoking {
    /// A revocation made with SHA-512.
    pub const fn new(reason: ReasonForRevocation, seconds: i64) -> Self {
        Self {
            reason,
            seconds,
            hash: HashAlgorithm::SHA512,
        }
    }

    /// The same with another hash.
    #[must_use]
    pub const fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }
}

fn signer(key: &Key) -> KeyPair {
    let primary = key.cert().primary_key().key().clone();
    primary.parts_into_secret().unwrap().into_keypair().unwrap()
}

fn with(key: &Key, packets: Vec<Packet>) -> Key {
    let cert: Cert = key.cert().clone();
    Key::Pgp(Box::new(cert.insert_packets(packets).unwrap().0))
}

impl Key {
    /// The same certificate with a revocation of its primary key, signed by a revoker's primary key.
    #[must_use]
    pub fn revoked_by(&self, revoker: &Self, how: Revoking) -> Self {
        let revocation = CertRevocationBuilder::new()
            .set_reason_for_revocation(how.reason, b"")
            .unwrap()
            .set_signature_creation_time(at(how.seconds))
            .unwrap()
            .build(&mut signer(revoker), self.cert(), how.hash)
            .unwrap();
        with(self, vec![revocation.into()])
    }

    /// The same certificate with a revocation of its last subkey, signed by a revoker's primary key.
    #[must_use]
    pub fn subkey_revoked_by(&self, revoker: &Self, how: Revoking) -> Self {
        let subkey = self.cert().keys().subkeys().last().unwrap().key().clone();
        let revocation = SubkeyRevocationBuilder::new()
            .set_reason_for_revocation(how.reason, b"")
            .unwrap()
            .set_signature_creation_time(at(how.seconds))
            .unwrap()
            .build(
                &mut signer(revoker),
                self.cert(),
                &subkey.parts_into_public().role_into_subordinate(),
                how.hash,
            )
            .unwrap();
        with(self, vec![revocation.into()])
    }

    /// The same certificate with its user ID revoked.
    #[must_use]
    pub fn user_id_revoked(&self, how: Revoking) -> Self {
        let user = self.cert().userids().next().unwrap().userid().clone();
        let revocation = UserIDRevocationBuilder::new()
            .set_reason_for_revocation(how.reason, b"")
            .unwrap()
            .set_signature_creation_time(at(how.seconds))
            .unwrap()
            .build(&mut signer(self), self.cert(), &user, how.hash)
            .unwrap();
        with(self, vec![revocation.into()])
    }

    /// The same certificate, which names a designated revoker (RFC 4880, 5.2.3.15).
    #[must_use]
    pub fn designating(&self, revoker: &Self, hash: HashAlgorithm) -> Self {
        let primary = revoker.cert().primary_key();
        let named = RevocationKey::new(primary.key().pk_algo(), primary.key().fingerprint(), false);
        let designation = SignatureBuilder::new(SignatureType::DirectKey)
            .set_hash_algo(hash)
            .set_signature_creation_time(at(BORN + 60))
            .unwrap()
            .set_revocation_key(named)
            .unwrap()
            .sign_direct_key(&mut signer(self), self.cert().primary_key().key())
            .unwrap();
        with(self, vec![designation.into()])
    }

    /// The same certificate with a new self-signature of its user ID, made at a time with a hash.
    #[must_use]
    pub fn bound_again(&self, seconds: i64, hash: HashAlgorithm) -> Self {
        let user = self.cert().userids().next().unwrap().userid().clone();
        let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
            .set_hash_algo(hash)
            .set_signature_creation_time(at(seconds))
            .unwrap()
            .set_key_flags(KeyFlags::empty().set_signing().set_certification())
            .unwrap()
            .sign_userid_binding(&mut signer(self), self.cert().primary_key().key(), &user)
            .unwrap();
        with(self, vec![binding.into()])
    }

    /// The same certificate with a new self-signature of its user ID that ends the key, made at a time with a
    /// hash.
    #[must_use]
    pub fn ended_at(&self, seconds: i64, hash: HashAlgorithm) -> Self {
        let user = self.cert().userids().next().unwrap().userid().clone();
        let primary = self.cert().primary_key().key();
        let age = std::time::Duration::from_secs(u64::try_from(seconds - BORN).unwrap());
        let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
            .set_hash_algo(hash)
            .set_signature_creation_time(at(seconds - 60))
            .unwrap()
            .set_key_flags(KeyFlags::empty().set_signing().set_certification())
            .unwrap()
            .set_key_validity_period(age)
            .unwrap()
            .sign_userid_binding(&mut signer(self), primary, &user)
            .unwrap();
        with(self, vec![binding.into()])
    }

    /// The same certificate with the last subkey of another one as its own, as whoever has both makes it.
    #[must_use]
    pub fn adopting_subkey_of(&self, other: &Self) -> Self {
        let subkey = other.cert().keys().subkeys().last().unwrap().key().clone();
        let subkey = subkey.parts_into_secret().unwrap().role_into_subordinate();
        self.adopting(subkey, HashAlgorithm::SHA512)
    }

    fn adopting(&self, subkey: PgpKey<SecretParts, SubordinateRole>, hash: HashAlgorithm) -> Self {
        let mut pair = subkey.clone().into_keypair().unwrap();
        let back = SignatureBuilder::new(SignatureType::PrimaryKeyBinding)
            .set_hash_algo(hash)
            .set_signature_creation_time(at(BORN + 60))
            .unwrap()
            .sign_primary_key_binding(&mut pair, self.cert().primary_key().key(), &subkey)
            .unwrap();
        let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
            .set_hash_algo(hash)
            .set_signature_creation_time(at(BORN + 60))
            .unwrap()
            .set_key_flags(KeyFlags::empty().set_signing())
            .unwrap()
            .set_embedded_signature(back)
            .unwrap()
            .sign_subkey_binding(&mut signer(self), self.cert().primary_key().key(), &subkey)
            .unwrap();
        with(self, vec![subkey.into(), binding.into()])
    }

    /// An Ed25519 `OpenPGP` key with a given secret, made at a time.
    pub fn pgp_with_secret(name: &str, secret: &[u8; 32], seconds: i64) -> Self {
        let key = Key4::<SecretParts, PrimaryRole>::import_secret_ed25519(secret, at(seconds));
        Self::pgp_of_key(name, key.unwrap().into(), seconds)
    }

    /// An RSA `OpenPGP` key with a modulus of so many bits.
    pub fn pgp_rsa(name: &str, bits: usize) -> Self {
        let mut key = Key4::<SecretParts, PrimaryRole>::generate_rsa(bits).unwrap();
        key.set_creation_time(at(BORN)).unwrap();
        Self::pgp_of_key(name, key.into(), BORN)
    }

    fn pgp_of_key(name: &str, key: PgpKey<SecretParts, PrimaryRole>, seconds: i64) -> Self {
        let user = UserID::from(format!("{name} <{name}@fleet.example>"));
        let mut pair = key.clone().into_keypair().unwrap();
        let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
            .set_hash_algo(HashAlgorithm::SHA512)
            .set_signature_creation_time(at(seconds))
            .unwrap()
            .set_key_flags(KeyFlags::empty().set_signing().set_certification())
            .unwrap()
            .sign_userid_binding(&mut pair, None, &user)
            .unwrap();
        let packets: Vec<Packet> = vec![key.into(), user.into(), binding.into()];
        Self::Pgp(Box::new(Cert::from_packets(packets.into_iter()).unwrap()))
    }

    /// An SSH Ed25519 key with a given secret.
    pub fn ssh_with_secret(name: &str, secret: &[u8; 32]) -> Self {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(secret);
        let key = ssh_key::PrivateKey::new(pair.into(), name).unwrap();
        Self::Ssh(Box::new(key))
    }

    /// An SSH RSA key with a modulus of so many bits.
    pub fn ssh_rsa(name: &str, bits: usize) -> Self {
        let pair = ssh_key::private::RsaKeypair::random(&mut ssh_key::rand_core::OsRng, bits);
        let key = ssh_key::PrivateKey::new(pair.unwrap().into(), name).unwrap();
        Self::Ssh(Box::new(key))
    }

    /// The same certificate with a signing subkey that has a given Ed25519 secret.
    #[must_use]
    pub fn with_signing_subkey(&self, secret: &[u8; 32]) -> Self {
        self.with_signing_subkey_bound_by(secret, HashAlgorithm::SHA512)
    }

    /// The same, with a given hash in the signatures that bind the subkey.
    #[must_use]
    pub fn with_signing_subkey_bound_by(&self, secret: &[u8; 32], hash: HashAlgorithm) -> Self {
        let other = Key4::<SecretParts, SubordinateRole>::import_secret_ed25519(secret, at(BORN));
        self.adopting(other.unwrap().into(), hash)
    }

    /// An RSA key as `OpenPGP` and as SSH key.
    pub fn rsa_in_two_forms(name: &str, bits: usize) -> (Self, Self) {
        let ssh = Self::ssh_rsa(name, bits);
        let Self::Ssh(key) = &ssh else { unreachable!() };
        let ssh_key::private::KeypairData::Rsa(pair) = key.key_data() else {
            unreachable!()
        };
        let private = &pair.private;
        let [d, p, q] =
            [&private.d, &private.p, &private.q].map(|n| n.as_positive_bytes().unwrap());
        let pgp = Key4::<SecretParts, PrimaryRole>::import_secret_rsa(d, p, q, at(BORN));
        (Self::pgp_of_key(name, pgp.unwrap().into(), BORN), ssh)
    }

    /// A P-256 key as `OpenPGP` and as SSH key.
    pub fn p256_in_two_forms(name: &str) -> (Self, Self) {
        let curve = ssh_key::EcdsaCurve::NistP256;
        let ssh = Self::ssh(name, ssh_key::Algorithm::Ecdsa { curve });
        let Self::Ssh(key) = &ssh else { unreachable!() };
        let ssh_key::private::KeypairData::Ecdsa(pair) = key.key_data() else {
            unreachable!()
        };
        let public = mpi::PublicKey::ECDSA {
            curve: Curve::NistP256,
            q: mpi::MPI::new(pair.public_key_bytes()),
        };
        let secret = mpi::SecretKeyMaterial::ECDSA {
            scalar: mpi::ProtectedMPI::from(pair.private_key_bytes().to_vec()),
        };
        let pgp = Key4::<SecretParts, PrimaryRole>::with_secret(
            at(BORN),
            PublicKeyAlgorithm::ECDSA,
            public,
            secret.into(),
        );
        (Self::pgp_of_key(name, pgp.unwrap().into(), BORN), ssh)
    }
}
