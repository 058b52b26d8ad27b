//! Encodes and decodes frames over a line, with the bounds of [`plumb_api::frame`].

use std::sync::Arc;

use plumb_api::Digest;
use plumb_api::frame::{self, FrameError, Incoming, MAX_BLOB, MAX_FRAME, Request, Response};

use super::untrusted;

/// The number of bytes sent at once. Each sent piece restarts the time limit for a silent agent.
const PIECE: usize = 256 << 10;

/// The bytes of one request, kept so that they can be sent again on another line.
pub(super) struct EncodedRequest {
    contents: Vec<(Digest, Arc<[u8]>)>,
    message: Vec<u8>,
}

impl EncodedRequest {
    /// Encodes a request and the contents that precede it.
    pub(super) fn new(
        request: &Request,
        contents: Vec<(Digest, Arc<[u8]>)>,
    ) -> Result<Self, FrameError> {
        if let Some((_, bytes)) = contents.iter().find(|(_, bytes)| bytes.len() > MAX_BLOB) {
            return Err(FrameError::TooLong(bytes.len()));
        }
        let mut message = Vec::new();
        frame::write_message(&mut message, request)?;
        Ok(Self { contents, message })
    }

    /// Returns the bytes in pieces. It copies contents piece by piece, so that a large one isn't in memory
    /// twice.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Vec<u8>> + Send + '_ {
        let contents = self.contents.iter().flat_map(|(digest, bytes)| {
            let mut first = Vec::with_capacity(37);
            let length = u32::try_from(bytes.len() + 33).unwrap_or(u32::MAX);
            first.extend_from_slice(&length.to_be_bytes());
            first.push(1);
            first.extend_from_slice(digest.as_bytes());
            std::iter::once(first).chain(bytes.chunks(PIECE).map(<[u8]>::to_vec))
        });
        contents.chain(self.message.chunks(PIECE).map(<[u8]>::to_vec))
    }
}

/// The received bytes that aren't decoded yet.
#[derive(Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// The buffer to append received bytes to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Decodes the next response if it is complete. It checks the length as soon as the header has arrived.
    pub(super) fn next(&mut self) -> Result<Option<Response>, FrameError> {
        let Some(&[a, b, c, d, kind]) = self.0.first_chunk::<5>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if kind != 0 {
            return Err(FrameError::Malformed(format!(
                "an agent may only send messages, not frames of type {kind}"
            )));
        }
        if length > MAX_FRAME + 1 {
            return Err(FrameError::TooLong(length));
        }
        let whole = length.saturating_add(4).max(5);
        let Some(mut bytes) = self.0.get(..whole) else {
            return Ok(None);
        };
        let incoming = frame::read::<Response>(&mut bytes)?;
        self.0.drain(..whole);
        match incoming {
            Incoming::Message(response) => Ok(Some(response)),
            Incoming::Blob(..) => Err(FrameError::Malformed(
                "an agent may not send contents".to_owned(),
            )),
        }
    }

    /// Returns the beginning of the buffer as printable text, for a message.
    pub(super) fn preview(&self) -> Option<String> {
        let start = self.0.get(..200).unwrap_or(&self.0);
        let text = untrusted::printable(String::from_utf8_lossy(start).trim(), 120);
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::frame::Facts;

    use super::*;

    #[test]
    fn what_is_sent_is_what_the_blocking_codec_reads() {
        let content: Arc<[u8]> = vec![7; PIECE + 1].into();
        let digest = Digest::of_bytes(&content);
        let sending =
            EncodedRequest::new(&Request::Facts, vec![(digest, Arc::clone(&content))]).unwrap();
        let bytes: Vec<u8> = sending.pieces().flatten().collect();
        let mut input = bytes.as_slice();
        assert!(matches!(
            frame::read::<Request>(&mut input),
            Ok(Incoming::Blob(d, b)) if d == digest && b == *content
        ));
        assert!(matches!(
            frame::read::<Request>(&mut input),
            Ok(Incoming::Message(Request::Facts))
        ));
        assert!(input.is_empty());
    }

    #[test]
    fn a_response_is_read_whatever_the_pieces() {
        let mut bytes = Vec::new();
        let facts = Response::Facts(Facts::default());
        frame::write_message(&mut bytes, &facts).unwrap();
        frame::write_message(&mut bytes, &Response::NeedState).unwrap();
        let mut inbox = Inbox::default();
        let mut heard = Vec::new();
        for byte in bytes {
            inbox.buffer().push(byte);
            heard.extend(inbox.next().unwrap());
        }
        assert_eq!(heard, [facts, Response::NeedState]);
    }

    #[test]
    fn lies_are_refused_at_the_header() {
        for bytes in [
            b"This account is currently not available.\n".as_slice(),
            &[0xff, 0xff, 0xff, 0xff, 0],
            &[0, 0, 0, 40, 1],
            &[0, 0, 0, 0, 0],
            &[0, 0, 0, 2, 0, b'{'],
        ] {
            let mut inbox = Inbox::default();
            inbox.buffer().extend_from_slice(bytes);
            assert!(inbox.next().is_err(), "{bytes:?}");
        }
    }
}
