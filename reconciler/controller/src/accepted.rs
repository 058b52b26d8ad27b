//! Creates the revisions that the loop accepts, from verified revisions only.

use std::sync::Arc;

use plumb_core::fleet::FleetRevision;
use plumb_core::manifest::{Fleet, Sources, load};
use plumb_core::resolve::resolve;
use plumb_trust::source::Files;
use plumb_trust::{Revision, Verified};

/// A verified and resolved revision. The controller drives hosts only to revisions of this type.
///
/// [`AcceptedRevision::of`] takes the fleet of a [`Verified`] revision, and only the trust crate creates a
/// `Verified`. Any other fleet can be checked, rendered and planned, but no host can be driven to it:
///
/// ```compile_fail,E0308
/// use plumb_core::manifest::{Sources, load};
///
/// let fleet = load(Sources { revision: "a worktree", files: Default::default() }).fleet;
/// let accepted = plumb_controller::AcceptedRevision::of(&fleet);
/// ```
///
/// ```compile_fail,E0308
/// use plumb_core::manifest::Fleet;
/// use plumb_trust::Revision;
///
/// fn unverified(fleet: &Fleet<Revision>) -> plumb_controller::AcceptedRevision {
///     plumb_controller::AcceptedRevision::of(fleet)
/// }
/// ```
///
/// With a verified revision the same code compiles:
///
/// ```
/// use plumb_core::manifest::Fleet;
/// use plumb_trust::{Revision, Verified};
///
/// fn verified(fleet: &Fleet<Verified<Revision>>) -> plumb_controller::AcceptedRevision {
///     plumb_controller::AcceptedRevision::of(fleet)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct AcceptedRevision(Arc<FleetRevision>);

impl AcceptedRevision {
    /// Resolves the fleet of a verified revision.
    pub fn of(fleet: &Fleet<Verified<Revision>>) -> Self {
        let revision = fleet.revision().get();
        Self(Arc::new(FleetRevision::new(
            revision.commit().to_string(),
            revision.subject().to_owned(),
            resolve(fleet),
        )))
    }

    /// Loads a verified revision from its files and resolves it.
    pub(crate) fn load(revision: Verified<Revision>, files: Files) -> Self {
        let files = files
            .into_iter()
            .map(|(path, bytes)| (path.into(), bytes))
            .collect();
        Self::of(&load(Sources { revision, files }).fleet)
    }

    /// Returns the revision in the loop's own type.
    pub(crate) fn into_revision(self) -> Arc<FleetRevision> {
        self.0
    }
}
