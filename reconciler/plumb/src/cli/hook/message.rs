//! Where a message says for which branch its commit is meant: such that [`Trailers`] reads it in what git
//! makes of the message. Git's own `interpret-trailers` puts it above lines that git may keep, and changes
//! lines that only look like trailers.

use plumb_trust::object::Trailers;

/// The trailer's name.
const NAME: &str = "Deploy-Ref";

/// What git cuts off where a diff was shown, or `commit.cleanup` is `scissors`, begins with it.
const SCISSORS: &[u8] = b"------------------------ >8 ------------------------";

/// What git makes of the message, as far as it tells a hook: an argument of its command line may say
/// otherwise, so each form is one that holds either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleanup<'c> {
    /// Lines that begin so are taken out.
    Strips(&'c [u8]),
    /// Every line stays. Those that begin so are git's where it has shown them to somebody all the same.
    Keeps(&'c [u8]),
}

impl Cleanup<'_> {
    fn strips(self, line: &[u8]) -> bool {
        match self {
            Self::Strips(comment) => line.starts_with(comment),
            Self::Keeps(_) => false,
        }
    }
}

/// Characters of which git takes the first that no line begins with, for `core.commentChar=auto`.
const COMMENT_CHARS: &[u8] = b"#;@!$%^&|:";

/// What comments begin with where git has chosen it: what the last line begins with that it has written.
pub(super) fn comment_of(message: &[u8]) -> &[u8] {
    let (head, tail) = cut(message);
    let line = if tail.is_empty() {
        lines(head).into_iter().rfind(|line| !is_blank(line))
    } else {
        lines(tail).first().copied()
    };
    line.and_then(|line| line.get(..1))
        .filter(|first| first.iter().all(|c| COMMENT_CHARS.contains(c)))
        .unwrap_or(b"#")
}

/// Whether a message says nothing: what git put there for whoever writes it doesn't count. It begins with
/// an empty line.
pub(super) fn is_empty(message: &[u8], cleanup: Cleanup<'_>) -> bool {
    let lines = lines(cut(message).0);
    let (Cleanup::Strips(comment) | Cleanup::Keeps(comment)) = cleanup;
    let written =
        matches!(cleanup, Cleanup::Keeps(_)) && lines.first().is_some_and(|line| !is_blank(line));
    !written
        && lines
            .iter()
            .all(|line| is_blank(line) || line.starts_with(comment))
}

/// The message with the trailer in its last paragraph, once and with this value.
pub(super) fn bind(message: &[u8], value: &str, cleanup: Cleanup<'_>) -> Vec<u8> {
    let (head, tail) = cut(message);
    let mut bound = bind_part(head, value, cleanup);
    if !tail.is_empty() {
        // Whether git cuts there isn't known here. Said before it, and at the end, it is read either way.
        bound.push(b'\n');
        bound.extend(bind_part(tail, value, Cleanup::Keeps(b"")));
    }
    bound
}

fn bind_part(part: &[u8], value: &str, cleanup: Cleanup<'_>) -> Vec<u8> {
    let lines = lines(part);
    joined(&lines, value, cleanup)
        .filter(|joined| says(joined, value))
        .unwrap_or_else(|| {
            let end = 1 + lines.iter().rposition(|line| !is_blank(line)).unwrap_or(0);
            let mut all = lines[..end.min(lines.len())].to_vec();
            let own = trailer(value);
            all.extend([&b""[..], own.as_bytes()]);
            text(&all)
        })
}

/// With the trailer among others that the message ends with. Comments after those are put before them, so
/// that they are the end whether git takes comments out or not.
fn joined(lines: &[&[u8]], value: &str, cleanup: Cleanup<'_>) -> Option<Vec<u8>> {
    let counts = |line: &[u8]| !is_blank(line) && !cleanup.strips(line);
    let end = 1 + lines.iter().rposition(|line| counts(line))?;
    let start = 1 + lines[..end].iter().rposition(|line| is_blank(line))?;
    // A title is none, though it may look like one.
    lines[..start].iter().find(|line| counts(line))?;
    let (inside, block): (Vec<&[u8]>, Vec<&[u8]>) = lines[start..end]
        .iter()
        .partition(|line| cleanup.strips(line));
    if Trailers::parse(&text(&block)).is_ok_and(|trailers| trailers.is_empty()) {
        return None;
    }
    let own = trailer(value);
    let (mut kept, mut said) = (Vec::new(), false);
    let mut dropping = false;
    for line in block {
        let continues = line.starts_with(b" ") || line.starts_with(b"\t");
        if !continues {
            dropping = is_named(line) && (said || line.trim_ascii_end() != own.as_bytes());
            said |= is_named(line) && !dropping;
        }
        if !dropping {
            kept.push(line);
        }
    }
    if !said {
        kept.push(own.as_bytes());
    }
    let after = lines[end..].iter().filter(|line| !is_blank(line));
    let comments: Vec<&[u8]> = inside.into_iter().chain(after.copied()).collect();
    let mut all = lines[..start].to_vec();
    if !comments.is_empty() {
        all.extend(comments);
        all.push(b"");
    }
    all.extend(kept);
    Some(text(&all))
}

fn trailer(value: &str) -> String {
    format!("{NAME}: {value}")
}

fn is_named(line: &[u8]) -> bool {
    let (name, rest) = line.split_at(NAME.len().min(line.len()));
    name.eq_ignore_ascii_case(NAME.as_bytes()) && rest.starts_with(b":")
}

/// Whether it is read. What is wrong with other trailers is for others to say.
fn says(message: &[u8], value: &str) -> bool {
    Trailers::parse(message).map_or(true, |trailers| trailers.get(NAME) == Some(value))
}

/// What comes before the scissors, and from them on.
fn cut(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii_end().ends_with(SCISSORS) {
            return message.split_at(at);
        }
        at += line.len();
    }
    (message, b"")
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n').collect()
}

fn text(lines: &[&[u8]]) -> Vec<u8> {
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    text
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests;
