//! The envelope of a secret: the text inside the ciphertext, which says what the value is for.
//!
//! age doesn't say who encrypted a file, and a file has no place of its own. Whoever may write to the
//! repository could put the ciphertext of one secret under the name of another, or put back an old one. The
//! host therefore compares the envelope with the secret that the ciphertext came as.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Maximum size of a secret's value in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// True if a text has the form of an age key's public half: `age1` and 58 characters of Bech32.
pub fn is_age_key(text: &str) -> bool {
    let data = text.strip_prefix("age1").unwrap_or_default();
    data.len() == 58
        && data
            .bytes()
            .all(|byte| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(&byte))
}

/// True if a text has the form of an armored age file: its two marks, and Base64 between them. Whether anybody
/// can decrypt it doesn't show.
pub fn is_armored(text: &str) -> bool {
    const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----\n";
    const END: &str = "\n-----END AGE ENCRYPTED FILE-----";
    let body = text
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.trim_end().strip_suffix(END));
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=\n".contains(&b);
    body.is_some_and(|body| !body.is_empty() && body.bytes().all(is_base64))
}

/// The characters around the name in a placeholder. Unicode keeps them for use inside of programs, so that no
/// text has them.
const AROUND: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// Returns the placeholder of a secret in a text: only a host puts the value in its place.
pub fn placeholder(name: &str) -> String {
    let [open, close] = AROUND;
    format!("{open}{name}{close}")
}

/// Marks the path of a private key in a placeholder. No name of a secret has a colon.
const PRIVATE_KEY: &str = "keypair:";

/// Returns the placeholder of the private key at a path: only the host that made it puts it in its place.
pub fn private_key_placeholder(path: &str) -> String {
    placeholder(&format!("{PRIVATE_KEY}{path}"))
}

/// True if a text has a placeholder, or a part of one.
pub fn has_placeholder(text: &str) -> bool {
    text.contains(AROUND)
}

/// The error for a placeholder that a template has cut or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenPlaceholder;

/// A piece of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPiece<'a> {
    /// Text that stays.
    Text(&'a str),
    /// The name of a secret, `NAME/KEY`.
    Secret(&'a str),
    /// The path of a private key that the host made.
    PrivateKey(&'a str),
}

/// Splits a text at its placeholders.
///
/// # Errors
/// Fails if a placeholder isn't whole.
pub fn pieces(text: &str) -> Result<Vec<TextPiece<'_>>, BrokenPlaceholder> {
    let [open, close] = AROUND;
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (name, after) = after.split_once(close).ok_or(BrokenPlaceholder)?;
        let filled = match name.strip_prefix(PRIVATE_KEY) {
            Some(path) => TextPiece::PrivateKey(path),
            None => TextPiece::Secret(name),
        };
        pieces.extend([TextPiece::Text(before), filled]);
        rest = after;
    }
    pieces.push(TextPiece::Text(rest));
    let is_whole = |piece: &TextPiece<'_>| match piece {
        TextPiece::Text(text) | TextPiece::Secret(text) | TextPiece::PrivateKey(text) => {
            !has_placeholder(text)
        }
    };
    if pieces.iter().all(is_whole) {
        Ok(pieces)
    } else {
        Err(BrokenPlaceholder)
    }
}

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
    /// Digest of `hosts` of the Secret object.
    pub hosts: Digest,
    /// Digest of the files that hosts get the value in.
    pub deliver: Digest,
}

/// The content of a secret's ciphertext. It has no `Debug` form, so that no value gets into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretEnvelope<V> {
    /// What the value is for.
    pub binding: SecretBinding,
    /// The value.
    pub value: V,
}

/// The error for a plaintext that isn't an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidEnvelope;

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
    /// It was encrypted for other hosts.
    Hosts,
    /// It was encrypted for another delivery.
    Delivery,
}

impl<V: AsRef<[u8]>> SecretEnvelope<V> {
    /// Returns the plaintext: the binding as JSON on one line, then the value.
    ///
    /// # Errors
    /// The error of `serde_json`; none is known for a binding.
    pub fn to_plaintext(&self) -> Result<Vec<u8>, serde_json::Error> {
        let binding = serde_json::to_vec(&self.binding)?;
        let value = self.value.as_ref();
        // The buffer doesn't grow, so that no copy of the value stays behind in memory.
        let mut bytes = Vec::with_capacity(binding.len() + 1 + value.len());
        bytes.extend_from_slice(&binding);
        bytes.push(b'\n');
        bytes.extend_from_slice(value);
        Ok(bytes)
    }
}

