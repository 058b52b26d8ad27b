//! Reads commits, with the reason if that fails.

use std::borrow::Cow;

use crate::object::{Checked, Commit, Malformed, ObjectKind, limits};
use crate::oid::Oid;
use crate::reason::{Reason, ReasonCode};

/// Reads a commit's bytes.
pub(super) fn read<'a>(objects: Checked<'a>, id: &Oid) -> Result<Cow<'a, [u8]>, Reason> {
    Ok(objects.read(id, ObjectKind::Commit, limits::COMMIT)?)
}

/// Parses a commit other than the one that is judged, so a failure names it.
pub(super) fn parse<'a>(raw: &'a [u8], id: &Oid) -> Result<Commit<'a>, Reason> {
    let named = |e: Malformed| {
        let reason = malformed(&e);
        Reason::new(reason.code, format!("{}: {}", id.short(), reason.message))
    };
    Commit::parse(raw, id.format()).map_err(named)
}

/// Returns the reason that bytes are no commit.
pub(super) fn malformed(error: &Malformed) -> Reason {
    let code = match error {
        Malformed::TooMany(..) => ReasonCode::TooLarge,
        _ => ReasonCode::MalformedCommit,
    };
    Reason::new(code, error.to_string())
}
