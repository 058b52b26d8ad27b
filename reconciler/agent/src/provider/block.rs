//! Blocks: lines between two marks in a file whose other lines belong to others.

use std::io::Read;
use std::ops::Range;

use plumb_api::Observed;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, FileObserved, FileSpec, FileType, IfMissing, Presence};

use super::at_path::{self, Bytes, Put, Wish};
use super::{ApplyContext, Effect, ItemChange, ObserveContext};
use crate::error::{At, Result, fail};
use crate::sys::{FileKind, Sys};

const BEGIN: &str = "# BEGIN plumb";
const END: &str = "# END plumb";

/// Maximum size of a file with a block, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// The place of a block in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// The block with its marks.
    whole: Range<usize>,
    /// The lines between the marks.
    inner: Range<usize>,
}

impl Block {
    /// Finds the block in a text. Fails if the marks aren't one pair.
    fn find(text: &[u8], path: &str) -> Result<Option<Self>> {
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        let mut at = 0;
        for line in text.split_inclusive(|b| *b == b'\n') {
            let bare = line.trim_ascii_end();
            let range = at..at + line.len();
            if bare == BEGIN.as_bytes() {
                begins.push(range);
            } else if bare == END.as_bytes() {
                ends.push(range);
            }
            at += line.len();
        }
        match (begins.as_slice(), ends.as_slice()) {
            ([], []) => Ok(None),
            ([begin], [end]) if begin.end <= end.start => Ok(Some(Self {
                whole: begin.start..end.end,
                inner: begin.end..end.start,
            })),
            _ => Err(AgentError::new(
                ErrorCode::Refused,
                format!("{path} doesn't have one `{BEGIN}` and one `{END}` after it"),
            )
            .hint("put the marks right on the host, or remove both with what is between them")),
        }
    }
}

/// Returns the text with this block, at the place of the old one or at the end.
fn with(text: &[u8], block: &[u8], path: &str) -> Result<Vec<u8>> {
    let place = Block::find(text, path)?;
    let (before, after) = match &place {
        Some(place) => (&text[..place.whole.start], &text[place.whole.end..]),
        None => (text, &[][..]),
    };
    let mut new = before.to_vec();
    end_line(&mut new);
    new.extend_from_slice(format!("{BEGIN}\n").as_bytes());
    new.extend_from_slice(block);
    end_line(&mut new);
    new.extend_from_slice(format!("{END}\n").as_bytes());
    new.extend_from_slice(after);
    Ok(new)
}

/// Ends the last line of a text, unless the text is empty.
fn end_line(text: &mut Vec<u8>) {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
}

/// Returns the text without its block. If the original file had no end of its last line, and nothing else
/// changed since, that end is taken out too.
fn without(text: &[u8], original: Option<Content>, path: &str) -> Result<Vec<u8>> {
    let mut rest = text.to_vec();
    if let Some(place) = Block::find(text, path)? {
        rest.drain(place.whole);
    }
    if let Some((b'\n', shorter)) = rest.split_last() {
        if original == Some(Content::of(shorter)) {
            rest.pop();
        }
    }
    Ok(rest)
}

/// Returns the block in a text, for people. Returns an empty text if there is none.
pub(super) fn text(text: &str) -> String {
    let place = Block::find(text.as_bytes(), "").ok().flatten();
    let inner = place.and_then(|place| text.get(place.inner));
    inner.unwrap_or_default().to_owned()
}

