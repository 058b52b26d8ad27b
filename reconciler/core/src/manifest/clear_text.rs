//! Finds secrets in clear text: private keys, tokens and passwords in URLs.
//!
//! Only texts that are hardly anything else count, so that a warning is worth reading. A diagnostic names the
//! line and never quotes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::kind::ClearTextSecrets;
use plumb_document::{Diagnostic, SourceFile, Span};

use super::code;
use crate::parallel;

/// Beginnings of tokens, each with the minimum number of characters that follow.
const TOKENS: [(&str, usize, &str); 9] = [
    ("AGE-SECRET-KEY-1", 40, "a secret key of age"),
    ("AGE-SECRET-KEY-PQ-1", 40, "a secret key of age"),
    ("ghp_", 36, "a token of GitHub"),
    ("gho_", 36, "a token of GitHub"),
    ("ghs_", 36, "a token of GitHub"),
    ("github_pat_", 60, "a token of GitHub"),
    ("glpat-", 20, "a token of GitLab"),
    ("xoxb-", 20, "a token of Slack"),
    ("xoxp-", 20, "a token of Slack"),
];

/// Marks of passwords in URLs that stand for a value from elsewhere.
const STAND_INS: [char; 5] = ['*', '{', '$', '<', '%'];

/// A secret that was found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    line: u32,
    column: u32,
    what: &'static str,
}

/// Returns a diagnostic for each file with a secret in clear text, about its first one. The files of `trust/`
/// are left out: the policy has a check of its own for them.
pub(super) fn find(
    files: &BTreeMap<Arc<str>, SourceFile>,
    policy: ClearTextSecrets,
) -> Vec<Diagnostic> {
    let new = match policy {
        ClearTextSecrets::Deny => Diagnostic::error,
        ClearTextSecrets::Warn => Diagnostic::warning,
        ClearTextSecrets::Allow => return Vec::new(),
    };
    let files: Vec<_> = files
        .iter()
        .filter(|(path, _)| !path.starts_with("trust/"))
        .collect();
    parallel::map(&files, |(_, file)| {
        first(std::str::from_utf8(file.bytes()?).ok()?)
    })
    .into_iter()
    .zip(files)
    .filter_map(|(found, (path, _))| {
        let Found { line, column, what } = found?;
        let span = Span::new(path.clone(), line, column, 0..0);
        let message = format!("this line has {what} in clear text");
        Some(new(code::CLEAR_TEXT_SECRET, &span, message).hint(
            "replace the secret where it is used, because git keeps the old one, and keep the new one out of the repository",
        ))
    })
    .collect()
}

/// Returns the first secret of a text.
fn first(text: &str) -> Option<Found> {
    let tokens = TOKENS
        .iter()
        .filter_map(|(start, least, what)| Some((token(text, start, *least)?, *what)));
    let (at, what) = private_key(text)
        .map(|at| (at, "a private key"))
        .into_iter()
        .chain(password(text).map(|at| (at, "a password in a URL")))
        .chain(tokens)
        .min_by_key(|(at, _)| *at)?;
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
    Some(Found {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        what,
    })
}

/// True if a text has a private key.
pub(crate) fn has_private_key(text: &str) -> bool {
    private_key(text).is_some()
}

/// Returns the position of a PEM or OpenPGP block with a private key. The first line alone, such as in a
/// script that looks for it, is no block: a line of data must follow.
fn private_key(text: &str) -> Option<usize> {
    text.match_indices("PRIVATE KEY").find_map(|(at, found)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let begin = line + text[line..at].find("-----BEGIN ")?;
        let rest = &text[at + found.len()..];
        let rest = rest.strip_prefix(" BLOCK").unwrap_or(rest);
        let data = rest.strip_prefix("-----")?;
        // A value in quotes has its line ends written as `\n`.
        let data = data.strip_prefix("\\n").unwrap_or(data).trim_start();
        let data_chars = data.chars().take_while(|c| is_base64(*c)).count();
        let has_header = ["Proc-Type:", "Version:", "Comment:"]
            .iter()
            .any(|header| data.starts_with(header));
        (data_chars >= 16 || has_header).then_some(begin)
    })
}

/// Returns the position of a token that begins with `start`.
fn token(text: &str, start: &str, least: usize) -> Option<usize> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(start).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let rest = &text[at + start.len()..];
        !before.is_some_and(in_token) && rest.chars().take_while(|c| in_token(*c)).count() >= least
    })
}

/// Returns the position of a password in a URL.
fn password(text: &str) -> Option<usize> {
    text.match_indices("://").find_map(|(at, found)| {
        let begin = at + found.len();
        let rest = &text[begin..];
        let end = rest
            .find(|c: char| c.is_whitespace() || "/\"'`?#".contains(c))
            .unwrap_or(rest.len());
        let (login, _) = rest[..end].rsplit_once('@')?;
        let (_, password) = login.split_once(':')?;
        let stands_in = password.is_empty() || password.contains(STAND_INS);
        (!stands_in).then_some(begin)
    })
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> Option<(u32, u32, &'static str)> {
        first(text).map(|found| (found.line, found.column, found.what))
    }

    #[test]
    fn finds_keys_tokens_and_passwords() {
        let key = "  key: |\n    -----BEGIN EC PRIVATE KEY-----\n    MHcCAQEEIBkgAAAAAAAA\n";
        assert_eq!(what(key), Some((2, 5, "a private key")));
        let quoted = r#"key: "-----BEGIN PRIVATE KEY-----\nMHcCAQEEIBkgAAAAAAAA""#;
        assert_eq!(what(quoted), Some((1, 7, "a private key")));
        let block = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxVgEZAAAAAAAAAAAAAAA\n";
        assert_eq!(what(block), Some((1, 1, "a private key")));
        let age = format!("a\nAGE-SECRET-KEY-1{}\n", "Q".repeat(58));
        assert_eq!(what(&age), Some((2, 1, "a secret key of age")));
        let github = format!("token={}{}", "ghp_", "a".repeat(36));
        assert_eq!(what(&github), Some((1, 7, "a token of GitHub")));
        let url = "url: https://bob:hunter2@git.example/x";
        assert_eq!(what(url), Some((1, 14, "a password in a URL")));
    }

    #[test]
    fn reports_the_first_secret_of_a_file() {
        let text = "a: https://a:b@c\nb: https://d:e@f\n";
        assert_eq!(what(text), Some((1, 12, "a password in a URL")));
    }

    #[test]
    fn ignores_texts_that_only_look_like_secrets() {
        for text in [
            "grep -q 'BEGIN RSA PRIVATE KEY-----' x",
            "case $line in -----BEGIN\\ PRIVATE\\ KEY-----) ;; esac",
            "-----BEGIN PRIVATE KEY-----\n…\n",
            "-----BEGIN PUBLIC KEY-----\nMHcCAQEEIBkgAAAAAAAA\n",
            "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3Jn\n",
            "url: https://bob:{{ params.password }}@git.example",
            "url: https://bob:$PASSWORD@git.example",
            "url: https://bob@git.example:8443/x",
            "url: https://git.example:8443/a:b@c",
            "name: my_ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "name: ghp_short",
        ] {
            assert_eq!(what(text), None, "{text}");
        }
    }
}
