//! A revision in the form that the main loop reads: the desired state of each host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::{Address, CompositeAddress, Digest, FleetName, HostName};
use plumb_document::Severity;

use super::host::HostMode;
use crate::desired::{Contents, HostIntent, HostResult, Lifecycle, Resolved};
use crate::plan::goal;

/// A resolved revision. The controller creates it only from a verified commit.
#[derive(Debug)]
pub struct FleetRevision {
    commit: String,
    subject: String,
    resolved: Resolved,
    goals: BTreeMap<HostName, Digest>,
}

impl FleetRevision {
    /// Creates a revision from the resolved fleet of a commit with this subject.
    pub fn new(commit: String, subject: String, resolved: Resolved) -> Self {
        let ready = resolved.hosts.iter().filter_map(|(name, result)| {
            let HostResult::Ready(intent) = result else {
                return None;
            };
            Some((name.clone(), goal(intent).digest()))
        });
        Self {
            goals: ready.collect(),
            commit,
            subject,
            resolved,
        }
    }

    /// Returns the commit in hexadecimal.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the first line of the commit's message.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the contents that the specs refer to.
    pub fn contents(&self) -> &Contents {
        &self.resolved.contents
    }

    /// Returns the addresses of a host's resources, each with the composite that it is a part of.
    pub fn resources(
        &self,
        host: &HostName,
    ) -> impl Iterator<Item = (&Address, Option<&CompositeAddress>)> {
        let desired = self.intent(host).map(|intent| &intent.desired);
        desired.into_iter().flat_map(|desired| {
            let addresses = desired.resources().keys();
            addresses.map(|address| (address, desired.origin(address)))
        })
    }

    pub(super) fn fleet(&self) -> &FleetName {
        &self.resolved.fleet
    }

    pub(super) fn hosts(&self) -> &BTreeMap<HostName, HostResult> {
        &self.resolved.hosts
    }

    pub(super) fn intent(&self, host: &HostName) -> Option<&Arc<HostIntent>> {
        match self.resolved.hosts.get(host)? {
            HostResult::Ready(intent) => Some(intent),
            HostResult::Held(_) => None,
        }
    }

    /// Returns the digest of a host's desired state; `None` if the host is held.
    pub(super) fn goal(&self, host: &HostName) -> Option<Digest> {
        self.goals.get(host).copied()
    }

    pub(super) fn alertmanagers(&self) -> &[plumb_api::AlertmanagerUrl] {
        &self.resolved.alertmanagers
    }

    pub(super) fn confirm_within(&self) -> Duration {
        self.resolved.confirm_within
    }

    pub(super) fn halt_failures(&self) -> u32 {
        self.resolved.halt_failures
    }

    /// Returns the number of errors in the manifests.
    pub(super) fn errors(&self) -> usize {
        let diagnostics = self.resolved.diagnostics.iter();
        diagnostics
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count()
    }
}

/// Returns the mode that a host's manifest requests at the time `now`.
pub(super) fn mode(intent: &HostIntent, now: Timestamp) -> HostMode {
    let pause = intent
        .suspend
        .as_ref()
        .filter(|pause| pause.until.is_none_or(|until| until > now));
    match (intent.lifecycle, pause) {
        (Lifecycle::Dormant, _) => HostMode::Dormant,
        (Lifecycle::Unmanaged, _) => HostMode::Unmanaged,
        (_, Some(pause)) => HostMode::Suspended(pause.clone()),
        (Lifecycle::Active | Lifecycle::Retired, None) => HostMode::Driven,
    }
}
