//! The file format age v1 (<https://age-encryption.org/v1>) with X25519 recipients, armored.
//!
//! The crate `age` brings localization, scrypt and OpenSSH keys, which a small static agent doesn't need. The
//! cryptography is that of `RustCrypto`; this module has the layout of the file.

mod armor;
mod error;
mod header;
mod key;
mod stream;

pub use error::AgeError;
pub use key::{Identity, Recipient};

use header::{FileKey, Header};
use zeroize::Zeroizing;

/// Maximum size in bytes of a decrypted secret.
pub const MAX_PLAINTEXT: usize = 1 << 20;

/// Fills a buffer with random bytes of the system.
///
/// # Errors
/// Fails if the system has no random source.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, AgeError> {
    let mut bytes = Zeroizing::new([0; N]);
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .map_err(|_| AgeError::NoRandom)?;
    }
    Ok(bytes)
}

/// Encrypts a text to all recipients and returns the armored file.
///
/// # Errors
/// Fails if there is no recipient, if the text is longer than [`MAX_PLAINTEXT`], or without random bytes.
pub fn encrypt(plaintext: &[u8], recipients: &[Recipient]) -> Result<String, AgeError> {
    if recipients.is_empty() {
        return Err(AgeError::NoRecipient);
    }
    if plaintext.len() > MAX_PLAINTEXT {
        return Err(AgeError::TooLong);
    }
    let file_key = FileKey::new(random()?);
    let mut file = header::write(&file_key, recipients)?;
    let nonce = random::<16>()?;
    file.extend_from_slice(&*nonce);
    file.extend(stream::seal(&*file_key.payload_key(&nonce)?, plaintext)?);
    Ok(armor::wrap(&file))
}

/// Decrypts an armored file. Returns nothing of the text unless all of it is authentic.
///
/// # Errors
/// Fails if the file is malformed or was changed, or if it isn't encrypted to this identity.
pub fn decrypt(armored: &str, identity: &Identity) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let file = armor::unwrap(armored)?;
    let (header, rest) = Header::parse(&file)?;
    let file_key = header.open(identity)?;
    let (nonce, payload) = rest
        .split_first_chunk::<16>()
        .ok_or(AgeError::Malformed("the payload is cut off"))?;
    if payload.len() > MAX_PLAINTEXT + stream::overhead(MAX_PLAINTEXT) {
        return Err(AgeError::TooLong);
    }
    stream::open(&*file_key.payload_key(nonce)?, payload)
}

#[cfg(test)]
mod tests;
