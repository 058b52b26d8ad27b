//! The lines in which a host's files differ from git, for people.
//!
//! An agent sends only world-readable text, and only of contents that differ. This module masks secrets; no
//! other code creates such lines.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use plumb_api::frame::{Difference, ObserveReport};
use plumb_api::resource::{Content, Mode};
use plumb_api::{Address, Digest, Spec};
use regex::Regex;
use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::desired::DesiredState;

/// Maximum size of a text that is compared by line, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// Maximum number of lines of a text that is compared by line.
const MAX_COMPARED: usize = 4000;
/// Maximum number of lines that are shown of one difference.
const MAX_SHOWN: usize = 200;

/// The difference between a content on the host and in git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContentDiff {
    /// A unified difference of two texts, without a header.
    Lines(String),
    /// Two contents whose lines aren't shown.
    Sizes {
        /// The content on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Content>,
        /// The content in git.
        to: Content,
        /// The reason why no lines are shown.
        because: NotShown,
    },
}

/// A reason why no lines of a content are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotShown {
    /// The content in git isn't text.
    Binary,
    /// A text is too long.
    TooLong,
    /// A text is missing. An agent doesn't send a file that isn't world-readable, is too long, or isn't text.
    NotSent,
    /// The desired mode of the file isn't world-readable.
    Private,
}

impl NotShown {
    fn phrase(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::TooLong => "too long to show",
            Self::NotSent => "not shown: not world-readable text of at most 64 KiB",
            Self::Private => "not shown: not world-readable",
        }
    }
}

impl fmt::Display for ContentDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(lines) => f.write_str(lines),
            Self::Sizes { from, to, because } => {
                if let Some(from) = from {
                    writeln!(f, "-{}", size(from))?;
                }
                writeln!(f, "+{} ({})", size(to), because.phrase())
            }
        }
    }
}

fn size(content: &Content) -> String {
    let digest = content.sha256.to_string();
    let short = digest.get(..12).unwrap_or(&digest);
    format!("{} bytes, sha256 {short}…", content.size)
}

/// Returns the differences of contents in a report, by resource. New files are left out, because all their
/// lines are in git.
pub fn content_diffs(
    goal: &DesiredState,
    report: &ObserveReport,
    content: &dyn Fn(&Digest) -> Option<Arc<[u8]>>,
) -> BTreeMap<Address, ContentDiff> {
    let differs = |difference: &Difference| {
        let spec = goal.get(&difference.address)?;
        let moved = difference.fields.iter().find_map(|field| {
            let to = serde_json::from_value::<Content>(field.to.clone()?).ok()?;
            let from = serde_json::from_value::<Content>(field.from.clone()?).ok()?;
            Some((from, to))
        });
        let (from, to) = moved?;
        let diff = of_contents(
            spec,
            difference.text.as_deref(),
            content(&to.sha256).as_deref(),
        );
        Some(match diff {
            Ok(lines) => ContentDiff::Lines(lines),
            Err(because) => ContentDiff::Sizes {
                from: Some(from),
                to,
                because,
            },
        })
    };
    report
        .differences
        .iter()
        .filter_map(|difference| Some((difference.address.clone(), differs(difference)?)))
        .collect()
}

fn of_contents(
    spec: &Spec,
    found: Option<&str>,
    desired: Option<&[u8]>,
) -> Result<String, NotShown> {
    let found = found.ok_or(NotShown::NotSent)?;
    let desired = desired.ok_or(NotShown::NotSent)?;
    if is_private(spec) {
        return Err(NotShown::Private);
    }
    let desired = std::str::from_utf8(desired).map_err(|_| NotShown::Binary)?;
    if desired.contains('\0') {
        return Err(NotShown::Binary);
    }
    unified(found, desired).ok_or(NotShown::TooLong)
}

/// True if a spec sets a mode that isn't world-readable.
fn is_private(spec: &Spec) -> bool {
    let mode = spec.to_json().ok().and_then(|spec| {
        let mode = spec.get("mode")?.clone();
        serde_json::from_value::<Mode>(mode).ok()
    });
    mode.is_some_and(|mode| mode.bits() & 0o004 == 0)
}

