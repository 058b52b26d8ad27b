//! A minimal D-Bus client to observe units over systemd's private socket for root. On a small machine,
//! `systemctl show` takes about a hundred milliseconds just to load and link its libraries; this client needs
//! only a few reads and writes.
//!
//! It implements only what is needed: authentication by uid, method calls with string arguments, and variants
//! of simple types. Anything unexpected is an error, and the caller then runs `systemctl` instead.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Socket on which systemd serves root directly, without a bus daemon.
const SOCKET: &str = "/run/systemd/private";

/// Maximum size of an accepted message, in bytes. The expected answers are shorter.
const MAX_MESSAGE: usize = 1 << 20;

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
}

impl Value {
    /// Returns the value as `systemctl show` writes it.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
        }
    }
}

/// A property to read from an object.
pub(super) struct Question<'a> {
    pub path: &'a str,
    pub interface: &'a str,
    pub property: &'a str,
}

/// Returns a unit's object path. Letters and digits stay; any other byte, and a digit at the start, becomes
/// `_` with two hexadecimal digits.
pub(super) fn unit_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        let plain = byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0);
        if plain {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "_{byte:02x}");
        }
    }
    path
}

/// Reads all properties over one connection. Returns `None` for a property that doesn't exist, and `None` for
/// the whole call if the connection fails or an answer isn't understood.
pub(super) fn ask(questions: &[Question<'_>]) -> Option<Vec<Option<Value>>> {
    let mut stream = UnixStream::connect(SOCKET).ok()?;
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).ok()?;
    stream.set_write_timeout(patience).ok()?;
    authenticate(&mut stream)?;
    let mut answers: Vec<Option<Value>> = questions.iter().map(|_| None).collect();
    // Send a limited number of calls before reading the answers, so that client and server don't block each
    // other.
    for (number, chunk) in questions.chunks(64).enumerate() {
        let first = number * 64;
        let mut out = Vec::new();
        for (at, question) in chunk.iter().enumerate() {
            out.extend(call(u32::try_from(first + at + 1).ok()?, question));
        }
        stream.write_all(&out).ok()?;
        let mut left = chunk.len();
        while left > 0 {
            let message = receive(&mut stream)?;
            let Some(place) = message
                .reply_to
                .and_then(|serial| usize::try_from(serial).ok())
            else {
                continue;
            };
            let slot = answers.get_mut(place.checked_sub(1)?)?;
            if message.kind == METHOD_RETURN {
                *slot = Some(variant(&message.body)?);
            }
            left -= 1;
        }
    }
    Some(answers)
}