impl<'a> SecretEnvelope<&'a [u8]> {
    /// Parses a plaintext.
    ///
    /// # Errors
    /// Fails if it doesn't begin with a binding.
    pub fn parse(plaintext: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let end = plaintext.iter().position(|byte| *byte == b'\n');
        let (binding, rest) = plaintext.split_at(end.ok_or(InvalidEnvelope)?);
        Ok(Self {
            binding: serde_json::from_slice(binding).map_err(|_| InvalidEnvelope)?,
            value: rest.get(1..).ok_or(InvalidEnvelope)?,
        })
    }
}

impl SecretBinding {
    /// Compares the binding in an envelope with that of the secret that it came as.
    ///
    /// # Errors
    /// Returns the first field that differs.
    pub fn check(&self, expected: &Self) -> Result<(), BindingMismatch> {
        let fields = [
            (
                self.repository == expected.repository,
                BindingMismatch::Repository,
            ),
            (self.name == expected.name, BindingMismatch::Name),
            (self.key == expected.key, BindingMismatch::Key),
            (self.version == expected.version, BindingMismatch::Version),
            (self.hosts == expected.hosts, BindingMismatch::Hosts),
            (self.deliver == expected.deliver, BindingMismatch::Delivery),
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
            Self::Hosts => "it was encrypted for other `hosts`",
            Self::Delivery => "it was encrypted for another delivery",
        })
    }
}

impl fmt::Display for InvalidEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text in the ciphertext isn't that of a secret")
    }
}

impl std::error::Error for InvalidEnvelope {}

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
            hosts: Digest::of_bytes(b"hosts"),
            deliver: Digest::of_bytes(b"deliver"),
        }
    }

    #[test]
    fn rejects_an_envelope_that_was_moved_or_rolled_back() {
        assert_eq!(binding().check(&binding()), Ok(()));
        let changes: [(Edit, BindingMismatch); 6] = [
            (|one| one.repository.clear(), BindingMismatch::Repository),
            (|one| one.name.push('2'), BindingMismatch::Name),
            (|one| one.key.push('2'), BindingMismatch::Key),
            (|one| one.version = 4, BindingMismatch::Version),
            (
                |one| one.hosts = Digest::of_bytes(b"other"),
                BindingMismatch::Hosts,
            ),
            (
                |one| one.deliver = Digest::of_bytes(b"other"),
                BindingMismatch::Delivery,
            ),
        ];
        for (change, mismatch) in changes {
            let mut expected = binding();
            change(&mut expected);
            assert_eq!(binding().check(&expected), Err(mismatch));
        }
    }

    #[test]
    fn texts_are_split_at_whole_placeholders() {
        let text = format!("a={}\nb={}", placeholder("x/y"), placeholder("z/w"));
        assert_eq!(
            pieces(&text).unwrap(),
            [
                TextPiece::Text("a="),
                TextPiece::Secret("x/y"),
                TextPiece::Text("\nb="),
                TextPiece::Secret("z/w"),
                TextPiece::Text(""),
            ]
        );
        let cut = &text[.."a=".len() + 4];
        for broken in [cut, &text[5..], &format!("{cut}{text}")] {
            assert_eq!(pieces(broken), Err(BrokenPlaceholder), "{broken:?}");
        }
        assert!(has_placeholder(cut) && !has_placeholder("secret('x/y')"));
    }

    #[test]
    fn values_of_any_bytes_come_back_whole() {
        for value in [&b""[..], b"\n", b"hunter2\n", b"\xff\0\n\n"] {
            let envelope = SecretEnvelope {
                binding: binding(),
                value,
            };
            let plaintext = envelope.to_plaintext().unwrap();
            let parsed = SecretEnvelope::parse(&plaintext).unwrap();
            assert!(parsed == envelope);
        }
        assert!(SecretEnvelope::parse(b"hunter2").is_err());
        assert!(SecretEnvelope::parse(b"{}\nhunter2").is_err());
    }
}
