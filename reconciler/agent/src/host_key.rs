//! The host's own age key, with which it decrypts its secrets. It is made once and never leaves the host.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use zeroize::Zeroizing;

use crate::age::{AgeError, Identity};
use crate::book::{Durable, Home};
use crate::error::{Result, fail};
use crate::sys::Sys;

/// The file with the private key, in the agent's folder.
const FILE: &str = "age-key";

/// The lock that keeps two sessions from making a key each.
const LOCK: &str = "age-key.lock";

/// Returns the host's key, or `None` if it has none yet.
pub(crate) fn load(home: &Home) -> Result<Option<Identity>> {
    let Some(bytes) = home.read(FILE)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    match text.trim().parse() {
        Ok(identity) => Ok(Some(identity)),
        Err(_) => Err(AgentError::new(
            ErrorCode::SecretRefused,
            format!("{}/{FILE} isn't an age key", crate::book::PATH),
        )
        .hint("restore it, or remove it and run `plumb enroll` and `plumb secret rekey`")),
    }
}

/// Returns the public half of the host's key. Makes the key if the host has none.
pub(crate) fn make(sys: &Sys) -> Result<String> {
    let home = Home::make(sys)?;
    let Some(_lock) = home.lock(LOCK, Duration::from_secs(5))? else {
        return fail(ErrorCode::Locked, "another session makes the host's key");
    };
    if let Some(identity) = load(&home)? {
        return Ok(identity.recipient().to_string());
    }
    let failed = |error: AgeError| {
        AgentError::new(
            ErrorCode::Io,
            format!("cannot make the host's key: {error}"),
        )
    };
    let identity = Identity::generate().map_err(failed)?;
    let text = identity.to_secret_text().map_err(failed)?;
    home.write(FILE, text.as_bytes(), Durable::Yes)?;
    Ok(identity.recipient().to_string())
}
