//! X25519 keys, written in Bech32 as age does.

use std::fmt;
use std::str::FromStr;

use bech32::{Bech32, Hrp};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{AgeError, random};

const PUBLIC: Hrp = Hrp::parse_unchecked("age");
const SECRET: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// The public key of somebody who can read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient(pub(super) PublicKey);

/// A secret key. It is wiped from memory when it is dropped, and has no `Debug` form.
pub struct Identity(pub(super) StaticSecret);

impl Identity {
    /// Makes a new key.
    ///
    /// # Errors
    /// Fails if the system has no random source.
    pub fn generate() -> Result<Self, AgeError> {
        Ok(Self(StaticSecret::from(*random::<32>()?)))
    }

    /// Returns the public half.
    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0))
    }

    /// Returns the key as age's own programs write it, for a file that only its owner can read.
    ///
    /// # Errors
    /// Never fails for a key of 32 bytes.
    pub fn to_secret_text(&self) -> Result<Zeroizing<String>, AgeError> {
        bech32::encode_upper::<Bech32>(SECRET, self.0.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| AgeError::InvalidKey)
    }
}

impl FromStr for Identity {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        Ok(Self(StaticSecret::from(*decode(text, SECRET)?)))
    }
}

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(AgeError::InvalidKey);
        }
        Ok(Self(PublicKey::from(*decode(text, PUBLIC)?)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32>(PUBLIC, self.0.as_bytes()).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

fn decode(text: &str, prefix: Hrp) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(text)
        .map_err(|_| AgeError::InvalidKey)?;
    if checked.hrp() != prefix {
        return Err(AgeError::InvalidKey);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let mut length = 0;
    for byte in checked.byte_iter() {
        *bytes.get_mut(length).ok_or(AgeError::InvalidKey)? = byte;
        length += 1;
    }
    if length == 32 {
        Ok(bytes)
    } else {
        Err(AgeError::InvalidKey)
    }
}
