//! Reads and writes frames on a byte stream, with size limits.

use std::fmt;
use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;

/// Maximum length of a message in bytes.
pub const MAX_FRAME: usize = 64 << 20;
/// Maximum length of a blob (a file's content) in bytes.
pub const MAX_BLOB: usize = 256 << 20;

const MESSAGE: u8 = 0;
const BLOB: u8 = 1;

/// An error in reading or writing a frame.
#[derive(Debug)]
pub enum FrameError {
    /// The stream failed or ended within a frame.
    Io(io::Error),
    /// The stream ended between frames.
    Closed,
    /// The frame is longer than the limit.
    TooLong(usize),
    /// The bytes aren't a valid frame.
    Malformed(String),
    /// A blob's bytes don't match its digest.
    WrongDigest(Digest),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Closed => f.write_str("the connection was closed"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Malformed(what) => write!(f, "invalid frame: {what}"),
            Self::WrongDigest(digest) => write!(f, "a content doesn't match its digest {digest}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A received frame.
#[derive(Debug)]
pub enum Incoming<T> {
    /// A message.
    Message(T),
    /// A blob, checked against its digest.
    Blob(Digest, Vec<u8>),
}

/// Writes a message as a frame.
///
/// # Errors
/// Fails if the message is longer than [`MAX_FRAME`] or can't be serialized.
pub fn write_message<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let payload =
        serde_json::to_vec(message).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if payload.len() > MAX_FRAME {
        return Err(FrameError::TooLong(payload.len()));
    }
    header(out, payload.len() + 1, MESSAGE)?;
    out.write_all(&payload)?;
    out.flush()?;
    Ok(())
}

/// Writes a blob as a frame.
///
/// # Errors
/// Fails if the blob is longer than [`MAX_BLOB`].
pub fn write_blob(out: &mut impl Write, digest: &Digest, bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > MAX_BLOB {
        return Err(FrameError::TooLong(bytes.len()));
    }
    header(out, bytes.len() + 33, BLOB)?;
    out.write_all(digest.as_bytes())?;
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

fn header(out: &mut impl Write, length: usize, kind: u8) -> Result<(), FrameError> {
    let length = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    let mut header = [0; 5];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4] = kind;
    out.write_all(&header)?;
    Ok(())
}

/// Reads the next frame.
///
/// Memory grows with the bytes that arrive, not with the length that the header claims.
///
/// # Errors
/// Returns [`FrameError::Closed`] if the stream ends between frames, and another error if the frame is
/// invalid.
pub fn read<T: DeserializeOwned>(input: &mut impl Read) -> Result<Incoming<T>, FrameError> {
    let mut header = [0; 5];
    let mut filled = 0;
    while filled < header.len() {
        match input.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Err(FrameError::Closed),
            Ok(0) => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [a, b, c, d, kind] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let limit = match kind {
        MESSAGE => MAX_FRAME + 1,
        BLOB => MAX_BLOB + 33,
        other => return Err(FrameError::Malformed(format!("unknown type {other}"))),
    };
    if length > limit {
        return Err(FrameError::TooLong(length));
    }
    let Some(length) = length.checked_sub(1) else {
        return Err(FrameError::Malformed("no type".to_owned()));
    };
    let mut payload = Vec::new();
    input.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() != length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    if kind == MESSAGE {
        let message = serde_json::from_slice(&payload)
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        return Ok(Incoming::Message(message));
    }
    let Some((name, _)) = payload.split_first_chunk::<32>() else {
        return Err(FrameError::Malformed(
            "a content without its digest".to_owned(),
        ));
    };
    let digest = Digest::from_bytes(*name);
    let bytes = payload.split_off(32);
    if Digest::of_bytes(&bytes) != digest {
        return Err(FrameError::WrongDigest(digest));
    }
    Ok(Incoming::Blob(digest, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back() {
        let mut stream = Vec::new();
        write_message(&mut stream, &vec!["a", "b"]).unwrap();
        write_blob(&mut stream, &Digest::of_bytes(b"x"), b"x").unwrap();
        let mut input = stream.as_slice();
        assert!(
            matches!(read::<Vec<String>>(&mut input), Ok(Incoming::Message(m)) if m == ["a", "b"])
        );
        assert!(matches!(read::<Vec<String>>(&mut input), Ok(Incoming::Blob(_, b)) if b == b"x"));
        assert!(matches!(
            read::<Vec<String>>(&mut input),
            Err(FrameError::Closed)
        ));
    }

    #[test]
    fn hostile_frames_are_refused() {
        let mut lie = Vec::new();
        write_blob(&mut lie, &Digest::of_bytes(b"x"), b"y").unwrap();
        assert!(matches!(
            read::<u8>(&mut lie.as_slice()),
            Err(FrameError::WrongDigest(_))
        ));
        assert!(matches!(
            read::<u8>(&mut [0xff; 5].as_slice()),
            Err(FrameError::Malformed(_))
        ));
        assert!(matches!(
            read::<u8>(&mut [0xff, 0xff, 0xff, 0xff, 0].as_slice()),
            Err(FrameError::TooLong(_))
        ));
        assert!(matches!(
            read::<u8>(&mut [0, 0, 0, 0, 0].as_slice()),
            Err(FrameError::Malformed(_))
        ));
        assert!(matches!(
            read::<u8>(&mut [0, 0, 0, 9, 0, b'1'].as_slice()),
            Err(FrameError::Io(_))
        ));
    }
}
