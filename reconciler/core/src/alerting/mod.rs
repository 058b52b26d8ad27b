//! The alerting rules, which are functions of statuses and time, and the set of active alerts.

mod active;
mod labels;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use plumb_api::HostName;

pub use active::{ActiveAlert, ActiveAlerts, AlertChanges};
pub use labels::label_name;
pub use rules::{HeldCommit, Hold, HostSnapshot, Rules, Settings};

/// The labels that identify an alert.
pub type Labels = BTreeMap<String, String>;

/// The alerts that Plumb raises; `docs/alerts.md` has a runbook for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertName {
    /// A commit isn't accepted and somebody should look at it at once, or nothing can be verified.
    CommitVerificationFailed,
    /// A commit waits for approvals.
    ApprovalPending,
    /// Failed hosts halted a rollout.
    RolloutHalted,
    /// A host drifted from its target.
    HostDrifted,
    /// A host keeps its last state because its manifests have errors.
    HostHeld,
    /// A host ran a revision that isn't on the verified chain.
    HostOffVerifiedChain,
    /// Runs fail to bring a host to its target.
    HostReconcileFailing,
    /// A host was deleted from git.
    HostReleased,
    /// The controller can't reach a host.
    HostUnreachable,
    /// A host can't decrypt a secret, or refuses it.
    SecretDecryptFailed,
    /// The repository can't be fetched, or an accepted revision can't be loaded.
    SourceFailing,
}

impl AlertName {
    /// Returns the value of the label `alertname`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommitVerificationFailed => "PlumbCommitVerificationFailed",
            Self::ApprovalPending => "PlumbApprovalPending",
            Self::RolloutHalted => "PlumbRolloutHalted",
            Self::HostDrifted => "PlumbHostDrifted",
            Self::HostHeld => "PlumbHostHeld",
            Self::HostOffVerifiedChain => "PlumbHostOffVerifiedChain",
            Self::HostReconcileFailing => "PlumbHostReconcileFailing",
            Self::HostReleased => "PlumbHostReleased",
            Self::HostUnreachable => "PlumbHostUnreachable",
            Self::SecretDecryptFailed => "PlumbSecretDecryptFailed",
            Self::SourceFailing => "PlumbSourceFailing",
        }
    }

    /// Returns the value of the label `severity`.
    pub const fn severity(self) -> &'static str {
        match self {
            Self::CommitVerificationFailed
            | Self::RolloutHalted
            | Self::HostOffVerifiedChain
            | Self::SecretDecryptFailed => "critical",
            Self::ApprovalPending => "info",
            Self::HostDrifted
            | Self::HostHeld
            | Self::HostReconcileFailing
            | Self::HostReleased
            | Self::HostUnreachable
            | Self::SourceFailing => "warning",
        }
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The object that raises an alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertScope {
    /// The source.
    Source,
    /// The rollouts.
    Rollouts,
    /// A host.
    Host(HostName),
}

impl AlertScope {
    /// Returns the scope of an alert with these labels.
    pub fn of(labels: &Labels) -> Self {
        let host = labels.get("host").and_then(|host| host.parse().ok());
        match (host, labels.get("alertname")) {
            (Some(host), _) => Self::Host(host),
            (None, Some(name)) if name == AlertName::RolloutHalted.as_str() => Self::Rollouts,
            (None, _) => Self::Source,
        }
    }
}

/// A firing alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// The labels that identify the alert; they don't change while it fires.
    pub labels: Labels,
    /// The texts, which may change.
    pub annotations: BTreeMap<String, String>,
}

/// The alerts of one object now, and the next time at which they must be evaluated even if no event arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// The alerts that fire.
    pub firing: Vec<Firing>,
    /// The next time at which another alert fires if nothing else happens.
    pub next: Option<Timestamp>,
}

impl Outlook {
    /// Adds the alerts of another rule about the same object.
    pub(crate) fn extend(&mut self, other: Self) {
        self.firing.extend(other.firing);
        self.next = [self.next, other.next].into_iter().flatten().min();
    }

    /// Returns true if `after` has passed since `since`. Otherwise stores in `next` when it will have passed.
    fn lasted(&mut self, since: Timestamp, after: jiff::SignedDuration, now: Timestamp) -> bool {
        if now.duration_since(since) >= after {
            return true;
        }
        let at = since + after;
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }
}