/// Returns a unified difference of two texts, with secrets masked. Returns `None` if a text is too long.
pub fn unified(before: &str, after: &str) -> Option<String> {
    let is_long = |text: &str| text.len() > MAX_TEXT || text.lines().count() > MAX_COMPARED;
    if is_long(before) || is_long(after) {
        return None;
    }
    let diff = TextDiff::from_lines(before, after);
    let whole = diff
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(true)
        .to_string();
    let mut key = KeyBlock::Outside;
    let mut shown = String::new();
    let mut more = 0;
    for (count, line) in whole.lines().enumerate() {
        let line = mask(line, &mut key);
        if count < MAX_SHOWN {
            shown.push_str(&line);
            shown.push('\n');
        } else {
            more += 1;
        }
    }
    if more > 0 {
        let _ = writeln!(shown, "… {more} more lines");
    }
    Some(shown)
}

/// The position of a line relative to a private key in PEM form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyBlock {
    Outside,
    Inside,
}

/// Patterns of secrets: a key such as `password` with its value, and a login with its password in a URL.
#[allow(clippy::expect_used)] // literals, and a test compiles them
static SECRETS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    let named = concat!(
        r"(?i)((?:[a-z0-9_.-]+passwd|[a-z0-9_.-]*(?:password|passphrase|secret|token|psk|api[_-]?key|private[_-]?key))",
        r#"(?:[a-z0-9_.-]*["']?\s*[:=]\s*|["']?\s+))(\S.*)$"#
    );
    let login = r"([a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@]*:)[^/\s@]+@";
    [
        Regex::new(named).expect("a literal"),
        Regex::new(login).expect("a literal"),
    ]
});

/// Replaces the values of secrets in a line of a difference.
fn mask(line: &str, key: &mut KeyBlock) -> String {
    let sign = line.chars().next().filter(|sign| "+- ".contains(*sign));
    let text = line.get(sign.map_or(0, char::len_utf8)..).unwrap_or("");
    let prefix = sign.map(String::from).unwrap_or_default();
    if text.contains("-----END") {
        *key = KeyBlock::Outside;
    } else if *key == KeyBlock::Inside && !line.starts_with("@@") {
        return format!("{prefix}***");
    }
    if text.contains("PRIVATE KEY-----") && text.contains("-----BEGIN") {
        *key = KeyBlock::Inside;
    }
    let [named, login] = &*SECRETS;
    let masked = login.replace_all(text, "${1}***@");
    let comment = masked.trim_start().starts_with(['#', ';']);
    let masked = if comment {
        masked
    } else {
        named.replace(&masked, "${1}***").into_owned().into()
    };
    format!("{prefix}{masked}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_lines_that_differ() {
        let diff = unified("a\nb\nc\n", "a\nB\nc\n").unwrap();
        assert_eq!(diff, "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        let no_end = unified("a\n", "a").unwrap();
        assert!(no_end.contains("\\ No newline at end of file"), "{no_end}");
    }

    #[test]
    fn masks_secrets() {
        let before = "user=bob\npassword = hunter2\nurl: https://bob:s3cret@example.org/x\n";
        let after = "user=bob\npassword = hunter3\nurl: https://bob:other@example.org/x\n";
        let diff = unified(before, after).unwrap();
        for secret in ["hunter2", "hunter3", "s3cret", "other@"] {
            assert!(!diff.contains(secret), "{diff}");
        }
        assert!(diff.contains("-password = ***\n"), "{diff}");
        assert!(
            diff.contains("+url: https://bob:***@example.org/x\n"),
            "{diff}"
        );
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        let diff = unified("", key).unwrap();
        assert!(!diff.contains("b3Bl"), "{diff}");
        assert!(diff.contains("+-----END OPENSSH"), "{diff}");
    }

    #[test]
    fn leaves_words_that_are_no_secrets() {
        let text = "# the password is in /root\nPasswordAuthentication no\nport: 22\n";
        let diff = unified("", text).unwrap();
        assert!(diff.contains("+# the password is in /root\n"), "{diff}");
        assert!(diff.contains("+port: 22\n"), "{diff}");
    }

    #[test]
    fn bounds_what_it_compares_and_shows() {
        assert_eq!(unified("", &"x\n".repeat(40_000)), None);
        let long = unified("", &"line\n".repeat(1000)).unwrap();
        assert_eq!(long.lines().count(), MAX_SHOWN + 1);
        assert!(long.ends_with("… 801 more lines\n"), "{long}");
    }
}
