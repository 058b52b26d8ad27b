//! The envelope of a secret: the text inside the ciphertext, which says what the value is for.
//!
//! age doesn't say who encrypted a file, and a file has no place of its own. Whoever may write to the
//! repository could put the ciphertext of one secret under the name of another, or put back an old one. The
//! host therefore compares the envelope with the secret that the ciphertext came as.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The identity of one value of a secret, and of its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretBinding {
    /// The repository's identity in its trust policy.
    pub repository: String,
    /// The name of the Secret object.
    pub name: String,
    /// The key in `values`.
    pub key: String,
    /// The version; each new value gets a higher one.
    pub version: u64,
    /// Digest of `hosts` and `deliver` of the Secret object.
    pub usage: Digest,
}

/// The content of a secret's ciphertext. It has no `Debug` form, so that no value gets into a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretEnvelope {
    /// What the value is for.
    pub binding: SecretBinding,
    /// The value.
    pub value: Vec<u8>,
}

/// The field in which an envelope isn't what it came as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingMismatch {
    /// It belongs to another repository.
    Repository,
    /// It belongs to another secret.
    Name,
    /// It belongs to another key of the secret.
    Key,
    /// It is another version of the value.
    Version,
    /// It was encrypted for other hosts or another delivery.
    Usage,
}

impl SecretEnvelope {
    /// Compares the envelope with the secret that it came as.
    ///
    /// # Errors
    /// Returns the first field that differs.
    pub fn check(&self, expected: &SecretBinding) -> Result<(), BindingMismatch> {
        let own = &self.binding;
        let fields = [
            (
                own.repository == expected.repository,
                BindingMismatch::Repository,
            ),
            (own.name == expected.name, BindingMismatch::Name),
            (own.key == expected.key, BindingMismatch::Key),
            (own.version == expected.version, BindingMismatch::Version),
            (own.usage == expected.usage, BindingMismatch::Usage),
        ];
        match fields.into_iter().find(|(same, _)| !same) {
            Some((_, mismatch)) => Err(mismatch),
            None => Ok(()),
        }
    }
}

impl fmt::Display for BindingMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repository => "it was encrypted for another repository",
            Self::Name => "it was encrypted as another secret",
            Self::Key => "it was encrypted as another key of the secret",
            Self::Version => "it was encrypted as another version",
            Self::Usage => "it was encrypted for other hosts or another delivery",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edit = fn(&mut SecretBinding);

    fn binding() -> SecretBinding {
        SecretBinding {
            repository: "6f1c0c9e".to_owned(),
            name: "wifi".to_owned(),
            key: "psk".to_owned(),
            version: 3,
            usage: Digest::of_bytes(b"hosts"),
        }
    }

    #[test]
    fn rejects_an_envelope_that_was_moved_or_rolled_back() {
        let envelope = SecretEnvelope {
            binding: binding(),
            value: b"hunter2".to_vec(),
        };
        assert_eq!(envelope.check(&binding()), Ok(()));
        let changes: [(Edit, BindingMismatch); 5] = [
            (|one| one.repository.clear(), BindingMismatch::Repository),
            (|one| one.name.push('2'), BindingMismatch::Name),
            (|one| one.key.push('2'), BindingMismatch::Key),
            (|one| one.version = 4, BindingMismatch::Version),
            (
                |one| one.usage = Digest::of_bytes(b"other"),
                BindingMismatch::Usage,
            ),
        ];
        for (change, mismatch) in changes {
            let mut expected = binding();
            change(&mut expected);
            assert_eq!(envelope.check(&expected), Err(mismatch));
        }
    }
}
