//! A strict parser of annotated tags.

use super::commit::{Headers, printable};
use super::{Ident, Malformed, Payload, limits};
use crate::oid::{ObjectFormat, Oid};

/// A parsed annotated tag of a commit.
#[derive(Debug, Clone)]
pub struct Tag<'a> {
    /// The commit that the tag names.
    pub target: Oid,
    /// The name in the tag object, without `refs/tags/`.
    pub name: &'a str,
    /// The tagger, as the tag claims.
    pub tagger: Ident<'a>,
    /// The message without the signature.
    pub message: &'a [u8],
    /// The armored signature.
    pub signature: Option<&'a [u8]>,
    payload: Payload<'a>,
}

/// Beginnings of lines that some verifier takes for the beginning of a signature.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

impl<'a> Tag<'a> {
    /// Parses a raw tag of a commit; refuses a tag of anything else.
    pub fn parse(raw: &'a [u8], format: ObjectFormat) -> Result<Self, Malformed> {
        let mut headers = Headers::new(raw);
        let target = headers.expect("object")?.oid("object", format)?;
        if headers.expect("type")?.line("type")? != b"commit" {
            return Err(Malformed::Header("type commit"));
        }
        let name = std::str::from_utf8(headers.expect("tag")?.line("tag")?)
            .map_err(|_| Malformed::Header("tag"))?;
        let tagger = Ident::parse(headers.expect("tagger")?.line("tagger")?, "tagger")?;
        if let Some(header) = headers.next()? {
            return Err(Malformed::Unknown(printable(header.key)));
        }
        let body = headers.body();
        if body.contains(&0) {
            return Err(Malformed::Nul);
        }
        let mut begins = None;
        let mut at = 0;
        for line in body.split_inclusive(|b| *b == b'\n') {
            // A tag may have at most one signature block, and an indented beginning counts as one. Git uses
            // the last line that begins exactly so; a program that used the first would see a different
            // message.
            if BEGINNINGS
                .iter()
                .any(|begin| line.trim_ascii_start().starts_with(begin))
                && begins.replace(at).is_some()
            {
                return Err(Malformed::SignaturePlace);
            }
            at += line.len();
        }
        let (message, signature) = match begins {
            Some(at) => (&body[..at], Some(&body[at..])),
            None => (body, None),
        };
        if signature.is_some_and(|s| s.len() > limits::SIGNATURE) {
            return Err(Malformed::TooMany("bytes of signature", limits::SIGNATURE));
        }
        let payload = Payload::new(&raw[..headers.position() + message.len()], &[]);
        Ok(Self {
            target,
            name,
            tagger,
            message,
            signature,
            payload,
        })
    }

    /// Returns the bytes that the signature covers.
    pub const fn payload(&self) -> Payload<'a> {
        self.payload
    }
}
