//! The reason why a key can't make a signature that counts.

use std::fmt;

use super::KEYS_PATH;
use super::cert_revocations::KeyRevocation;
use crate::reason::ReasonCode;

/// The reason why a key can't make a signature that counts at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    pub(crate) code: ReasonCode,
    /// The cause, as a sentence that calls the key "it".
    pub why: String,
    /// A hint about making the key usable, if that is possible.
    pub hint: Option<String>,
}

impl Unusable {
    /// Makes the reason for a key that was revoked.
    pub fn revoked(why: impl Into<String>) -> Self {
        Self::new(ReasonCode::KeyRevoked, why)
    }

    pub(super) fn new(code: ReasonCode, why: impl Into<String>) -> Self {
        Self {
            code,
            why: why.into(),
            hint: None,
        }
    }

    /// Makes the reason for a key that its own certificate, or a designated revoker, revokes.
    pub(super) fn by_certificate(by: &KeyRevocation) -> Self {
        Self::revoked(format!("it is revoked ({by})"))
    }

    pub(super) fn in_another_form(by: &KeyRevocation) -> Self {
        Self::revoked(format!("it is revoked in another form ({by})"))
    }

    pub(super) fn no_certificate() -> Self {
        let why = format!("no file in {KEYS_PATH} holds its certificate");
        Self::new(ReasonCode::UnknownKey, why)
    }

    pub(super) fn hint(mut self, hint: String) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
