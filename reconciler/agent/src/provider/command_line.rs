//! The kernel's command line: words, each a parameter with or without a value.

use std::ops::Range;

/// True if two names are those of one parameter: the kernel takes `-` and `_` as the same.
fn is_same(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// Splits a word at its first `=`. The value of a parameter without one is `""`.
fn split(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

/// Returns the places of the words of a line. White space in double quotes separates no words.
fn words(line: &str) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut begin = None;
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_whitespace() && !quoted {
            all.extend(begin.take().map(|begin| begin..at));
        } else if begin.is_none() {
            begin = Some(at);
        }
    }
    all.extend(begin.map(|begin| begin..line.len()));
    all
}

/// Returns the places of a parameter in a line.
pub(super) fn places(line: &str, name: &str) -> Vec<Range<usize>> {
    let mut all = words(line);
    all.retain(|place| is_same(split(&line[place.clone()]).0, name));
    all
}

/// Returns the value of a parameter in a line: the last one, if it is there several times, and `""` if it has
/// none. Returns `None` if the line doesn't have it.
pub(super) fn value(line: &str, name: &str) -> Option<String> {
    let place = places(line, name).pop()?;
    Some(split(&line[place]).1.to_owned())
}

/// Returns the first line of a text without its end.
pub(super) fn first_line(text: &str) -> &str {
    let line = text.split('\n').next().unwrap_or_default();
    line.strip_suffix('\r').unwrap_or(line)
}

/// Returns the text with a word in place of the parameter in its first line, or at the end of that line.
pub(super) fn with(text: &str, name: &str, word: &str) -> String {
    let line = first_line(text);
    let (place, space) = match places(line, name).pop() {
        Some(place) => (place, ""),
        None if line.is_empty() => (0..0, ""),
        None => (line.len()..line.len(), " "),
    };
    let mut new = text.to_owned();
    new.replace_range(place, &format!("{space}{word}"));
    new
}

/// Returns the text without the parameter in its first line, and without one space beside it.
pub(super) fn without(text: &str, name: &str) -> String {
    let mut new = text.to_owned();
    let line = first_line(text);
    if let Some(mut place) = places(line, name).pop() {
        if line[..place.start].ends_with(' ') {
            place.start -= 1;
        } else if line[place.end..].starts_with(' ') {
            place.end += 1;
        }
        new.replace_range(place, "");
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "console=serial0,115200 console=tty1 dyndbg=\"file a.c +p\" quiet rootwait\n";

    #[test]
    fn last_value_counts_and_quotes_hold_a_word_together() {
        assert_eq!(value(LINE, "console").as_deref(), Some("tty1"));
        assert_eq!(value(LINE, "dyndbg").as_deref(), Some("\"file a.c +p\""));
        assert_eq!(value(LINE, "quiet").as_deref(), Some(""));
        assert_eq!(value(LINE, "a.c"), None);
        assert_eq!(value("a-b=1", "a_b").as_deref(), Some("1"));
        assert_eq!(places(LINE, "console").len(), 2);
    }

    #[test]
    fn parameter_goes_in_and_out_byte_by_byte() {
        for text in ["a b\n", "a b", "a b \n", "a  b\r\nc\n", "", "\n"] {
            let there = with(text, "cma", "cma=256M");
            assert_eq!(value(first_line(&there), "cma").as_deref(), Some("256M"));
            assert_eq!(without(&there, "cma"), text, "{text:?}");
        }
        let changed = with(LINE, "quiet", "quiet=1");
        assert_eq!(with(&changed, "quiet", "quiet"), LINE);
        assert_eq!(without("cma=1 a\n", "cma"), "a\n");
    }
}
