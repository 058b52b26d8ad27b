//! Whether a file says that it is a trust policy.
//!
//! It isn't parsed: it may be several documents or no YAML at all, and is a stranger's. What is seen is the
//! kind itself, wherever it stands and however it is quoted, escaped, tagged or broken into lines. What isn't
//! seen is a kind that a parser would put together from elsewhere: by an alias (`kind: *a`) or a merge key.

use std::borrow::Cow;

const WORD: &[u8] = b"TrustPolicy";

/// Tags, anchors and marks of block scalars between a key and its value that are looked past, and the bytes
/// of each; more of them are nobody's policy, and would be looked at again for each word.
const MARKS: usize = 8;
const MARK: usize = 256;

/// Whether any document in it gives the kind of a trust policy.
pub(super) fn says_trust_policy(bytes: &[u8]) -> bool {
    let text = unescaped(bytes);
    let words = text.windows(WORD.len()).enumerate();
    words
        .filter(|(_, word)| *word == WORD)
        .any(|(at, _)| text.get(..at).is_some_and(is_kind))
}

/// Whether what stands before a value says that it is a `kind`.
fn is_kind(before: &[u8]) -> bool {
    let value = before
        .strip_suffix(b"\"")
        .or_else(|| before.strip_suffix(b"'"))
        .unwrap_or(before);
    let Some(key) = without_marks(value).strip_suffix(b":") else {
        return false;
    };
    let key = key.trim_ascii_end();
    let quoted = |quote: &[u8]| {
        key.strip_suffix(quote)?
            .strip_suffix(b"kind")?
            .strip_suffix(quote)
    };
    let Some(begin) = quoted(b"\"")
        .or_else(|| quoted(b"'"))
        .or_else(|| key.strip_suffix(b"kind"))
    else {
        return false;
    };
    // It is a key of its own, and no end of another or of a sentence.
    let line = begin.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let rest = without_marks(line);
    rest.is_empty()
        || rest.ends_with(b"\xef\xbb\xbf")
        || rest.ends_with(b"\r")
        || matches!(rest.last(), Some(b'{' | b',' | b'?' | b'-'))
}

/// Without spaces, tags (`!!str`), anchors (`&a`), marks of block scalars (`|`, `>-`) and comments at the end.
fn without_marks(mut text: &[u8]) -> &[u8] {
    for _ in 0..MARKS {
        let trimmed = text.trim_ascii_end();
        let broken = text
            .get(trimmed.len()..)
            .is_some_and(|gap| gap.contains(&b'\n'));
        text = trimmed;
        let near = text.len().saturating_sub(MARK);
        let Some(tail) = text.get(near..) else { break };
        let word = tail.rsplit(u8::is_ascii_whitespace).next().unwrap_or(tail);
        let comment = || {
            let line = tail.rsplit(|b| *b == b'\n').next().unwrap_or(tail);
            let at = line
                .windows(2)
                .position(|pair| pair[0].is_ascii_whitespace() && pair[1] == b'#')?;
            Some(line.len() - at)
        };
        let length = match word.first() {
            Some(b'!' | b'&' | b'|' | b'>') => word.len(),
            _ if broken => comment().unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            break;
        }
        text = text.get(..text.len() - length).unwrap_or_default();
    }
    text
}

/// With the escapes of double quotes that can spell a letter, as letters.
fn unescaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\\') {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let (letter, length) = escape(rest).unwrap_or((Some(*first), 1));
        out.extend(letter);
        rest = rest.get(length..).unwrap_or(after);
    }
    out.into()
}

/// The ASCII letter that an escape at the beginning stands for, or nothing for a folded line; and its length.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let escaped = text.strip_prefix(b"\\")?;
    let digits = match escaped.first()? {
        b'x' => 2,
        b'u' => 4,
        b'U' => 8,
        b'\n' | b'\r' => {
            let space = escaped
                .iter()
                .take_while(|b| b.is_ascii_whitespace())
                .count();
            return Some((None, 1 + space));
        }
        _ => return None,
    };
    let hex = std::str::from_utf8(escaped.get(1..=digits)?).ok()?;
    let code = u32::from_str_radix(hex, 16).ok()?;
    let letter = u8::try_from(code).ok().filter(u8::is_ascii)?;
    Some((Some(letter), 2 + digits))
}

#[cfg(test)]
mod tests {
    use super::says_trust_policy;

    #[test]
    fn a_policy_is_seen_in_any_document_and_spelling() {
        for yes in [
            "kind: TrustPolicy",
            "a: b\n---\nkind:   \"TrustPolicy\"\n",
            "{kind: TrustPolicy, x: y}",
            "'kind' : 'TrustPolicy'",
            "\"kind\": TrustPolicy # x",
            "\"k\\x69nd\": TrustPolicy",
            "\"\\u006b\\U00000069nd\": \"Trust\\x50olicy\"",
            "kind: \"Trust\\\n   Policy\"",
            "kind: !!str TrustPolicy",
            "kind: &a !<tag:yaml.org,2002:str> TrustPolicy",
            "!!str kind: TrustPolicy",
            "{metadata: {name: main}, kind: TrustPolicy}",
            "{metadata: x,\n \"kind\":TrustPolicy}",
            "kind:\n  TrustPolicy",
            "kind: # a word\n  TrustPolicy",
            "kind: >-\n  TrustPolicy",
            "? kind\n: TrustPolicy",
            "- kind: TrustPolicy",
            "a: 1\r\nkind: TrustPolicy\r\n",
            "\u{feff}kind: TrustPolicy",
        ] {
            assert!(says_trust_policy(yes.as_bytes()), "{yes}");
        }
        for no in [
            "kind: Host\n# TrustPolicy",
            "# kind: TrustPolicy",
            "content: TrustPolicy",
            "mankind: TrustPolicy",
            "text: a kind: TrustPolicy stands in trust/",
            "kind: Fleet",
            "kind: Trust\\x50",
            "",
        ] {
            assert!(!says_trust_policy(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn a_file_that_is_made_to_be_slow_isn_t() {
        for piece in [
            "!TrustPolicy",
            "!TrustPolicy ",
            "TrustPolicy\n#",
            "&a TrustPolicy:",
            "\\x",
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            let begun = std::time::Instant::now();
            assert!(!says_trust_policy(text.as_bytes()), "{piece}");
            assert!(
                begun.elapsed().as_secs() < 10,
                "{piece} {:?}",
                begun.elapsed()
            );
        }
    }
}
