//! Writes key files for `trust/keys/` that contain only what is needed, and every revocation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use sequoia_openpgp::cert::{Cert, CertParser};
use sequoia_openpgp::packet::Signature;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::{Fingerprint, Packet, anyhow};

use super::key_record::revocations;
use super::{KeyFile, KeyFileError};

/// Something that an earlier copy of a certificate has and a later one lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateLoss {
    /// A revocation.
    Revocation,
    /// A user ID.
    UserId,
    /// The newest self-signature of the certificate or of a part of it.
    SelfSignature,
}

impl fmt::Display for CertificateLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revocation => "a revocation",
            Self::UserId => "a user ID",
            Self::SelfSignature => "a self-signature",
        })
    }
}

/// A part of a certificate that has self-signatures of its own.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SignedPart {
    User(Vec<u8>),
    Key(Fingerprint),
}

impl KeyFile {
    /// Reads every certificate of an `OpenPGP` keyring, armored or not.
    ///
    /// # Errors
    /// Fails if the bytes aren't a keyring, if a certificate can't be read, or if one has a secret key.
    pub fn parse_keyring(bytes: &[u8]) -> Result<Vec<Self>, KeyFileError> {
        let garbled = |error: anyhow::Error| KeyFileError::Garbled(error.to_string());
        let mut found = Vec::new();
        for cert in CertParser::from_bytes(bytes).map_err(garbled)? {
            let cert = cert.map_err(garbled)?;
            if cert.is_tsk() {
                return Err(KeyFileError::Secret);
            }
            found.push(Self::OpenPgp(Arc::new(cert)));
        }
        if found.is_empty() {
            return Err(KeyFileError::Neither);
        }
        Ok(found)
    }

    /// Returns the file's text: an SSH key's line, or an armored certificate without third-party
    /// certifications and pictures. Keeps all revocations.
    ///
    /// # Errors
    /// Fails if the key can't be written.
    pub fn to_text(&self) -> Result<String, KeyFileError> {
        let garbled = |error: String| KeyFileError::Garbled(error);
        match self {
            Self::Ssh(key) => {
                let line = key.to_openssh().map_err(|e| garbled(e.to_string()))?;
                Ok(format!("{}\n", line.trim_end()))
            }
            Self::OpenPgp(cert) => {
                let text = minimal(cert)
                    .and_then(|cert| cert.armored().to_vec())
                    .map_err(|e| garbled(e.to_string()))?;
                String::from_utf8(text).map_err(|e| garbled(e.to_string()))
            }
        }
    }

    /// Returns the first thing that an earlier copy of this certificate has and this copy lacks: a
    /// revocation, a user ID, or the newest self-signature of a part. Returns `None` for SSH keys.
    pub fn loss_since(&self, earlier: &Self) -> Option<CertificateLoss> {
        let (Self::OpenPgp(before), Self::OpenPgp(after)) = (earlier, self) else {
            return None;
        };
        if !revocations(before).is_subset(&revocations(after)) {
            return Some(CertificateLoss::Revocation);
        }
        let (old, new) = (
            newest_self_signatures(before),
            newest_self_signatures(after),
        );
        let lost = |(part, made): &(&SignedPart, &Option<SystemTime>)| {
            new.get(*part).is_none_or(|newest| newest < *made)
        };
        let (part, _) = old.iter().find(lost)?;
        Some(match part {
            SignedPart::User(_) if !new.contains_key(part) => CertificateLoss::UserId,
            _ => CertificateLoss::SelfSignature,
        })
    }

    /// Returns the kind of key, for people: `ssh-ed25519`, `OpenPGP RSA 4096`.
    pub fn kind(&self) -> String {
        match self {
            Self::Ssh(key) => key.algorithm().to_string(),
            Self::OpenPgp(cert) => {
                let key = cert.primary_key().key();
                match key.mpis().bits() {
                    Some(bits) => format!("OpenPGP {} {bits}", key.pk_algo()),
                    None => format!("OpenPGP {}", key.pk_algo()),
                }
            }
        }
    }
}

