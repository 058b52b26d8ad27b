//! Reads and parses commits. Errors are returned as reasons.

use std::borrow::Cow;

use crate::object::{Checked, Commit, Malformed, ObjectKind, limits};
use crate::oid::Oid;
use crate::reason::{Reason, ReasonCode};

/// Reads a commit's bytes.
pub(super) fn read<'a>(objects: Checked<'a>, id: &Oid) -> Result<Cow<'a, [u8]>, Reason> {
    Ok(objects.read(id, ObjectKind::Commit, limits::COMMIT)?)
}

/// Parses a commit. If it is malformed, the reason names it; so this is for any commit but the one that is
/// being verified.
pub(super) fn parse<'a>(raw: &'a [u8], id: &Oid) -> Result<Commit<'a>, Reason> {
    Commit::parse(raw, id.format()).map_err(|error| malformed_at(id, &error))
}

/// Returns the reason for a malformed commit, which it names. For any commit but the one that is being
/// verified.
pub(super) fn malformed_at(id: &Oid, error: &Malformed) -> Reason {
    let message = format!("{}: {error}", id.short());
    Reason::new(error.code(ReasonCode::MalformedCommit), message)
}

/// Returns the reason for a malformed commit, without naming it. For the commit that is being verified.
pub(super) fn malformed(error: &Malformed) -> Reason {
    Reason::new(error.code(ReasonCode::MalformedCommit), error.to_string())
}
