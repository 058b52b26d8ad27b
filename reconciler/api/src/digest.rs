//! SHA-256 digests, and the domain separation of everything that Plumb hashes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::canonical;

/// A SHA-256 digest; 64 lower-case hexadecimal digits as text.
///
/// Digests serve as cache keys and preconditions. A different digest alone is never a reason to change a
/// host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of raw bytes, such as a file's content (`sha256sum` prints the same).
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of a value's canonical form, hashed after the prefix `plumb/KIND/1\0`.
    ///
    /// # Errors
    /// Fails if the value has no canonical form: it contains floats, or maps whose keys aren't strings.
    pub fn of<T: Serialize>(kind: &str, value: &T) -> Result<Self, canonical::NotCanonical> {
        Ok(Self::of_canonical(kind, &canonical::to_vec(value)?))
    }

    /// Returns the digest of bytes that are already in canonical form, hashed after the prefix
    /// `plumb/KIND/1\0`.
    pub fn of_canonical(kind: &str, canonical: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"plumb/");
        hasher.update(kind.as_bytes());
        hasher.update(b"/1\0");
        hasher.update(canonical);
        Self(hasher.finalize().into())
    }

    /// Returns the Merkle root over named leaves. Their order matters, so pass them sorted.
    pub fn merkle<'a>(kind: &str, leaves: impl IntoIterator<Item = (&'a str, Digest)>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"plumb/");
        hasher.update(kind.as_bytes());
        hasher.update(b"/1\0");
        for (name, leaf) in leaves {
            hasher.update((name.len() as u64).to_be_bytes());
            hasher.update(name.as_bytes());
            hasher.update(leaf.0);
        }
        Self(hasher.finalize().into())
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Creates a digest from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The error for a text that isn't 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADigest;

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest must be 64 lower-case hexadecimal digits")
    }
}

impl std::error::Error for NotADigest {}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(NotADigest),
        };
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back_and_separate_domains() {
        let digest = Digest::of_bytes(b"plumb\n");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_ne!(
            Digest::of_canonical("spec", b"{}"),
            Digest::of_canonical("observed", b"{}")
        );
        assert_eq!("AB".repeat(32).parse::<Digest>(), Err(NotADigest));
    }
}
