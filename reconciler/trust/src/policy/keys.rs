//! The keys of a policy, ready to verify with.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation as _;
use sequoia_openpgp::cert::{Cert, CertParser};
use sequoia_openpgp::packet::{Key, key};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::{HashAlgorithm, RevocationStatus};
use sequoia_openpgp::{Fingerprint, KeyHandle, KeyID};
use ssh_key::public::KeyData;

use super::moments::moments;
use super::{IdentityIndex, Policy};
use crate::reason::{Reason, ReasonCode};
use crate::signature::KeyName;

/// The content of a key's file.
#[derive(Debug, Clone)]
pub enum KeyFile {
    /// An `OpenPGP` certificate.
    OpenPgp(Arc<Cert>),
    /// An SSH public key.
    Ssh(Arc<ssh_key::PublicKey>),
}

/// Why a file isn't a key's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is none.
    #[error("neither an OpenPGP certificate nor an SSH public key")]
    Neither,
    /// It has several.
    #[error("more than one certificate or key; put each into a file of its own")]
    Several,
    /// It has a secret key.
    #[error("a secret key")]
    Secret,
    /// It is an SSH certificate.
    #[error("an SSH certificate; only plain keys count")]
    Certificate,
    /// Together with the other certificates it has more parts and signatures than may be tried with each other.
    #[error("a certificate with more parts and signatures than the keys of a policy may have")]
    Large,
    /// It begins as a key and can't be read.
    #[error("a key that can't be read: {0}")]
    Garbled(String),
}

impl KeyFile {
    /// Reads a key's file.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let text = bytes.trim_ascii();
        if text.windows(11).any(|w| w == b"PRIVATE KEY") {
            return Err(KeyFileError::Secret);
        }
        if Self::is_certificate(bytes) {
            return Self::openpgp(bytes);
        }
        let text = std::str::from_utf8(text).map_err(|_| KeyFileError::Neither)?;
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().ok_or(KeyFileError::Neither)?;
        let kind = line.split(' ').next().unwrap_or_default();
        if !(kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-")) {
            return Err(KeyFileError::Neither);
        }
        if lines.next().is_some() {
            return Err(KeyFileError::Several);
        }
        if kind.contains("-cert-v") {
            return Err(KeyFileError::Certificate);
        }
        let key = ssh_key::PublicKey::from_openssh(line)
            .map_err(|e| KeyFileError::Garbled(e.to_string()))?;
        Ok(Self::Ssh(Arc::new(key)))
    }

    /// True if the bytes are read as an `OpenPGP` certificate, armored or not.
    pub(super) fn is_certificate(bytes: &[u8]) -> bool {
        let text = bytes.trim_ascii();
        text.windows(5).any(|w| w == b"-----") || text.first().is_some_and(|b| b & 0x80 != 0)
    }

    fn openpgp(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let garbled = |e: sequoia_openpgp::anyhow::Error| KeyFileError::Garbled(e.to_string());
        let mut certs = CertParser::from_bytes(bytes).map_err(garbled)?;
        let cert = certs
            .next()
            .ok_or(KeyFileError::Neither)?
            .map_err(garbled)?;
        if certs.next().is_some() {
            return Err(KeyFileError::Several);
        }
        if cert.is_tsk() {
            return Err(KeyFileError::Secret);
        }
        Ok(Self::OpenPgp(Arc::new(cert)))
    }

    /// Its fingerprint.
    pub fn name(&self) -> KeyName {
        match self {
            Self::OpenPgp(cert) => KeyName::OpenPgp(cert.fingerprint().to_hex()),
            Self::Ssh(key) => KeyName::Ssh(
                key.fingerprint(ssh_key::HashAlg::Sha256)
                    .sha256()
                    .unwrap_or_default(),
            ),
        }
    }

    /// Whom it says that it belongs to; nothing vouches for it.
    pub fn owner(&self) -> String {
        match self {
            Self::OpenPgp(cert) => cert
                .userids()
                .next()
                .map(|id| id.userid().to_string())
                .unwrap_or_default(),
            Self::Ssh(key) => key.comment().to_owned(),
        }
    }
}

