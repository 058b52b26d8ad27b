//! Key files: each holds one `OpenPGP` certificate or one SSH public key.

use std::sync::Arc;

use sequoia_openpgp::cert::Cert;

use super::material::Material;
use crate::key_name::KeyName;

/// The content of a key file.
#[derive(Debug, Clone)]
pub enum KeyFile {
    /// An `OpenPGP` certificate.
    OpenPgp(Arc<Cert>),
    /// An SSH public key.
    Ssh(Arc<ssh_key::PublicKey>),
}

/// An error of a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The file is neither an `OpenPGP` certificate nor an SSH public key.
    #[error("neither an OpenPGP certificate nor an SSH public key")]
    Neither,
    /// The file has several keys.
    #[error("more than one certificate or key; put each into a file of its own")]
    Several,
    /// The file has a secret key.
    #[error("a secret key")]
    Secret,
    /// The file is an SSH certificate.
    #[error("an SSH certificate; only plain keys count")]
    Certificate,
    /// With this file, the certificates have more packets, or more pairs of a component and a signature, than
    /// the limits allow.
    #[error("a certificate with more parts and signatures than the keys of a policy may have")]
    Large,
    /// The file begins like a key but can't be parsed.
    #[error("a key that can't be read: {0}")]
    Garbled(String),
}

impl KeyFile {
    /// Reads a key file.
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

    /// True if [`parse`](Self::parse) reads the bytes as an `OpenPGP` certificate, armored or not.
    pub(super) fn is_certificate(bytes: &[u8]) -> bool {
        let text = bytes.trim_ascii();
        text.windows(5).any(|w| w == b"-----") || text.first().is_some_and(|b| b & 0x80 != 0)
    }

    fn openpgp(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let mut all = Self::parse_keyring(bytes)?;
        match all.pop() {
            Some(key) if all.is_empty() => Ok(key),
            _ => Err(KeyFileError::Several),
        }
    }

    /// Returns the key's fingerprint.
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

    /// Returns the key material of the key, or of all keys of the certificate.
    pub(crate) fn material(&self) -> Material {
        match self {
            Self::Ssh(key) => Material::of_ssh(key.key_data()),
            Self::OpenPgp(cert) => {
                let mut material = Material::default();
                for part in cert.keys() {
                    material.add(&Material::of_openpgp(part.key()));
                }
                material
            }
        }
    }

    /// Returns the owner that the file claims: a user ID or a comment. Nobody has verified it.
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