fn authenticate(stream: &mut UnixStream) -> Option<()> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let mut hex = String::new();
    for byte in uid.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    // Send everything at once, as libsystemd does. The server answers the authentication before it reads
    // messages.
    stream
        .write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())
        .ok()?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 512 {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    line.starts_with(b"OK ").then_some(())
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;

fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    align(out, 4);
    out.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

/// Appends a header field: its code, and a variant with an object path, a string or a signature.
fn field(out: &mut Vec<u8>, code: u8, kind: u8, text: &str) {
    align(out, 8);
    out.extend([code, 1, kind, 0]);
    if kind == b'g' {
        out.push(u8::try_from(text.len()).unwrap_or(0));
        out.extend(text.as_bytes());
        out.push(0);
    } else {
        put_text(out, text);
    }
}

/// Returns the message that calls `org.freedesktop.DBus.Properties.Get(interface, property)`.
fn call(serial: u32, question: &Question<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, question.interface);
    put_text(&mut body, question.property);
    let mut fields = Vec::new();
    field(&mut fields, 1, b'o', question.path);
    field(&mut fields, 2, b's', "org.freedesktop.DBus.Properties");
    field(&mut fields, 3, b's', "Get");
    field(&mut fields, 6, b's', "org.freedesktop.systemd1");
    field(&mut fields, 8, b'g', "ss");
    let mut message = vec![b'l', METHOD_CALL, 0, 1];
    message.extend(u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend(u32::try_from(fields.len()).unwrap_or(0).to_le_bytes());
    message.extend(fields);
    align(&mut message, 8);
    message.extend(body);
    message
}

struct Message {
    kind: u8,
    reply_to: Option<u32>,
    body: Vec<u8>,
}

fn receive(stream: &mut UnixStream) -> Option<Message> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    if head[0] != b'l' || head[3] != 1 {
        return None;
    }
    let body = usize::try_from(number(&head, 4)?).ok()?;
    let fields = usize::try_from(number(&head, 12)?).ok()?;
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return None;
    }
    let padded = fields.next_multiple_of(8);
    let mut rest = vec![0; padded + body];
    stream.read_exact(&mut rest).ok()?;
    Some(Message {
        kind: head[1],
        reply_to: reply_serial(&rest[..fields]),
        body: rest.split_off(padded),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Returns the field `REPLY_SERIAL` of a header.
fn reply_serial(fields: &[u8]) -> Option<u32> {
    let mut at = 0;
    while at + 4 <= fields.len() {
        at = at.next_multiple_of(8);
        let (code, kind) = (*fields.get(at)?, *fields.get(at + 2)?);
        at += 4;
        match kind {
            b'u' => {
                let value = number(fields, at)?;
                if code == 5 {
                    return Some(value);
                }
                at += 4;
            }
            b's' | b'o' => at += 4 + usize::try_from(number(fields, at)?).ok()? + 1,
            b'g' => at += 1 + usize::from(*fields.get(at)?) + 1,
            _ => return None,
        }
    }
    None
}

/// Parses the array of strings at the start of `body`, and joins the strings with spaces.
fn texts(body: &[u8]) -> Option<String> {
    let end = 4 + usize::try_from(number(body, 0)?).ok()?;
    let mut all: Vec<String> = Vec::new();
    let mut at: usize = 4;
    while at < end {
        at = at.next_multiple_of(4);
        let length = usize::try_from(number(body, at)?).ok()?;
        let text = body.get(at + 4..at + 4 + length)?;
        all.push(String::from_utf8_lossy(text).into_owned());
        at += 4 + length + 1;
    }
    Some(all.join(" "))
}

/// Parses a variant with a string, a number, a boolean, an array of strings or a job.
fn variant(body: &[u8]) -> Option<Value> {
    if body.get(..4)? == b"\x02as\0" {
        return texts(body.get(4..)?).map(Value::Text);
    }
    // A job is a struct of its number and its object path. Return the number.
    if body.get(..6)? == b"\x04(uo)\0" {
        return Some(Value::Number(u64::from(number(body, 8)?)));
    }
    if *body.first()? != 1 || *body.get(2)? != 0 {
        return None;
    }
    match *body.get(1)? {
        b's' | b'o' => {
            let length = usize::try_from(number(body, 4)?).ok()?;
            let text = body.get(8..8 + length)?;
            Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
        }
        b'b' => Some(Value::Flag(number(body, 4)? != 0)),
        b'u' | b'i' => Some(Value::Number(u64::from(number(body, 4)?))),
        b't' | b'x' => {
            let eight = body.get(8..16)?;
            Some(Value::Number(u64::from_le_bytes(eight.try_into().ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_their_path() {
        assert_eq!(
            unit_path("backup-1@x.timer"),
            "/org/freedesktop/systemd1/unit/backup_2d1_40x_2etimer"
        );
        assert!(unit_path("0ad.service").ends_with("/_30ad_2eservice"));
    }

    #[test]
    fn variants_are_read_within_bounds() {
        let text = [
            1, b's', 0, 0, 6, 0, 0, 0, b'a', b'c', b't', b'i', b'v', b'e', 0,
        ];
        assert_eq!(variant(&text), Some(Value::Text("active".to_owned())));
        for cut in 0..14 {
            assert_eq!(variant(&text[..cut]), None, "cut at {cut}");
        }
        let flag = [1, b'b', 0, 0, 1, 0, 0, 0];
        assert_eq!(variant(&flag), Some(Value::Flag(true)));
        assert_eq!(variant(&[1, b'a', 0, 0, 0, 0, 0, 0]), None);
        let two = [
            2, b'a', b's', 0, 18, 0, 0, 0, 3, 0, 0, 0, b'a', b'.', b'b', 0, 5, 0, 0, 0, b'c', b'.',
            b'd', b'e', b'f', 0,
        ];
        assert_eq!(variant(&two), Some(Value::Text("a.b c.def".to_owned())));
        assert_eq!(variant(&two[..24]), None);
        let none = [2, b'a', b's', 0, 0, 0, 0, 0];
        assert_eq!(variant(&none), Some(Value::Text(String::new())));
        let job = [
            4, b'(', b'u', b'o', b')', 0, 0, 0, 17, 0, 0, 0, 1, 0, 0, 0, b'/', 0,
        ];
        assert_eq!(variant(&job), Some(Value::Number(17)));
    }
}