/// The keys of a policy, found by what signatures name.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<RingKey>,
    parts: Vec<(usize, Key<key::PublicParts, key::UnspecifiedRole>)>,
    by_fingerprint: HashMap<Fingerprint, usize>,
    by_id: HashMap<KeyID, Vec<usize>>,
    ssh: HashMap<[u8; 32], usize>,
    by_name: HashSet<KeyName>,
    standard: StandardPolicy<'static>,
    min_rsa_bits: usize,
    live: Mutex<HashMap<(Fingerprint, usize), Result<(), Reason>>>,
}

/// A key, whose it is, and what it is.
#[derive(Debug)]
pub(crate) struct RingKey {
    pub(crate) name: KeyName,
    pub(crate) identity: IdentityIndex,
    pub(crate) valid_before: Option<i64>,
    pub(crate) file: Option<KeyFile>,
    /// When something of its certificate begins or ends.
    moments: Vec<i64>,
    point: OnceLock<Option<VerifyingKey>>,
}

/// What is strong enough, whatever the clock says: the lists of the library have dates in them, and
/// a signer chooses the date. The reference time is an argument, so that no clock is read.
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

pub(super) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The two owners of a key that is in the certificates of both.
pub(super) struct Shared(pub(super) IdentityIndex, pub(super) IdentityIndex);

