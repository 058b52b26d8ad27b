//! The keys of a policy, prepared for verification.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use ed25519_dalek::VerifyingKey;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::HashAlgorithm;
use sequoia_openpgp::{Fingerprint, KeyHandle, KeyID};

use super::cert_revocations::{AnyKey, CertRevocations, KeyRevocation, at};
use super::material::Material;
use super::moments::moments;
use super::unusable::Unusable;
use super::{IdentityIndex, KeyFile, Policy};
use crate::key_name::KeyName;

/// The keys of a policy, indexed by every identifier that a signature may use for them.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<RingKey>,
    parts: Vec<RingPart>,
    by_fingerprint: HashMap<Fingerprint, usize>,
    by_id: HashMap<KeyID, Vec<usize>>,
    by_name: HashMap<KeyName, usize>,
    /// Key material digests of all keys.
    digests: HashSet<[u8; 32]>,
    standard: StandardPolicy<'static>,
    min_rsa_bits: usize,
    /// Revocations of the primary keys and subkeys in all key files, by the digests of their key material.
    by_material: HashMap<[u8; 32], Vec<(Fingerprint, KeyRevocation)>>,
    live: Mutex<HashMap<(Fingerprint, usize), Result<(), Unusable>>>,
}

/// A primary key or subkey of a certificate.
#[derive(Debug)]
struct RingPart {
    /// The index of the certificate in `KeyRing::keys`.
    key: usize,
    public: AnyKey,
    material: Material,
}

/// A key of the policy, and the identity that has it.
#[derive(Debug)]
pub(crate) struct RingKey {
    pub(crate) name: KeyName,
    pub(crate) identity: IdentityIndex,
    pub(crate) valid_before: Option<i64>,
    pub(crate) file: Option<KeyFile>,
    /// Times, in seconds since 1970, at which the validity of the certificate or a part of it may change.
    pub(super) moments: Vec<i64>,
    revocations: CertRevocations,
    /// Key material of the key and all its subkeys.
    material: Material,
    point: OnceLock<Option<VerifyingKey>>,
}

/// Returns the library's rules about weak algorithms, as of `now`. They also reject some hashes at any date,
/// because the library's own limits depend on a signature's date, which the signer chooses. `now` is an
/// argument, so that no clock is read.
fn standard(now: SystemTime) -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::at(now);
    for hash in [
        HashAlgorithm::MD5,
        HashAlgorithm::SHA1,
        HashAlgorithm::RipeMD,
    ] {
        policy.reject_hash(hash);
    }
    policy
}

/// The two identities that have the same key.
pub(super) struct Shared(pub(super) IdentityIndex, pub(super) IdentityIndex);

fn by_material(
    files: &HashMap<KeyName, KeyFile>,
    verified: &HashMap<KeyName, CertRevocations>,
) -> HashMap<[u8; 32], Vec<(Fingerprint, KeyRevocation)>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for (name, revocations) in verified {
        let Some(KeyFile::OpenPgp(cert)) = files.get(name) else {
            continue;
        };
        for (part, by) in revocations.iter() {
            let Some(key) = cert.keys().find(|key| key.key().fingerprint() == *part) else {
                continue;
            };
            for digest in Material::of_openpgp(key.key()).digests() {
                found
                    .entry(*digest)
                    .or_default()
                    .push((part.clone(), by.clone()));
            }
        }
    }
    found
}

/// Verifies the revocations in key files, even those of keys that the policy doesn't use. A designated
/// revoker's revocation counts if the revoker's key is in one of the files.
pub(super) fn verified_revocations(
    files: &HashMap<KeyName, KeyFile>,
) -> HashMap<KeyName, CertRevocations> {
    let certs = files.iter().filter_map(|(name, file)| match file {
        KeyFile::OpenPgp(cert) => Some((name, cert)),
        KeyFile::Ssh(_) => None,
    });
    let parts = certs
        .clone()
        .flat_map(|(_, cert)| cert.keys().map(|part| part.key().clone()));
    let parts: HashMap<Fingerprint, AnyKey> = parts.map(|key| (key.fingerprint(), key)).collect();
    certs
        .map(|(name, cert)| {
            (
                name.clone(),
                CertRevocations::of(cert, |part| parts.get(part)),
            )
        })
        .collect()
}

