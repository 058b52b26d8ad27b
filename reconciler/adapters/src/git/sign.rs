//! Signs with freshly generated keys, for the demo and tests. Users sign with their own keys through their
//! own programs.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;
use ssh_key::private::{Ed25519Keypair, KeypairData};

use openpgp::cert::CertBuilder;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
use openpgp::serialize::stream::{Armorer, Message};

/// Signs the content of commits and tags.
pub trait Signer: Send + Sync {
    /// Returns the armored signature over these bytes; it ends with a newline.
    fn sign(&self, payload: &[u8]) -> Result<String, SignError>;
}

impl<F: Fn(&[u8]) -> Result<String, SignError> + Send + Sync> Signer for F {
    fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        self(payload)
    }
}

/// A signature that couldn't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(pub String);

impl SignError {
    fn of(error: &impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// An Ed25519 SSH key.
pub struct SshSigner {
    key: ssh_key::PrivateKey,
}

impl SshSigner {
    /// Generates a key; the comment names its owner.
    pub fn generate(comment: &str) -> Result<Self, SignError> {
        let mut seed = [0; 32];
        openpgp::crypto::random(&mut seed).map_err(|error| SignError::of(&error))?;
        Self::from_seed(&seed, comment)
    }

    /// Creates the key from a 32-byte seed; the same seed gives the same key.
    pub fn from_seed(seed: &[u8; 32], comment: &str) -> Result<Self, SignError> {
        let pair = Ed25519Keypair::from_seed(seed);
        let key = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), comment)
            .map_err(|error| SignError::of(&error))?;
        Ok(Self { key })
    }

    /// Returns the public key's line, in the format of `trust/keys/`.
    pub fn public(&self) -> Result<String, SignError> {
        let line = self
            .key
            .public_key()
            .to_openssh()
            .map_err(|error| SignError::of(&error))?;
        Ok(format!("{line}\n"))
    }

    /// Returns the fingerprint, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(ssh_key::HashAlg::Sha256).to_string()
    }

    /// Returns the private key in OpenSSH format, without a passphrase.
    pub fn private(&self) -> Result<String, SignError> {
        let text = self
            .key
            .to_openssh(ssh_key::LineEnding::LF)
            .map_err(|error| SignError::of(&error))?;
        Ok(text.to_string())
    }
}

impl Signer for SshSigner {
    fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        let signature = self
            .key
            .sign("git", ssh_key::HashAlg::Sha512, payload)
            .map_err(|error| SignError::of(&error))?;
        let mut armor = signature
            .to_pem(ssh_key::LineEnding::LF)
            .map_err(|error| SignError::of(&error))?;
        if !armor.ends_with('\n') {
            armor.push('\n');
        }
        Ok(armor)
    }
}

/// An OpenPGP certificate with an Ed25519 signing key.
pub struct OpenPgpSigner {
    cert: openpgp::Cert,
}

impl OpenPgpSigner {
    /// Generates a certificate for a name and address (`Alice <alice@example.org>`).
    pub fn generate(user: &str) -> Result<Self, SignError> {
        // One minute in the past, because the clock of a verifying machine may be slightly behind.
        let created = SystemTime::now() - Duration::from_mins(1);
        let (cert, _) = CertBuilder::new()
            .add_userid(user)
            .set_creation_time(created)
            .add_signing_subkey()
            .generate()
            .map_err(|error| SignError::of(&error))?;
        Ok(Self { cert })
    }

    /// Returns the armored certificate, in the format of `trust/keys/`.
    pub fn public(&self) -> Result<String, SignError> {
        let armor = self
            .cert
            .armored()
            .to_vec()
            .map_err(|error| SignError::of(&error))?;
        String::from_utf8(armor).map_err(|error| SignError::of(&error))
    }

    /// Returns the fingerprint, in upper-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.cert.fingerprint().to_hex()
    }
}

impl Signer for OpenPgpSigner {
    fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        fn detached(cert: &openpgp::Cert, payload: &[u8]) -> openpgp::Result<Vec<u8>> {
            let policy = StandardPolicy::new();
            let key = cert
                .keys()
                .with_policy(&policy, None)
                .supported()
                .alive()
                .revoked(false)
                .for_signing()
                .secret()
                .next()
                .ok_or_else(|| std::io::Error::other("the certificate has no signing key"))?
                .key()
                .clone()
                .into_keypair()?;
            let mut armor = Vec::new();
            let message = Armorer::new(Message::new(&mut armor))
                .kind(openpgp::armor::Kind::Signature)
                .build()?;
            let mut signer = openpgp::serialize::stream::Signer::new(message, key)?
                .detached()
                .build()?;
            signer.write_all(payload)?;
            signer.finalize()?;
            Ok(armor)
        }
        let armor = detached(&self.cert, payload).map_err(|error| SignError::of(&error))?;
        let mut text = String::from_utf8(armor).map_err(|error| SignError::of(&error))?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}
