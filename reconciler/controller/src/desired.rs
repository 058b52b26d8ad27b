//! What hosts are driven to: fleets of verified revisions, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::{Address, Digest, FleetName, HostName, Spec};
use plumb_core::desired::{
    Contents, DesiredResource, DesiredState, HostIntent, HostResult, Resolved,
};
use plumb_core::manifest::{Fleet, Sources, load};
use plumb_core::plan::goal;
use plumb_core::resolve::resolve;
use plumb_document::Diagnostic;
use plumb_trust::source::Files;
use plumb_trust::{Revision, Verified};

/// A verified revision, resolved: what hosts may be driven to.
///
/// It is made from a fleet of a [`Verified`] revision, which only trust gives. Any other fleet can be
/// checked, rendered and planned with, but not driven to:
///
/// ```compile_fail,E0308
/// use plumb_core::manifest::{Sources, load};
///
/// let fleet = load(Sources { revision: "a worktree", files: Default::default() }).fleet;
/// let accepted = plumb_controller::Accepted::of(&fleet);
/// ```
///
/// ```compile_fail,E0308
/// use plumb_core::manifest::Fleet;
/// use plumb_trust::Revision;
///
/// fn unverified(fleet: &Fleet<Revision>) -> plumb_controller::Accepted {
///     plumb_controller::Accepted::of(fleet)
/// }
/// ```
///
/// The same with a verified one compiles:
///
/// ```
/// use plumb_core::manifest::Fleet;
/// use plumb_trust::{Revision, Verified};
///
/// fn verified(fleet: &Fleet<Verified<Revision>>) -> plumb_controller::Accepted {
///     plumb_controller::Accepted::of(fleet)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Accepted {
    revision: Revision,
    commit: String,
    resolved: Resolved,
    goals: BTreeMap<HostName, Digest>,
}

impl Accepted {
    /// What a verified revision says of each host.
    pub fn of(fleet: &Fleet<Verified<Revision>>) -> Self {
        let resolved = resolve(fleet);
        let goals = resolved
            .hosts
            .iter()
            .filter_map(|(name, result)| match result {
                HostResult::Ready(intent) => Some((name.clone(), goal(intent).digest())),
                HostResult::Held(_) => None,
            })
            .collect();
        let revision = fleet.revision().get().clone();
        Self {
            commit: revision.commit().to_string(),
            revision,
            resolved,
            goals,
        }
    }

    /// Loads a verified revision's files.
    pub(crate) fn load(revision: Verified<Revision>, files: Files) -> Self {
        let files = files
            .into_iter()
            .map(|(path, bytes)| (path.into(), bytes))
            .collect();
        Self::of(&load(Sources { revision, files }).fleet)
    }

    pub(crate) fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The commit in hexadecimal.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    pub(crate) fn fleet(&self) -> &FleetName {
        &self.resolved.fleet
    }

    pub(crate) fn hosts(&self) -> &BTreeMap<HostName, HostResult> {
        &self.resolved.hosts
    }

    pub(crate) fn intent(&self, host: &HostName) -> Option<&Arc<HostIntent>> {
        match self.resolved.hosts.get(host)? {
            HostResult::Ready(intent) => Some(intent),
            HostResult::Held(_) => None,
        }
    }

    /// The digest that a host is to have, unless it is held.
    pub(crate) fn goal(&self, host: &HostName) -> Option<Digest> {
        self.goals.get(host).copied()
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.resolved.contents
    }

    pub(crate) fn alertmanagers(&self) -> &[String] {
        &self.resolved.alertmanagers
    }

    pub(crate) fn halt_failures(&self) -> u32 {
        self.resolved.halt_failures
    }

    pub(crate) fn diagnostics(&self) -> &[Diagnostic] {
        &self.resolved.diagnostics
    }
}

/// A desired state as it is kept: its resources by address.
pub(crate) fn state_to_bytes(state: &DesiredState) -> Option<Vec<u8>> {
    let specs: BTreeMap<&Address, &Spec> = state
        .resources()
        .iter()
        .map(|(address, resource)| (address, resource.spec()))
        .collect();
    serde_json::to_vec(&specs).ok()
}

/// A kept desired state; none where it can't be read or isn't the one that its digest says.
pub(crate) fn state_from_bytes(bytes: &[u8], digest: Digest) -> Option<DesiredState> {
    let specs: BTreeMap<Address, Spec> = serde_json::from_slice(bytes).ok()?;
    let resources = specs
        .into_iter()
        .map(|(address, spec)| Some((address, Arc::new(DesiredResource::new(spec).ok()?))))
        .collect::<Option<_>>()?;
    let state = DesiredState::new(resources);
    (state.digest() == digest).then_some(state)
}
