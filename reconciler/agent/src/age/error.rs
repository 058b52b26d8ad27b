//! The errors of encrypting and decrypting. None of them quotes a key or a text.

use std::fmt;

/// The reason why a file can't be encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeError {
    /// The file isn't encrypted to this identity.
    NotARecipient,
    /// The file was changed after it was encrypted.
    Changed,
    /// The file doesn't follow the format; the phrase says where.
    Malformed(&'static str),
    /// The text is longer than a secret may be.
    TooLong,
    /// There is nobody to encrypt to.
    NoRecipient,
    /// A key isn't written as age writes it.
    InvalidKey,
    /// The system has no random source.
    NoRandom,
}

impl fmt::Display for AgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotARecipient => "the file isn't encrypted to this key",
            Self::Changed => "the file was changed after it was encrypted",
            Self::Malformed(phrase) => phrase,
            Self::TooLong => "a secret may have at most 1 MiB",
            Self::NoRecipient => "there is no recipient",
            Self::InvalidKey => "this isn't an X25519 key of age",
            Self::NoRandom => "the system has no random source",
        })
    }
}

impl std::error::Error for AgeError {}
