//! Throw-away signers: each has a new key that exists only in this process.

use plumb_adapters::git::sign::{OpenPgpSigner, SignError, Signer, SshSigner};

use crate::report::{Failure, OrFail as _};

/// A person of the demonstration, with a private key.
pub(super) struct DemoSigner {
    pub(super) name: &'static str,
    key: SigningKey,
}

enum SigningKey {
    Ssh(Box<SshSigner>),
    OpenPgp(Box<OpenPgpSigner>),
}

impl DemoSigner {
    /// Creates a person with a new SSH key.
    pub(super) fn with_ssh(name: &'static str) -> Result<Self, Failure> {
        let key =
            SshSigner::generate(name).or_fail(|| format!("cannot create an SSH key for {name}"))?;
        Ok(Self {
            name,
            key: SigningKey::Ssh(Box::new(key)),
        })
    }

    /// Creates a person with a new `OpenPGP` certificate.
    pub(super) fn with_openpgp(name: &'static str) -> Result<Self, Failure> {
        let key = OpenPgpSigner::generate(&format!("{name} <{name}@fleet.example>"))
            .or_fail(|| format!("cannot create an OpenPGP key for {name}"))?;
        Ok(Self {
            name,
            key: SigningKey::OpenPgp(Box::new(key)),
        })
    }

    /// Returns the name of the key's type, for the output.
    pub(super) fn kind(&self) -> &'static str {
        match self.key {
            SigningKey::Ssh(_) => "SSH",
            SigningKey::OpenPgp(_) => "OpenPGP",
        }
    }

    /// Returns the path and text of the public key's file under `trust/keys/`.
    pub(super) fn file(&self) -> Result<(String, String), Failure> {
        let (ending, text) = match &self.key {
            SigningKey::Ssh(key) => ("pub", key.public()),
            SigningKey::OpenPgp(key) => ("asc", key.public()),
        };
        let text = text.or_fail(|| format!("cannot write the key of {}", self.name))?;
        Ok((format!("trust/keys/{}.{ending}", self.name), text))
    }

    /// Renders the key as it is written in a policy.
    pub(super) fn policy_form(&self) -> String {
        match &self.key {
            SigningKey::Ssh(key) => format!("{{ssh: \"{}\"}}", key.fingerprint()),
            SigningKey::OpenPgp(key) => format!("{{openpgp: {}}}", key.fingerprint()),
        }
    }
}

impl Signer for DemoSigner {
    fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        match &self.key {
            SigningKey::Ssh(key) => key.sign(payload),
            SigningKey::OpenPgp(key) => key.sign(payload),
        }
    }
}
