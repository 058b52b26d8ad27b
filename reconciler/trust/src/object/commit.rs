//! A strict parser of commits: it separates payload and signature in the raw bytes, or fails.

use std::borrow::Cow;

use super::{Malformed, limits};
use crate::oid::{ObjectFormat, Oid};

/// Headers that tools write and no verifier reads. The parser refuses any other unknown header: it is signed,
/// but another program might act on it.
const HARMLESS: [&str; 3] = [
    "change-id",
    "gitbutler-change-id",
    "gitbutler-headers-version",
];

/// A parsed commit.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// The commit's tree.
    pub tree: Oid,
    /// The parents, in order.
    pub parents: Vec<Oid>,
    /// The author, as the commit claims.
    pub author: Ident<'a>,
    /// The committer, as the commit claims.
    pub committer: Ident<'a>,
    /// The raw tag objects that a merge embeds (`mergetag` headers).
    pub mergetags: Vec<Vec<u8>>,
    /// The armored signature.
    pub signature: Option<Cow<'a, [u8]>>,
    /// The message.
    pub message: &'a [u8],
    payload: Payload<'a>,
}

/// The signed bytes of an object: the whole object without the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    before: &'a [u8],
    after: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Makes a payload of two parts.
    pub const fn new(before: &'a [u8], after: &'a [u8]) -> Self {
        Self { before, after }
    }

    /// Returns the parts in order.
    pub const fn parts(&self) -> [&'a [u8]; 2] {
        [self.before, self.after]
    }

    /// Returns the payload as one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

/// An author, committer or tagger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ident<'a> {
    /// The name as bytes, in the commit's `encoding`.
    pub name: &'a [u8],
    /// The email address.
    pub email: &'a [u8],
    /// Seconds since 1970.
    pub seconds: i64,
}

/// The last second that is accepted as a time: the end of the range of `jiff::Timestamp`, in December 9999.
const LAST_SECOND: i64 = 253_402_207_200;

impl<'a> Ident<'a> {
    pub(super) fn parse(line: &'a [u8], what: &'static str) -> Result<Self, Malformed> {
        let wrong = || Malformed::Ident(what);
        if line.iter().any(|b| *b < b' ' || *b == 0x7f) {
            return Err(Malformed::Control);
        }
        let open = line.iter().position(|b| *b == b'<').ok_or_else(wrong)?;
        let close = line.iter().position(|b| *b == b'>').ok_or_else(wrong)?;
        let name =
            line[..open]
                .strip_suffix(b" ")
                .or(if open == 0 { Some(&line[..0]) } else { None });
        let (name, email) = (
            name.ok_or_else(wrong)?,
            line.get(open + 1..close).ok_or_else(wrong)?,
        );
        let rest = line[close + 1..].strip_prefix(b" ").ok_or_else(wrong)?;
        if email.contains(&b'<') || rest.contains(&b'<') || rest.contains(&b'>') {
            return Err(wrong());
        }
        let rest = std::str::from_utf8(rest).map_err(|_| wrong())?;
        let (seconds, zone) = rest.split_once(' ').ok_or_else(wrong)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = seconds.len() > 1 && seconds.starts_with('0');
        if !digits(seconds)
            || leading_zero
            || zone.len() != 5
            || !zone.starts_with(['+', '-'])
            || !digits(&zone[1..])
        {
            return Err(wrong());
        }
        let seconds = seconds
            .parse::<i64>()
            .ok()
            .filter(|s| *s <= LAST_SECOND)
            .ok_or_else(wrong)?;
        Ok(Self {
            name,
            email,
            seconds,
        })
    }
}

/// One header with its continuation lines and its position.
pub(super) struct Header<'a> {
    pub(super) key: &'a [u8],
    /// The text after the key on the first line, and the raw continuation lines.
    first: &'a [u8],
    more: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Header<'a> {
    /// Returns the value, with continuation lines joined as git joins them.
    fn value(&self) -> Cow<'a, [u8]> {
        if self.more.is_empty() {
            return Cow::Borrowed(self.first);
        }
        let mut value = Vec::with_capacity(self.first.len() + self.more.len());
        value.extend_from_slice(self.first);
        for line in self.more.split_inclusive(|b| *b == b'\n') {
            value.push(b'\n');
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            value.extend_from_slice(line.strip_prefix(b" ").unwrap_or(line));
        }
        Cow::Owned(value)
    }

    /// Returns the value, or fails if the header has continuation lines.
    pub(super) fn line(&self, name: &'static str) -> Result<&'a [u8], Malformed> {
        if self.more.is_empty() {
            Ok(self.first)
        } else {
            Err(Malformed::Header(name))
        }
    }

    pub(super) fn oid(&self, name: &'static str, format: ObjectFormat) -> Result<Oid, Malformed> {
        let oid = Oid::from_hex(self.line(name)?).map_err(|_| Malformed::Name(name))?;
        if oid.format() == format && !oid.is_null() {
            Ok(oid)
        } else {
            Err(Malformed::Name(name))
        }
    }
}

