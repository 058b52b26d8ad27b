//! The payload: chunks of 64 KiB, each authentic by itself, in an order that can't be changed or cut off.

use chacha20poly1305::aead::{Aead, AeadInPlace};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use zeroize::Zeroizing;

use super::AgeError;

const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// The place of a chunk in its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Inner,
    Last,
}

/// Returns the number of bytes that encryption adds.
pub(super) fn overhead(plaintext: usize) -> usize {
    (plaintext / CHUNK + 1) * TAG
}

fn nonce(number: usize, place: Place) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
    nonce[11] = u8::from(place == Place::Last);
    nonce.into()
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(key.into())
}

fn place(number: usize, chunks: usize) -> Place {
    if number + 1 == chunks {
        Place::Last
    } else {
        Place::Inner
    }
}

pub(super) fn seal(key: &[u8; 32], plaintext: &[u8]) -> Result<Vec<u8>, AgeError> {
    let cipher = cipher(key);
    let mut chunks: Vec<&[u8]> = plaintext.chunks(CHUNK).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let mut out = Vec::with_capacity(plaintext.len() + overhead(plaintext.len()));
    for (number, chunk) in chunks.iter().enumerate() {
        let sealed = cipher
            .encrypt(&nonce(number, place(number, chunks.len())), *chunk)
            .map_err(|_| AgeError::TooLong)?;
        out.extend(sealed);
    }
    Ok(out)
}

pub(super) fn open(key: &[u8; 32], payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let cipher = cipher(key);
    let chunks: Vec<&[u8]> = payload.chunks(CHUNK + TAG).collect();
    // Reserved at once, so that no copy of the text stays behind when the buffer grows.
    let mut out = Zeroizing::new(Vec::with_capacity(payload.len()));
    for (number, chunk) in chunks.iter().enumerate() {
        let (sealed, tag) = chunk
            .len()
            .checked_sub(TAG)
            .map(|length| chunk.split_at(length))
            .ok_or(AgeError::Malformed("the payload is cut off"))?;
        if sealed.is_empty() && number > 0 {
            return Err(AgeError::Malformed("the last chunk is empty"));
        }
        let begin = out.len();
        out.extend_from_slice(sealed);
        let nonce = nonce(number, place(number, chunks.len()));
        cipher
            .decrypt_in_place_detached(&nonce, b"", &mut out[begin..], tag.into())
            .map_err(|_| AgeError::Changed)?;
    }
    if chunks.is_empty() {
        return Err(AgeError::Malformed("the payload is missing"));
    }
    Ok(out)
}
