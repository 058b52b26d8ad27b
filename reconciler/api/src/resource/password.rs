//! The password of a user, as a crypt hash.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::field::Content;
use crate::name::Address;

/// The source of a password's hash. A spec has no hash, only its digest: the hash itself reaches the host as a
/// content, when it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(title = "`{hash: \"$y$…\"}` or `{secret: NAME/KEY}`")
)]
#[serde(rename_all = "camelCase")]
pub enum Password {
    /// A crypt hash that the manifest has as text.
    Hash(Content),
    /// A secret whose value is a crypt hash.
    Secret(Address),
}

impl Password {
    /// Returns the content that is the hash; `None` if only the host knows the hash.
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Hash(content) => Some(*content),
            Self::Secret(_) => None,
        }
    }

    /// Returns the secret whose value is the hash.
    pub fn secret(&self) -> Option<&Address> {
        match self {
            Self::Hash(_) => None,
            Self::Secret(secret) => Some(secret),
        }
    }

    /// Returns what is observed while the user has this password.
    pub(super) fn observed(&self) -> PasswordObserved {
        match self {
            Self::Hash(content) => PasswordObserved::Hash(*content),
            Self::Secret(secret) => PasswordObserved::Secret(secret.clone()),
        }
    }
}

/// The observed password of a user. Only digests that git has or had leave the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PasswordObserved {
    /// There is no password to log in with.
    None,
    /// A hash that git has or had.
    Hash(Content),
    /// The value of this secret.
    Secret(Address),
    /// The password from before Plumb's first change.
    Original,
    /// Another password.
    Other,
    /// The text in `/etc/shadow`. Only the original in the host's ledger has it.
    Kept(ShadowText),
}

impl PasswordObserved {
    /// Describes the password for people.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash(_) => "an earlier hash",
            Self::Secret(_) => "the value of a secret",
            Self::Original => "the original",
            Self::Other | Self::Kept(_) => "another",
        }
    }
}

/// The observed lock of a user's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PasswordLock {
    /// The password can be used.
    Open,
    /// There is a password, and it is locked.
    Locked,
    /// There is no password that could be locked.
    NoPassword,
}

/// The second field of a line in `/etc/shadow`. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShadowText(String);

impl ShadowText {
    /// Creates the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash, without the mark of a lock. It is empty if there is no password.
    pub fn hash(&self) -> &str {
        match self.0.trim_start_matches('!') {
            "*" => "",
            hash => hash,
        }
    }

    /// Returns the lock.
    pub fn lock(&self) -> PasswordLock {
        match (self.hash(), self.0.starts_with('!')) {
            ("", _) if !self.0.is_empty() => PasswordLock::NoPassword,
            (_, true) => PasswordLock::Locked,
            // An empty field lets everybody in, so it can be locked.
            (_, false) => PasswordLock::Open,
        }
    }
}

impl fmt::Debug for ShadowText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShadowText(…)")
    }
}

/// Checks that a text is a hash of crypt(3) that Debian makes or made by default. The error never quotes the
/// text, because it may be the password itself.
///
/// # Errors
/// Returns a phrase with the mistake.
pub(super) fn check_hash(text: &str) -> Result<(), String> {
    let refuse = |mistake: &str| Err(mistake.to_owned());
    let parts: Vec<&str> = text.split('$').collect();
    let is_made_of = |allowed: &[u8]| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || allowed.contains(&b))
    };
    match parts.as_slice() {
        ["", "1" | "md5", ..] => {
            return refuse("the hash is by MD5, which is guessed too quickly");
        }
        ["" | "!" | "*"] | ["!" | "*", ..] => {
            return refuse("`!` and `*` aren't hashes: they mean that there is no password");
        }
        ["", ..] if is_made_of(b"$./=,-") => {}
        ["", ..] => return refuse("the hash has a character that no crypt hash has"),
        _ => return refuse("the text isn't a crypt hash, which begins with `$`"),
    }
    let length = match parts.as_slice() {
        ["", "y" | "gy", parameters, salt, hash] if !parameters.is_empty() && !salt.is_empty() => {
            (hash.len(), 43)
        }
        ["", "7", _, hash] => (hash.len(), 43),
        ["", "2a" | "2b" | "2y", cost, hash] if cost.len() == 2 => (hash.len(), 53),
        ["", "6", salt, hash] | ["", "6", _, salt, hash] if !salt.is_empty() => (hash.len(), 86),
        ["", "5", salt, hash] | ["", "5", _, salt, hash] if !salt.is_empty() => (hash.len(), 43),
        _ => return refuse("the hash is of no kind that this version knows: y, gy, 7, 2b, 6 or 5"),
    };
    if length.0 == length.1 {
        Ok(())
    } else {
        refuse("the hash is cut off or too long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hashes of `plumb`.
    const YESCRYPT: &str =
        "$y$j9T$6w9iFJbqVXXZ5sGyyfpdd.$FrVDH9SMPwCjRbCwrVE5nyv1nGzs.pMOUCEaOKBs7F2";
    const SHA512: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

    #[test]
    fn hashes_are_told_from_passwords_and_weak_ones() {
        for good in [
            YESCRYPT,
            SHA512,
            &SHA512.replace("$6$", "$6$rounds=5000$"),
            "$2b$12$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz01234",
        ] {
            assert_eq!(check_hash(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "!",
            "*",
            "hunter2",
            "$1$saltsalt$2vnaRpHa6Jxjz5n83ok8Z0",
            "ab01FAX.bQRSU",
            &YESCRYPT[..60],
            &format!("{YESCRYPT}x"),
            &YESCRYPT.replace("w9iF", "w+iF"),
            &format!("!{YESCRYPT}"),
        ] {
            let told = check_hash(bad).unwrap_err();
            assert!(bad.len() < 5 || !told.contains(bad), "{told}");
        }
    }

    #[test]
    fn lock_is_told_from_the_absence_of_a_password() {
        let text = |text: &str| ShadowText::new(text.to_owned());
        assert_eq!(text("!").lock(), PasswordLock::NoPassword);
        assert_eq!(text("!*").lock(), PasswordLock::NoPassword);
        assert_eq!(text("*").lock(), PasswordLock::NoPassword);
        assert_eq!(text("").lock(), PasswordLock::Open);
        assert_eq!(text("!$6$x").lock(), PasswordLock::Locked);
        assert_eq!(text("!$6$x").hash(), "$6$x");
        assert_eq!(text("$6$x").lock(), PasswordLock::Open);
        assert_eq!(format!("{:?}", text("$6$x")), "ShadowText(…)");
    }
}