/// An iterator over headers, up to the empty line.
pub(super) struct Headers<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Headers<'a> {
    pub(super) const fn new(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }

    fn line_end(&self, from: usize) -> Result<usize, Malformed> {
        let rest = self.raw.get(from..).unwrap_or_default();
        rest.iter()
            .position(|b| *b == b'\n')
            .map(|n| from + n)
            .ok_or(Malformed::Unended)
    }

    /// Returns the next header, or `None` at the empty line, which is consumed.
    pub(super) fn next(&mut self) -> Result<Option<Header<'a>>, Malformed> {
        let start = self.at;
        let end = self.line_end(start)?;
        let line = &self.raw[start..end];
        if line.is_empty() {
            self.at = end + 1;
            return Ok(None);
        }
        let mut next = end + 1;
        while self.raw.get(next) == Some(&b' ') {
            next = self.line_end(next)? + 1;
        }
        self.at = next;
        let more = &self.raw[end + 1..next];
        let control = |b: &u8| (*b < b' ' && *b != b'\n') || *b == 0x7f;
        let space = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        // An embedded tag holds a whole message, so its continuation lines may hold any byte but NUL.
        let in_message = &line[..space] == b"mergetag";
        let refused = |b: &u8| if in_message { *b == 0 } else { control(b) };
        if line.iter().any(control) || more.iter().any(refused) {
            return Err(Malformed::Control);
        }
        let first = line.get(space + 1..).unwrap_or_default();
        Ok(Some(Header {
            key: &line[..space],
            first,
            more,
            start,
            end: next,
        }))
    }

    pub(super) fn expect(&mut self, name: &'static str) -> Result<Header<'a>, Malformed> {
        match self.next()? {
            Some(header) if header.key == name.as_bytes() => Ok(header),
            _ => Err(Malformed::Header(name)),
        }
    }

    /// Returns the bytes after the empty line.
    pub(super) fn body(&self) -> &'a [u8] {
        &self.raw[self.at..]
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }
}

pub(super) fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(64)
        .map(|b| char::from(*b))
        .flat_map(char::escape_default)
        .collect()
}

impl<'a> Commit<'a> {
    /// Parses a raw commit.
    pub fn parse(raw: &'a [u8], format: ObjectFormat) -> Result<Self, Malformed> {
        let mut headers = Headers::new(raw);
        let tree = headers.expect("tree")?.oid("tree", format)?;
        let mut parents: Vec<Oid> = Vec::new();
        let mut header = headers.next()?;
        while let Some(parent) = header.as_ref().filter(|h| h.key == b"parent") {
            let parent = parent.oid("parent", format)?;
            if parents.len() == limits::PARENTS {
                return Err(Malformed::TooMany("parents", limits::PARENTS));
            }
            if parents.contains(&parent) {
                return Err(Malformed::SameParent);
            }
            parents.push(parent);
            header = headers.next()?;
        }
        let author = header
            .filter(|h| h.key == b"author")
            .ok_or(Malformed::Header("author"))?;
        let author = Ident::parse(author.line("author")?, "author")?;
        let committer = Ident::parse(headers.expect("committer")?.line("committer")?, "committer")?;
        let (mut encoding, mut mergetags, mut signature) = (false, Vec::new(), None);
        while let Some(header) = headers.next()? {
            match header.key {
                b"encoding" if encoding => return Err(Malformed::Twice("encoding")),
                b"encoding" => {
                    header.line("encoding")?;
                    encoding = true;
                }
                b"mergetag" if mergetags.len() == limits::PARENTS => {
                    return Err(Malformed::TooMany("mergetags", limits::PARENTS));
                }
                b"mergetag" => {
                    // The embedded object ends with the newline that ends the header's last line.
                    let mut tag = header.value().into_owned();
                    tag.push(b'\n');
                    mergetags.push(tag);
                }
                key if key.starts_with(b"gpgsig") => {
                    let ours = match format {
                        ObjectFormat::Sha1 => "gpgsig",
                        ObjectFormat::Sha256 => "gpgsig-sha256",
                    };
                    if key != ours.as_bytes() {
                        return Err(Malformed::SignatureHeader(printable(key)));
                    }
                    if signature.is_some() {
                        return Err(Malformed::Twice(ours));
                    }
                    if header.end - header.start > limits::SIGNATURE {
                        return Err(Malformed::TooMany("bytes of signature", limits::SIGNATURE));
                    }
                    signature = Some(header);
                }
                b"tree" => return Err(Malformed::Twice("tree")),
                b"parent" => return Err(Malformed::Header("parent")),
                b"author" => return Err(Malformed::Twice("author")),
                b"committer" => return Err(Malformed::Twice("committer")),
                key if HARMLESS.iter().any(|name| name.as_bytes() == key) => {}
                key => return Err(Malformed::Unknown(printable(key))),
            }
        }
        let message = headers.body();
        if message.contains(&0) {
            return Err(Malformed::Nul);
        }
        let payload = match &signature {
            Some(header) => Payload::new(&raw[..header.start], &raw[header.end..]),
            None => Payload::new(raw, &[]),
        };
        let signature = signature.map(|header| header.value());
        Ok(Self {
            tree,
            parents,
            author,
            committer,
            mergetags,
            signature,
            message,
            payload,
        })
    }

    /// Returns the bytes that the signature covers.
    pub const fn payload(&self) -> Payload<'a> {
        self.payload
    }

    /// Returns the first parent without parsing the rest, for cheap walks of long chains. Before anything
    /// relies on the commit, [`parse`](Self::parse) must parse it in full.
    pub(crate) fn first_parent(raw: &[u8], format: ObjectFormat) -> Result<Option<Oid>, Malformed> {
        let mut headers = Headers::new(raw);
        headers.expect("tree")?;
        match headers.next()? {
            Some(header) if header.key == b"parent" => header.oid("parent", format).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the author's name, without invisible characters, cut to 200 characters.
    pub fn author_name(&self) -> String {
        visible(self.author.name)
    }

    /// Returns the first line of the message that isn't empty, without invisible characters, cut to 200
    /// characters.
    pub fn subject(&self) -> String {
        let line = self
            .message
            .split(|b| *b == b'\n')
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        visible(line)
    }
}

fn visible(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .filter(|c| !super::tree::invisible(*c))
        .take(200)
        .collect()
}