/// Returns the time of the newest self-signature of each user ID and key, or `None` for a user ID without one.
fn newest_self_signatures(cert: &Cert) -> BTreeMap<SignedPart, Option<SystemTime>> {
    let newest = |signatures: Vec<&Signature>| {
        let times = signatures.into_iter();
        times
            .filter_map(|signature| signature.signature_creation_time())
            .max()
    };
    let users = cert.userids().map(|user| {
        let part = SignedPart::User(user.userid().value().to_vec());
        (part, newest(user.self_signatures().collect()))
    });
    let keys = cert.keys().map(|part| {
        let newest = newest(part.self_signatures().collect());
        (SignedPart::Key(part.key().fingerprint()), newest)
    });
    users.chain(keys).collect()
}

fn minimal(cert: &Cert) -> anyhow::Result<Cert> {
    let primary = cert.primary_key();
    let mut packets: Vec<Packet> = vec![primary.key().clone().into()];
    let add = |packets: &mut Vec<Packet>, signatures: Vec<&Signature>| {
        packets.extend(signatures.into_iter().cloned().map(Packet::from));
    };
    add(
        &mut packets,
        primary
            .self_signatures()
            .chain(primary.self_revocations())
            .chain(primary.other_revocations())
            .collect(),
    );
    for user in cert.userids() {
        packets.push(user.userid().clone().into());
        add(
            &mut packets,
            user.self_signatures()
                .chain(user.self_revocations())
                .chain(user.other_revocations())
                .collect(),
        );
    }
    for part in cert.keys().subkeys() {
        packets.push(part.key().clone().into());
        add(
            &mut packets,
            part.self_signatures()
                .chain(part.self_revocations())
                .chain(part.other_revocations())
                .collect(),
        );
    }
    Cert::from_packets(packets.into_iter())
}

#[cfg(test)]
mod tests {
    use sequoia_openpgp::cert::CertBuilder;
    use sequoia_openpgp::packet::signature::SignatureBuilder;
    use sequoia_openpgp::types::{ReasonForRevocation, SignatureType};

    use super::*;

    fn cert(name: &str) -> Cert {
        CertBuilder::new()
            .add_userid(name)
            .add_signing_subkey()
            .generate()
            .unwrap()
            .0
    }

    fn file(cert: &Cert) -> KeyFile {
        KeyFile::OpenPgp(Arc::new(cert.clone().strip_secret_key_material()))
    }

    #[test]
    fn what_others_certified_is_left_out_and_the_key_stays_the_same() {
        let (alice, bob) = (cert("alice"), cert("bob"));
        let mut signer = bob
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .unwrap()
            .into_keypair()
            .unwrap();
        let user = alice.userids().next().unwrap().userid().clone();
        let certification = user
            .bind(
                &mut signer,
                &alice,
                SignatureBuilder::new(SignatureType::GenericCertification),
            )
            .unwrap();
        let certified = alice.clone().insert_packets([certification]).unwrap().0;
        assert_eq!(
            certified.userids().next().unwrap().certifications().count(),
            1
        );
        let text = file(&certified).to_text().unwrap();
        let KeyFile::OpenPgp(read) = KeyFile::parse(text.as_bytes()).unwrap() else {
            panic!("it is a certificate");
        };
        assert_eq!(read.fingerprint(), alice.fingerprint());
        assert_eq!(read.userids().next().unwrap().certifications().count(), 0);
        assert_eq!(read.keys().subkeys().count(), 1);
    }

    #[test]
    fn a_revocation_is_kept_and_missed() {
        let alice = cert("alice");
        let mut signer = alice
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .unwrap()
            .into_keypair()
            .unwrap();
        let revocation = alice
            .revoke(&mut signer, ReasonForRevocation::KeyCompromised, b"stolen")
            .unwrap();
        let revoked = alice.clone().insert_packets([revocation]).unwrap().0;
        let (before, after) = (file(&revoked), file(&alice));
        let lost = Some(CertificateLoss::Revocation);
        assert_eq!(after.loss_since(&before), lost);
        assert_eq!(before.loss_since(&after), None);
        let copy = KeyFile::parse(before.to_text().unwrap().as_bytes()).unwrap();
        assert_eq!(copy.loss_since(&before), None);
    }

    #[test]
    fn a_keyring_is_taken_apart() {
        let text = [cert("alice"), cert("bob")]
            .map(|cert| file(&cert).to_text().unwrap())
            .concat();
        assert_eq!(KeyFile::parse_keyring(text.as_bytes()).unwrap().len(), 2);
        assert_eq!(
            KeyFile::parse(text.as_bytes()).unwrap_err(),
            KeyFileError::Several
        );
        assert!(KeyFile::parse_keyring(b"nothing").is_err());
    }
}
