//! URLs that may contain a login.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A URL that may contain a login (`https://USER:PASSWORD@HOST/…`, `…?token=…`). Its `Display`, `Debug` and
/// `Serialize` forms omit the login and the query. Only [`LoginUrl::reveal`] returns them, for the client
/// that logs in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(transparent)]
pub struct LoginUrl(String);

impl LoginUrl {
    /// Wraps an address.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// True if the displayed form omits a part of the URL.
    pub fn has_login(&self) -> bool {
        self.to_string() != self.0
    }

    /// Replaces the login and the path of every URL in a text with the same number of asterisks, so that
    /// positions in the text stay valid. The path of some URLs is a secret, and a text doesn't say which ones.
    pub fn mask(text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("://") {
            masked.push_str(before);
            masked.push_str("://");
            let end = after
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`'))
                .unwrap_or(after.len());
            let login = after[..end].rfind('@').unwrap_or(0);
            let path = after[login..end].find(['/', '?']);
            let path = path.map_or(end, |at| login + at + 1);
            masked.extend(std::iter::repeat_n('*', login));
            masked.push_str(&after[login..path]);
            masked.extend(std::iter::repeat_n('*', end - path));
            rest = &after[end..];
        }
        masked.push_str(rest);
        masked
    }

    /// Returns the whole address, with its login. It must not be printed, logged or stored.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // `user@host:path` and the path of a folder contain no password.
            return f.write_str(&self.0);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password may contain an unescaped slash or question mark. The text before that then looks like a
        // host with a port that isn't a number, and the last `@` is after it.
        let first = &rest[..end];
        let port = first.rsplit_once(':').map(|(_, port)| port);
        let is_host = first.contains('@')
            || first.starts_with('[')
            || port.is_none_or(|port| port.chars().all(|c| c.is_ascii_digit()));
        let end = match rest.rfind('@') {
            Some(at) if at > end && !is_host => {
                at + rest[at..].find(['/', '?', '#']).unwrap_or(rest.len() - at)
            }
            _ => end,
        };
        let (authority, path) = rest.split_at(end);
        let path = path.find('?').map_or(path, |query| &path[..query]);
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // An SSH login without a password is only a user name, which tells people who logs in. The user name
        // of an https URL may be a token.
        match (scheme, login.contains(':')) {
            ("ssh", false) if !login.is_empty() => write!(f, "{scheme}://{login}@{host}{path}"),
            _ => write!(f, "{scheme}://{host}{path}"),
        }
    }
}

impl fmt::Debug for LoginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for LoginUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_login() {
        for (url, shown) in [
            (
                "https://bob:s3cret%2F%40x@git.example/a@b.git",
                "https://git.example/a@b.git",
            ),
            (
                "https://t0ken@git.example/fleet.git",
                "https://git.example/fleet.git",
            ),
            (
                "https://bob:s3/cret@git.example/fleet.git",
                "https://git.example/fleet.git",
            ),
            ("https://git.example?x=a@b", "https://git.example"),
            (
                "https://git.example/fleet.git?private_token=s3cret",
                "https://git.example/fleet.git",
            ),
            (
                "https://git.example:8443/a@b",
                "https://git.example:8443/a@b",
            ),
            ("http://am:pw@[::1]:9093", "http://[::1]:9093"),
            (
                "ssh://git@git.example/fleet.git",
                "ssh://git@git.example/fleet.git",
            ),
            (
                "ssh://git:pw@git.example/fleet.git",
                "ssh://git.example/fleet.git",
            ),
            ("git@git.example:fleet.git", "git@git.example:fleet.git"),
            ("/srv/fleet.git", "/srv/fleet.git"),
        ] {
            let url = LoginUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }

    #[test]
    fn masked_text_keeps_its_places() {
        let text = "a: https://bob:s3/cret@git.example/x # ssh://git@h\nb: [\"http://t@am\", http://am:9093]";
        let masked = LoginUrl::mask(text);
        assert_eq!(
            masked,
            "a: https://***********@git.example/* # ssh://***@h\nb: [\"http://*@am\", http://am:9093]"
        );
        assert_eq!(masked.len(), text.len());
    }
}