impl KeyRing {
    /// The ring of a policy, from the files that hold its keys.
    pub(super) fn new(
        policy: &Policy,
        files: &HashMap<KeyName, KeyFile>,
        now: i64,
    ) -> Result<Self, Shared> {
        let mut ring = Self {
            keys: Vec::new(),
            parts: Vec::new(),
            by_fingerprint: HashMap::new(),
            by_id: HashMap::new(),
            ssh: HashMap::new(),
            by_name: HashSet::new(),
            standard: standard(at(now)),
            min_rsa_bits: policy.min_rsa_bits as usize,
            live: Mutex::default(),
        };
        for (identity, key) in policy
            .identities
            .iter()
            .enumerate()
            .flat_map(|(i, id)| id.keys.iter().map(move |k| (i, k)))
        {
            let index = ring.keys.len();
            let file = files.get(&key.name).cloned();
            match (&key.name, &file) {
                (KeyName::Ssh(hash), _) => {
                    ring.ssh.insert(*hash, index);
                }
                (KeyName::OpenPgp(_), Some(KeyFile::OpenPgp(cert))) => {
                    for part in cert.keys() {
                        let part = part.key().clone();
                        let at = ring.parts.len();
                        if let Some(other) = ring.by_fingerprint.insert(part.fingerprint(), at) {
                            let owner = ring
                                .parts
                                .get(other)
                                .and_then(|(key, _)| ring.keys.get(*key))
                                .map_or(identity, |key| key.identity);
                            return Err(Shared(owner, identity));
                        }
                        ring.by_id.entry(part.keyid()).or_default().push(at);
                        ring.parts.push((index, part));
                    }
                }
                (KeyName::OpenPgp(_), _) => {}
            }
            let valid_before = key.valid_before.map(jiff::Timestamp::as_second);
            ring.by_name.insert(key.name.clone());
            ring.keys.push(RingKey {
                name: key.name.clone(),
                identity,
                valid_before,
                moments: file.as_ref().map_or_else(Vec::new, moments),
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

    /// The SSH key of a fingerprint.
    pub(crate) fn ssh(&self, fingerprint: &[u8; 32]) -> Option<usize> {
        self.ssh.get(fingerprint).copied()
    }

    /// The point of an Ed25519 key, computed once.
    pub(crate) fn ed25519(
        &self,
        key: usize,
        point: impl FnOnce() -> Option<VerifyingKey>,
    ) -> Option<VerifyingKey> {
        *self.keys.get(key)?.point.get_or_init(point)
    }

    /// The keys and subkeys that an issuer means, with the number of the key of the policy.
    pub(crate) fn openpgp<'a>(
        &'a self,
        issuer: &KeyHandle,
    ) -> impl Iterator<Item = (usize, &'a Key<key::PublicParts, key::UnspecifiedRole>)> + use<'a>
    {
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
            .map(|(index, key)| (*index, key))
    }

    /// Whether a fingerprint is of any key, or of a subkey of one.
    pub(crate) fn has(&self, name: &KeyName) -> bool {
        let part = match name {
            KeyName::OpenPgp(hex) => hex
                .parse::<Fingerprint>()
                .is_ok_and(|fingerprint| self.by_fingerprint.contains_key(&fingerprint)),
            KeyName::Ssh(hash) => self.ssh.contains_key(hash),
        };
        part || self.by_name.contains(name)
    }

    /// Whether a fingerprint is of this key, or of a subkey of it.
    pub(crate) fn is_part_of(&self, name: &KeyName, key: usize) -> bool {
        let own = self.keys.get(key).is_some_and(|k| k.name == *name);
        own || match name {
            KeyName::OpenPgp(hex) => hex.parse::<Fingerprint>().is_ok_and(|f| {
                self.by_fingerprint
                    .get(&f)
                    .and_then(|at| self.parts.get(*at))
                    .is_some_and(|(owner, _)| *owner == key)
            }),
            KeyName::Ssh(_) => false,
        }
    }

    /// Whether a key or subkey could sign at a time: bound, meant for signing, not expired, not
    /// revoked. A hard revocation counts at all times. The answer is kept for the whole of the
    /// stretch of time in which nothing of the certificate begins or ends.
    pub(crate) fn openpgp_live(
        &self,
        key: usize,
        part: &Fingerprint,
        seconds: i64,
    ) -> Result<(), Reason> {
        let moments = self.keys.get(key).map_or(&[][..], |key| &key.moments);
        let stretch = moments.partition_point(|moment| *moment <= seconds);
        let place = (part.clone(), stretch);
        if let Ok(known) = self.live.lock()
            && let Some(answer) = known.get(&place)
        {
            return answer.clone();
        }
        let answer = self.live_at(key, part, seconds);
        if let Ok(mut known) = self.live.lock() {
            known.insert(place, answer.clone());
        }
        answer
    }

    fn live_at(&self, key: usize, part: &Fingerprint, seconds: i64) -> Result<(), Reason> {
        let Some(RingKey {
            file: Some(KeyFile::OpenPgp(cert)),
            ..
        }) = self.keys.get(key)
        else {
            return Err(Reason::new(
                ReasonCode::UnknownKey,
                "the certificate isn't there",
            ));
        };
        let name = part.to_hex();
        let revoked = |by: &str| {
            Reason::new(
                ReasonCode::KeyRevoked,
                format!("the OpenPGP key {name} is revoked ({by})"),
            )
        };
        let expired = |error: &dyn std::fmt::Display| {
            Reason::new(
                ReasonCode::KeyExpired,
                format!("the OpenPGP key {name} wasn't valid when the signature was made: {error}"),
            )
        };
        // Revocation first: a revoked certificate may have no other valid signature any more.
        if let RevocationStatus::Revoked(by) = cert.revocation_status(&self.standard, at(seconds)) {
            return Err(revoked(&why(&by)));
        }
        // The library's words would have the time that was asked for in them, and the answer is kept for
        // every time of the stretch.
        let valid = cert.with_policy(&self.standard, at(seconds)).map_err(|_| {
            expired(&"its certificate has no signature of its own that counts then")
        })?;
        if let RevocationStatus::Revoked(by) = valid.revocation_status() {
            return Err(revoked(&why(&by)));
        }
        valid.alive().map_err(|e| expired(&e))?;
        let Some(part) = valid.keys().find(|k| k.key().fingerprint() == *part) else {
            return Err(Reason::new(
                ReasonCode::KeyMisused,
                format!("the OpenPGP key {name} isn't validly bound to its certificate"),
            ));
        };
        if let RevocationStatus::Revoked(by) = part.revocation_status() {
            return Err(revoked(&why(&by)));
        }
        part.alive().map_err(|e| expired(&e))?;
        if !part.for_signing() {
            return Err(Reason::new(
                ReasonCode::KeyMisused,
                format!("the OpenPGP key {name} isn't meant for signing"),
            ));
        }
        Ok(())
    }

    /// Whether the part of a certificate that made a good signature earlier still could: a signing
    /// subkey expires and is retired by itself.
    pub(crate) fn still_live(
        &self,
        key: usize,
        part: &Fingerprint,
        seconds: i64,
    ) -> Result<(), Reason> {
        self.openpgp_live(key, part, seconds).map_err(|reason| {
            let message = format!(
                "the OpenPGP key {} no longer counted shortly before its signature was first seen here",
                part.to_hex()
            );
            Reason::new(reason.code, message)
        })
    }

    /// Whether a key could make a signature at a time that counts.
    pub(crate) fn usable(&self, key: &RingKey, seconds: i64) -> Result<(), String> {
        if key.valid_before.is_some_and(|end| seconds >= end) {
            return Err("its `validBefore` has passed".to_owned());
        }
        match (&key.name, &key.file) {
            (KeyName::OpenPgp(_), Some(KeyFile::OpenPgp(cert))) => {
                let valid = cert
                    .with_policy(&self.standard, at(seconds))
                    .map_err(|e| e.to_string())?;
                let signs = valid
                    .keys()
                    .alive()
                    .revoked(false)
                    .for_signing()
                    .any(|key| self.strong(key.key()));
                let revoked = matches!(valid.revocation_status(), RevocationStatus::Revoked(_));
                if signs && !revoked && valid.alive().is_ok() {
                    Ok(())
                } else {
                    Err("it has no part that can sign and be verified here".to_owned())
                }
            }
            (KeyName::OpenPgp(_), _) => Err(format!(
                "no file in {} holds its certificate",
                super::KEYS_PATH
            )),
            (KeyName::Ssh(_), Some(KeyFile::Ssh(ssh))) => match ssh.key_data() {
                KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
                    Ok(())
                }
                KeyData::Ecdsa(ecdsa) if ecdsa.curve() != ssh_key::EcdsaCurve::NistP521 => Ok(()),
                KeyData::Rsa(rsa)
                    if rsa.n.as_positive_bytes().map_or(0, |n| n.len() * 8)
                        >= self.min_rsa_bits =>
                {
                    Ok(())
                }
                KeyData::Rsa(_) => Err(format!("it has fewer than {} bits", self.min_rsa_bits)),
                _ => Err("keys of its kind can't be verified here".to_owned()),
            },
            // An SSH signature brings its key along, and the policy names it by a strong hash.
            (KeyName::Ssh(_), _) => Ok(()),
        }
    }

    fn strong<R: key::KeyRole>(&self, key: &Key<key::PublicParts, R>) -> bool {
        use sequoia_openpgp::crypto::mpi::PublicKey;
        key.pk_algo().is_supported()
            && match key.mpis() {
                PublicKey::RSA { .. } => key.mpis().bits().unwrap_or(0) >= self.min_rsa_bits,
                PublicKey::ECDSA { curve, .. } | PublicKey::EdDSA { curve, .. } => {
                    curve.is_supported()
                }
                _ => true,
            }
    }
}

fn why(by: &[&sequoia_openpgp::packet::Signature]) -> String {
    let reason = by
        .iter()
        .find_map(|signature| signature.reason_for_revocation());
    let reason = reason.map_or_else(
        || "no reason given".to_owned(),
        |(code, _)| code.to_string(),
    );
    let made = by
        .iter()
        .filter_map(|signature| signature.signature_creation_time())
        .min()
        .and_then(|made| Timestamp::try_from(made).ok());
    match made {
        Some(made) => format!("{reason}, on {made}"),
        None => reason,
    }
}

impl RingKey {
    /// Its certificate, if it has one.
    pub(crate) fn cert(&self) -> Option<&Cert> {
        match &self.file {
            Some(KeyFile::OpenPgp(cert)) => Some(cert),
            _ => None,
        }
    }
}