/// Reads a file with a block. Returns no bytes if it doesn't exist.
fn read(sys: &Sys, path: &str) -> Result<Vec<u8>> {
    let Some((dir, leaf)) = sys.root().parent(path)? else {
        return Ok(Vec::new());
    };
    let Some(file) = dir.open(leaf)? else {
        return Ok(Vec::new());
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    if bytes.len() as u64 > MAX_FILE {
        return fail(
            ErrorCode::Refused,
            format!("{path} is too large for a block"),
        );
    }
    Ok(bytes)
}

/// Observes a block, and the rights of its file.
pub(super) fn observe(
    cx: &ObserveContext<'_>,
    path: &str,
    spec: &FileSpec,
) -> Result<FileObserved> {
    let wish = Wish {
        content: false,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: spec.mode.is_some(),
    };
    let mut found = at_path::observe(cx, path, wish)?;
    found.block = true;
    if found.file_type == FileType::File {
        let bytes = read(cx.sys, path)?;
        let place = Block::find(&bytes, path)?;
        found.content = place.map(|place| content_of(&bytes[place.inner], spec.content));
    }
    Ok(found)
}

/// Returns the content of a block. A desired content without an end of its last line is the same as with it.
fn content_of(inner: &[u8], desired: Option<Content>) -> Content {
    if let Some((b'\n', shorter)) = inner.split_last() {
        let shorter = Content::of(shorter);
        if desired == Some(shorter) {
            return shorter;
        }
    }
    Content::of(inner)
}

/// Returns the spec that takes the block out, and gives back the rights that the managed spec has.
pub(super) fn restore_spec(original: &FileObserved, managed: &FileSpec) -> FileSpec {
    FileSpec {
        state: Presence::Absent,
        block: true,
        if_missing: IfMissing::Skip,
        owner: managed.owner.as_ref().and(original.owner.clone()),
        group: managed.group.as_ref().and(original.group.clone()),
        mode: managed.mode.and(original.mode),
        ..FileSpec::default()
    }
}

/// Writes a block into a file, or takes it out.
pub(super) fn apply(
    cx: &mut ApplyContext<'_>,
    path: &str,
    spec: &FileSpec,
    work: &ItemChange<'_>,
) -> Result<Effect> {
    let before = read(cx.sys, path)?;
    let original = match work.original.map(|original| &original.observed) {
        Some(Observed::File(original)) => Some(original),
        _ => None,
    };
    let is_written = work.changes("state") || work.changes("content");
    let after = if !is_written {
        before.clone()
    } else if let (Presence::Present, Some(content)) = (spec.state, spec.content) {
        let mut block = Vec::new();
        cx.content(&content, path)?
            .read_to_end(&mut block)
            .at("read the block for", path)?;
        let has_marks = Block::find(&block, path);
        if !matches!(has_marks, Ok(None)) {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!("the block for {path} has a line `{BEGIN}` or `{END}` itself"),
            )
            .hint("remove the line from the content"));
        }
        with(&before, &block, path)?
    } else {
        let rest = without(
            &before,
            original.and_then(|original| original.content),
            path,
        )?;
        let made = original.is_some_and(|original| original.file_type == FileType::Absent);
        if rest.is_empty() && made {
            at_path::remove(cx, path, FileKind::File)?;
            at_path::remove_made(cx, work.original)?;
            return Ok(Effect::Done);
        }
        rest
    };
    let bytes = if is_written {
        Bytes::New(Content::of(&after))
    } else {
        Bytes::Stay
    };
    let put = Put {
        bytes,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: spec.mode,
        validate: &spec.validate,
        attributes: None,
    };
    at_path::put_bytes(cx, path, &put, &after)?;
    Ok(Effect::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str, block: &str) -> String {
        String::from_utf8(with(text.as_bytes(), block.as_bytes(), "/x").unwrap()).unwrap()
    }

    fn take(text: &str, original: &str) -> String {
        let original = Some(Content::of(original.as_bytes()));
        String::from_utf8(without(text.as_bytes(), original, "/x").unwrap()).unwrap()
    }

    #[test]
    fn block_goes_in_and_out_byte_by_byte() {
        for original in ["", "a\n", "a\nb", "a\r\nb\r\n", "\n\n", "a\n\n"] {
            let with_block = put(original, "ours\n");
            assert!(with_block.ends_with("# BEGIN plumb\nours\n# END plumb\n"));
            assert_eq!(take(&with_block, original), original, "{original:?}");
        }
    }

    #[test]
    fn block_stays_in_its_place_and_keeps_what_others_changed() {
        let text = "top\n# BEGIN plumb\nold\n# END plumb\nbelow\n";
        assert_eq!(
            put(text, "new"),
            "top\n# BEGIN plumb\nnew\n# END plumb\nbelow\n"
        );
        assert_eq!(take(text, "something else"), "top\nbelow\n");
        assert_eq!(super::text(text), "old\n");
    }

    #[test]
    fn marks_that_are_no_pair_are_refused() {
        for text in [
            "# BEGIN plumb\n",
            "# END plumb\n",
            "# END plumb\n# BEGIN plumb\n",
            "# BEGIN plumb\n# END plumb\n# BEGIN plumb\n# END plumb\n",
        ] {
            let error = Block::find(text.as_bytes(), "/etc/x").unwrap_err();
            assert_eq!(error.code, ErrorCode::Refused, "{text}");
        }
    }

    #[test]
    fn content_without_a_last_line_end_is_in_sync() {
        let desired = Content::of(b"x");
        assert_eq!(content_of(b"x\n", Some(desired)), desired);
        assert_eq!(content_of(b"x\n", None), Content::of(b"x\n"));
    }
}