impl KeyRing {
    /// Makes the key ring of a policy from the key files.
    pub(super) fn new(
        policy: &Policy,
        files: &HashMap<KeyName, KeyFile>,
        verified: &HashMap<KeyName, CertRevocations>,
        now: i64,
    ) -> Result<Self, Shared> {
        let mut ring = Self {
            keys: Vec::new(),
            parts: Vec::new(),
            by_fingerprint: HashMap::new(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            digests: HashSet::new(),
            standard: standard(at(now)),
            min_rsa_bits: policy.min_rsa_bits as usize,
            by_material: by_material(files, verified),
            live: Mutex::default(),
        };
        let mut owners: HashMap<[u8; 32], IdentityIndex> = HashMap::new();
        for (identity, key) in policy
            .identities
            .iter()
            .enumerate()
            .flat_map(|(i, id)| id.keys.iter().map(move |k| (i, k)))
        {
            let index = ring.keys.len();
            let file = files.get(&key.name).cloned();
            let mut material = Material::of_name(&key.name);
            match (&key.name, &file) {
                (KeyName::Ssh(_), Some(KeyFile::Ssh(key))) => {
                    material.add(&Material::of_ssh(key.key_data()));
                }
                (KeyName::OpenPgp(_), Some(KeyFile::OpenPgp(cert))) => {
                    for part in cert.keys() {
                        let part = part.key().clone();
                        let at = ring.parts.len();
                        if let Some(other) = ring.by_fingerprint.insert(part.fingerprint(), at) {
                            let owner = ring
                                .parts
                                .get(other)
                                .and_then(|part| ring.keys.get(part.key))
                                .map_or(identity, |key| key.identity);
                            return Err(Shared(owner, identity));
                        }
                        ring.by_id.entry(part.keyid()).or_default().push(at);
                        let of_part = Material::of_openpgp(&part);
                        material.add(&of_part);
                        ring.parts.push(RingPart {
                            key: index,
                            public: part,
                            material: of_part,
                        });
                    }
                }
                _ => {}
            }
            for digest in material.digests() {
                let owner = *owners.entry(*digest).or_insert(identity);
                if owner != identity {
                    return Err(Shared(owner, identity));
                }
                ring.digests.insert(*digest);
            }
            let valid_before = key.valid_before.map(jiff::Timestamp::as_second);
            let revocations = verified.get(&key.name).cloned().unwrap_or_default();
            ring.by_name.insert(key.name.clone(), index);
            ring.keys.push(RingKey {
                name: key.name.clone(),
                identity,
                valid_before,
                moments: file.as_ref().map_or_else(Vec::new, moments),
                revocations,
                material,
                file,
                point: OnceLock::new(),
            });
        }
        Ok(ring)
    }

    pub(crate) fn get(&self, key: usize) -> Option<&RingKey> {
        self.keys.get(key)
    }

    pub(crate) fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    pub(crate) fn standard(&self) -> &StandardPolicy<'static> {
        &self.standard
    }

    pub(crate) const fn min_rsa_bits(&self) -> usize {
        self.min_rsa_bits
    }

