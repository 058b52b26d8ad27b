//! The header: the file key, encrypted to each recipient, and a MAC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{AgeError, Identity, Recipient, random};

const VERSION: &str = "age-encryption.org/v1\n";
const X25519: &[u8] = b"age-encryption.org/v1/X25519";

/// Maximum number of stanzas: more than hosts that share a secret.
const MAX_STANZAS: usize = 4096;

/// The key of one file.
pub(super) struct FileKey(Zeroizing<[u8; 16]>);

/// A parsed header whose MAC hasn't been checked yet.
pub(super) struct Header<'a> {
    stanzas: Vec<Stanza>,
    /// The bytes that the MAC covers.
    covered: &'a [u8],
    mac: Vec<u8>,
}

/// The file key as one recipient can decrypt it.
struct Stanza {
    ephemeral: [u8; 32],
    wrapped: Vec<u8>,
}

impl FileKey {
    pub(super) fn new(bytes: Zeroizing<[u8; 16]>) -> Self {
        Self(bytes)
    }

    pub(super) fn payload_key(&self, nonce: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
        derive(&*self.0, nonce, b"payload")
    }

    fn mac(&self, covered: &[u8]) -> Result<Hmac<Sha256>, AgeError> {
        let key = derive(&*self.0, &[], b"header")?;
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&*key).map_err(|_| AgeError::InvalidKey)?;
        mac.update(covered);
        Ok(mac)
    }
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(info, &mut *key)
        .map_err(|_| AgeError::InvalidKey)?;
    Ok(key)
}

/// Returns the cipher that wraps the file key. Fails for a share of low order, which anybody could open.
fn wrapping(
    secret: &StaticSecret,
    other: &PublicKey,
    ephemeral: &[u8; 32],
    recipient: &Recipient,
) -> Result<ChaCha20Poly1305, AgeError> {
    let shared = secret.diffie_hellman(other);
    if !shared.was_contributory() {
        return Err(AgeError::InvalidKey);
    }
    let mut salt = [0; 64];
    salt[..32].copy_from_slice(ephemeral);
    salt[32..].copy_from_slice(recipient.0.as_bytes());
    let key = derive(shared.as_bytes(), &salt, X25519)?;
    ChaCha20Poly1305::new_from_slice(&*key).map_err(|_| AgeError::InvalidKey)
}

/// Writes the header of a new file.
pub(super) fn write(file_key: &FileKey, recipients: &[Recipient]) -> Result<Vec<u8>, AgeError> {
    let mut text = VERSION.to_owned();
    for recipient in recipients {
        let secret = StaticSecret::from(*random::<32>()?);
        let ephemeral = PublicKey::from(&secret).to_bytes();
        let wrapped = wrapping(&secret, &recipient.0, &ephemeral, recipient)?
            .encrypt(&Nonce::default(), &file_key.0[..])
            .map_err(|_| AgeError::InvalidKey)?;
        text.push_str("-> X25519 ");
        text.push_str(&STANDARD_NO_PAD.encode(ephemeral));
        text.push('\n');
        text.push_str(&STANDARD_NO_PAD.encode(wrapped));
        text.push('\n');
    }
    text.push_str("---");
    let mac = file_key.mac(text.as_bytes())?.finalize().into_bytes();
    text.push(' ');
    text.push_str(&STANDARD_NO_PAD.encode(mac));
    text.push('\n');
    Ok(text.into_bytes())
}

impl<'a> Header<'a> {
    /// Splits a file into its header and the rest. Stanzas of other types are skipped.
    pub(super) fn parse(file: &'a [u8]) -> Result<(Self, &'a [u8]), AgeError> {
        let malformed = AgeError::Malformed("the header isn't that of an age file of version 1");
        let mut rest = file.strip_prefix(VERSION.as_bytes()).ok_or(malformed)?;
        let mut stanzas = Vec::new();
        for _ in 0..=MAX_STANZAS {
            let line = take_line(&mut rest).ok_or(malformed)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                let covered = &file[..file.len() - rest.len() - line.len() - 1 + 3];
                let mac = STANDARD_NO_PAD.decode(mac).map_err(|_| malformed)?;
                let header = Self {
                    stanzas,
                    covered,
                    mac,
                };
                return Ok((header, rest));
            }
            let arguments = line.strip_prefix("-> ").ok_or(malformed)?;
            let body = take_body(&mut rest).ok_or(malformed)?;
            if let Some(share) = arguments.strip_prefix("X25519 ") {
                let share = STANDARD_NO_PAD.decode(share).map_err(|_| malformed)?;
                let ephemeral = share.try_into().map_err(|_| malformed)?;
                if body.len() != 32 {
                    return Err(malformed);
                }
                stanzas.push(Stanza {
                    ephemeral,
                    wrapped: body,
                });
            }
        }
        Err(AgeError::Malformed("the file has too many recipients"))
    }

    /// Decrypts the file key with an identity, and checks the MAC of the header.
    pub(super) fn open(&self, identity: &Identity) -> Result<FileKey, AgeError> {
        let recipient = identity.recipient();
        for stanza in &self.stanzas {
            let other = PublicKey::from(stanza.ephemeral);
            let cipher = wrapping(&identity.0, &other, &stanza.ephemeral, &recipient)?;
            let Ok(bytes) = cipher.decrypt(&Nonce::default(), &stanza.wrapped[..]) else {
                continue;
            };
            let bytes = Zeroizing::new(bytes);
            let mut key = Zeroizing::new([0; 16]);
            if bytes.len() != key.len() {
                return Err(AgeError::Changed);
            }
            key.copy_from_slice(&bytes);
            let key = FileKey(key);
            key.mac(self.covered)?
                .verify_slice(&self.mac)
                .map_err(|_| AgeError::Changed)?;
            return Ok(key);
        }
        Err(AgeError::NotARecipient)
    }
}

/// Takes a line of ASCII off the input.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let line = std::str::from_utf8(&rest[..end]).ok()?;
    *rest = &rest[end + 1..];
    line.is_ascii().then_some(line)
}

/// Takes the body of a stanza: lines of 64 characters, and a shorter one at the end.
fn take_body(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut text = String::new();
    loop {
        let line = take_line(rest)?;
        text.push_str(line);
        match line.len() {
            64 => {}
            length if length < 64 => return STANDARD_NO_PAD.decode(text).ok(),
            _ => return None,
        }
    }
}
