//! The input of a poll of the source.

use std::sync::Arc;

use jiff::Timestamp;
use plumb_core::fleet::PollRequest;
use plumb_trust::Oid;

use crate::settings::RevokedReader;

/// The input of a poll of the source.
pub(crate) struct Poll {
    pub(crate) introduction: Oid,
    pub(crate) revoked: Arc<RevokedReader>,
    pub(crate) now: Timestamp,
    pub(crate) request: PollRequest,
}

impl Poll {
    /// Returns the last commit accepted from this introduction.
    pub(crate) fn floor(&self) -> Option<Oid> {
        named(self.request.floor.as_deref())
    }

    /// Returns the last commit accepted from another introduction.
    pub(crate) fn bound(&self) -> Option<Oid> {
        named(self.request.bound.as_deref())
    }

    pub(crate) fn loaded(&self) -> Option<Oid> {
        named(self.request.loaded.as_deref())
    }
}

/// Parses a commit. Stored names were checked at the start; others come from this module.
pub(crate) fn named(text: Option<&str>) -> Option<Oid> {
    text?.parse().ok()
}
