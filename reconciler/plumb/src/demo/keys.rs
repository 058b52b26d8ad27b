//! Throw-away signers: each has a new key that exists only in this process.

use plumb_adapters::git::sign::{OpenPgpSigner, SignError, Signer, SshSigner};

use crate::report::{Failure, OrFail as _};

/// A signer.
pub(super) struct Person {
    pub(super) name: &'static str,
    key: Key,
}

enum Key {
    Ssh(Box<SshSigner>),
    OpenPgp(Box<OpenPgpSigner>),
}

impl Person {
    /// Creates a person with a new SSH key.
    pub(super) fn with_ssh(name: &'static str) -> Result<Self, Failure> {
        let key =
            SshSigner::generate(name).or_fail(|| format!("cannot create an SSH key for {name}"))?;
        Ok(Self {
            name,
            key: Key::Ssh(Box::new(key)),
        })
    }

    /// Creates a person with a new `OpenPGP` certificate.
    pub(super) fn with_openpgp(name: &'static str) -> Result<Self, Failure> {
        let key = OpenPgpSigner::generate(&format!("{name} <{name}@fleet.example>"))
            .or_fail(|| format!("cannot create an OpenPGP key for {name}"))?;
        Ok(Self {
            name,
            key: Key::OpenPgp(Box::new(key)),
        })
    }

    /// The kind of key, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self.key {
            Key::Ssh(_) => "SSH",
            Key::OpenPgp(_) => "OpenPGP",
        }
    }

    /// The path and text of the public key's file under `trust/keys/`.
    pub(super) fn file(&self) -> Result<(String, String), Failure> {
        let (ending, text) = match &self.key {
            Key::Ssh(key) => ("pub", key.public()),
            Key::OpenPgp(key) => ("asc", key.public()),
        };
        let text = text.or_fail(|| format!("cannot write the key of {}", self.name))?;
        Ok((format!("trust/keys/{}.{ending}", self.name), text))
    }

    /// Renders the key as a policy names it.
    pub(super) fn policy_form(&self) -> String {
        match &self.key {
            Key::Ssh(key) => format!("{{ssh: \"{}\"}}", key.fingerprint()),
            Key::OpenPgp(key) => format!("{{openpgp: {}}}", key.fingerprint()),
        }
    }
}

impl Signer for Person {
    fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        match &self.key {
            Key::Ssh(key) => key.sign(payload),
            Key::OpenPgp(key) => key.sign(payload),
        }
    }
}
