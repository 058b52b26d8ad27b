//! Adds the trailer `Deploy-Ref:` to a commit message so that [`Trailers`] finds it in the message that git
//! stores. `git interpret-trailers` isn't used: it puts the trailer above lines that git may keep, and
//! changes lines that only look like trailers.

use plumb_trust::object::Trailers;

/// The trailer's name.
const NAME: &str = "Deploy-Ref";

/// The scissors line. Git cuts off this line and everything after it, if it showed a diff or if
/// `commit.cleanup` is `scissors`.
const SCISSORS: &[u8] = b"------------------------ >8 ------------------------";

/// The cleanup that git applies to the message, as far as a hook can know. An argument on git's command line
/// may override it, so the result must be right with and without the cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleanup<'c> {
    /// Git removes lines that begin with this.
    Strips(&'c [u8]),
    /// Git keeps every line. If git opened an editor, it has written the lines that begin with this.
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

/// The candidates for `core.commentChar=auto`: git picks the first character that no line begins with.
const COMMENT_CHARS: &[u8] = b"#;@!$%^&|:";

/// Finds the comment character that git picked: the last line that git wrote begins with it.
pub(super) fn comment_of(message: &[u8]) -> &[u8] {
    let (head, tail) = split_at_scissors(message);
    let line = if tail.is_empty() {
        lines(head).into_iter().rfind(|line| !is_blank(line))
    } else {
        lines(tail).first().copied()
    };
    line.and_then(|line| line.get(..1))
        .filter(|first| first.iter().all(|c| COMMENT_CHARS.contains(c)))
        .unwrap_or(b"#")
}

/// True if a message has no text except git's own comments. Git's comments begin with an empty line.
pub(super) fn is_empty(message: &[u8], cleanup: Cleanup<'_>) -> bool {
    let lines = lines(split_at_scissors(message).0);
    let (Cleanup::Strips(comment) | Cleanup::Keeps(comment)) = cleanup;
    let written =
        matches!(cleanup, Cleanup::Keeps(_)) && lines.first().is_some_and(|line| !is_blank(line));
    !written
        && lines
            .iter()
            .all(|line| is_blank(line) || line.starts_with(comment))
}

/// Adds the trailer with this value to the end of the message, and removes other trailers of that name.
pub(super) fn bind(message: &[u8], value: &str, cleanup: Cleanup<'_>) -> Vec<u8> {
    let (head, tail) = split_at_scissors(message);
    let mut bound = bind_part(head, value, cleanup);
    if !tail.is_empty() {
        // A hook can't know whether git cuts at the scissors line, so add the trailer before and after it.
        bound.push(b'\n');
        bound.extend(bind_part(tail, value, Cleanup::Keeps(b"")));
    }
    bound
}

fn bind_part(part: &[u8], value: &str, cleanup: Cleanup<'_>) -> Vec<u8> {
    let lines = lines(part);
    joined(&lines, value, cleanup)
        .filter(|joined| has_trailer(joined, value))
        .unwrap_or_else(|| {
            let end = 1 + lines.iter().rposition(|line| !is_blank(line)).unwrap_or(0);
            let mut all = lines[..end.min(lines.len())].to_vec();
            let own = trailer(value);
            all.extend([&b""[..], own.as_bytes()]);
            text(&all)
        })
}

/// Adds the trailer to the trailers at the end of the message. Moves comments from after the trailers to
/// before them, so that the message ends with the trailers whether git removes comments or not. Returns
/// `None` if the message doesn't end with trailers.
fn joined(lines: &[&[u8]], value: &str, cleanup: Cleanup<'_>) -> Option<Vec<u8>> {
    let counts = |line: &[u8]| !is_blank(line) && !cleanup.strips(line);
    let end = 1 + lines.iter().rposition(|line| counts(line))?;
    let start = 1 + lines[..end].iter().rposition(|line| is_blank(line))?;
    // The title of a message isn't a trailer, even if it looks like one.
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

/// True if [`Trailers`] finds the trailer. Also true if the message's trailers are malformed, which is
/// reported elsewhere.
fn has_trailer(message: &[u8], value: &str) -> bool {
    Trailers::parse(message).map_or(true, |trailers| trailers.get(NAME) == Some(value))
}

/// Splits a message at the scissors line.
fn split_at_scissors(message: &[u8]) -> (&[u8], &[u8]) {
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
