//! Input of a poll of the source.

use std::sync::Arc;

use jiff::Timestamp;
use plumb_core::fleet::PollRequest;
use plumb_trust::Oid;

use crate::settings::RevokedReader;

/// The input of one poll of the source.
pub(crate) struct Poll {
    pub(crate) introduction: Oid,
    pub(crate) revoked: Arc<RevokedReader>,
    pub(crate) now: Timestamp,
    pub(crate) request: PollRequest,
}

impl Poll {
    /// Returns the floor: the last commit that was accepted from the configured introduction.
    pub(crate) fn floor(&self) -> Option<Oid> {
        named(self.request.floor.as_deref())
    }

    /// Returns the last commit that was accepted from another introduction than the configured one.
    pub(crate) fn bound(&self) -> Option<Oid> {
        named(self.request.bound.as_deref())
    }

    pub(crate) fn loaded(&self) -> Option<Oid> {
        named(self.request.loaded.as_deref())
    }
}

/// Parses the id of a commit. Stored ids were checked at the start, and this program wrote all others.
pub(crate) fn named(text: Option<&str>) -> Option<Oid> {
    text?.parse().ok()
}