    /// Returns the index of the policy's key with this fingerprint.
    pub(crate) fn index_of(&self, name: &KeyName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Returns the decompressed point of an Ed25519 key. Computes it only once, with `point`.
    pub(crate) fn ed25519(
        &self,
        key: usize,
        point: impl FnOnce() -> Option<VerifyingKey>,
    ) -> Option<VerifyingKey> {
        *self.keys.get(key)?.point.get_or_init(point)
    }

    /// Returns the primary keys and subkeys that an issuer (a fingerprint or a key ID) may mean, each with
    /// the index of the policy's key.
    pub(crate) fn openpgp<'a>(
        &'a self,
        issuer: &KeyHandle,
    ) -> impl Iterator<Item = (usize, &'a AnyKey)> + use<'a> {
        let parts: Vec<usize> = match issuer {
            KeyHandle::Fingerprint(fingerprint) => self
                .by_fingerprint
                .get(fingerprint)
                .copied()
                .into_iter()
                .collect(),
            KeyHandle::KeyID(id) => self.by_id.get(id).cloned().unwrap_or_default(),
        };
        parts
            .into_iter()
            .filter_map(|at| self.parts.get(at))
            .map(|part| (part.key, &part.public))
    }

    /// Returns the primary key or subkey with this fingerprint.
    fn part(&self, name: &KeyName) -> Option<&RingPart> {
        let KeyName::OpenPgp(hex) = name else {
            return None;
        };
        let at = self.by_fingerprint.get(&hex.parse::<Fingerprint>().ok()?)?;
        self.parts.get(*at)
    }

    /// True if a key, or one of its subkeys, has some of this key material.
    pub(crate) fn is_of(&self, key: usize, material: &Material) -> bool {
        let own = self.keys.get(key);
        own.is_some_and(|own| own.material.shares(material))
    }

    /// Returns the key material of the key with this fingerprint, as far as the key ring knows it.
    pub(crate) fn material_of(&self, name: &KeyName) -> Material {
        let mut material = Material::of_name(name);
        if let Some(part) = self.part(name) {
            material.add(&part.material);
        }
        let named = self.index_of(name).and_then(|at| self.keys.get(at));
        // Of a certificate, only the named primary key or subkey counts, because each may be revoked by
        // itself.
        if let Some(key) = named.filter(|key| matches!(key.name, KeyName::Ssh(_))) {
            material.add(&key.material);
        }
        material
    }

    /// True if the fingerprint belongs to a key of the key ring, to one of its subkeys, or to another format
    /// of either.
    pub(crate) fn has(&self, name: &KeyName) -> bool {
        let form = match name {
            KeyName::Ssh(digest) => self.digests.contains(digest),
            KeyName::OpenPgp(_) => self.part(name).is_some(),
        };
        form || self.by_name.contains_key(name)
    }

    /// True if the fingerprint belongs to this key, to one of its subkeys, or to another format of either: a
    /// revoked `OpenPGP` key must not remain in use as an SSH key.
    pub(crate) fn is_part_of(&self, name: &KeyName, key: usize) -> bool {
        self.keys.get(key).is_some_and(|own| {
            own.name == *name
                || self.part(name).is_some_and(|part| part.key == key)
                || own.material.shares(&self.material_of(name))
        })
    }

    /// Returns the revocation that is in force at a time for the `OpenPGP` format of an SSH key of the
    /// policy.
    pub(crate) fn ssh_revoked_in_other_form(
        &self,
        key: usize,
        seconds: i64,
    ) -> Option<&KeyRevocation> {
        let own = self.keys.get(key)?;
        self.revoked_in_other_form(&own.material, None, seconds)
    }

    /// Returns a revocation, in force at a time, of a key with this material other than `part`: a key that is
    /// revoked as an `OpenPGP` key must not remain in use as an SSH key, or with another creation time.
    pub(crate) fn revoked_in_other_form(
        &self,
        material: &Material,
        part: Option<&Fingerprint>,
        seconds: i64,
    ) -> Option<&KeyRevocation> {
        if self.by_material.is_empty() {
            return None;
        }
        let revocations = material
            .digests()
            .filter_map(|digest| self.by_material.get(digest));
        let of_other =
            |(of, by): &&(Fingerprint, KeyRevocation)| part != Some(of) && by.voids(seconds);
        let found = revocations.flatten().find(of_other);
        found.map(|(_, by)| by)
    }

    /// Checks that a primary key or subkey can sign at a time: it is bound to its certificate, meant for
    /// signing, not expired and not revoked. A hard revocation counts at all times. The result is cached for
    /// the time between two of the key's `moments`, in which it can't change.
    pub(crate) fn openpgp_live(
        &self,
        key: usize,
        part: &Fingerprint,
        seconds: i64,
    ) -> Result<(), Unusable> {
        let own = self.by_fingerprint.get(part);
        let own = own.and_then(|at| self.parts.get(*at));
        let other =
            own.and_then(|own| self.revoked_in_other_form(&own.material, Some(part), seconds));
        if let Some(by) = other {
            return Err(Unusable::in_another_form(by));
        }
        let key = self.keys.get(key).ok_or_else(Unusable::no_certificate)?;
        let stretch = key.moments.partition_point(|moment| *moment <= seconds);
        let place = (part.clone(), stretch);
        if let Ok(known) = self.live.lock()
            && let Some(answer) = known.get(&place)
        {
            return answer.clone();
        }
        let answer = self.check_part(key, part, seconds);
        if let Ok(mut known) = self.live.lock() {
            known.insert(place, answer.clone());
        }
        answer
    }
}

impl RingKey {
    /// True if the policy's `validBefore` of the key has passed at a time.
    pub(crate) fn is_past(&self, seconds: i64) -> bool {
        self.valid_before.is_some_and(|end| seconds >= end)
    }

    /// True if a hard revocation of the certificate's primary key voids all signatures.
    pub(crate) fn is_compromised(&self) -> bool {
        let primary = self.cert().map(Cert::fingerprint);
        primary.is_some_and(|primary| self.revocations.is_hard(&primary))
    }

    /// Returns the revocations in the key's certificate.
    pub(crate) fn revocations(&self) -> &CertRevocations {
        &self.revocations
    }

    /// Returns the key's certificate, if it has one.
    pub(crate) fn cert(&self) -> Option<&Cert> {
        match &self.file {
            Some(KeyFile::OpenPgp(cert)) => Some(cert),
            _ => None,
        }
    }
}
