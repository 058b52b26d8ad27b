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
    Commit::parse(raw, id.format()).map_err(|error| malformed_at(id, &error))
}

/// Returns the reason that the bytes of a commit other than the one that is judged are none.
pub(super) fn malformed_at(id: &Oid, error: &Malformed) -> Reason {
    let message = format!("{}: {error}", id.short());
    Reason::new(error.code(ReasonCode::MalformedCommit), message)
}

/// Returns the reason that bytes are no commit.
pub(super) fn malformed(error: &Malformed) -> Reason {
    Reason::new(error.code(ReasonCode::MalformedCommit), error.to_string())
}
