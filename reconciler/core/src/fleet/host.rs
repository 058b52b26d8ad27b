//! Everything that the loop knows of one host.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::report::Retry;
use plumb_api::{Digest, HostName};
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::effect::RunId;
use crate::desired::Suspension;
use crate::reason::ConditionReason;
use crate::status::{HostStatus, Target};
use crate::view::HostObject;

/// How the loop treats a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HostMode {
    /// It is driven.
    Driven,
    /// It is paused.
    Suspended(Suspension),
    /// It is known to others and not contacted.
    Dormant,
    /// It is somebody else's.
    Unmanaged,
    /// It is no longer in git.
    Released,
}

/// What the last contact with a host came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reach {
    /// It wasn't tried yet.
    Unknown,
    /// The host answered.
    Connected,
    /// The host couldn't be talked to.
    Lost {
        /// Why.
        reason: ConditionReason,
        /// Why, in a sentence.
        message: String,
    },
}

/// What the work on a host came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Progress {
    /// No run has finished since the host was met.
    Begun,
    /// Its pause is over.
    Resumed,
    /// It has a new target.
    NewTarget,
    /// It was observed and has no target yet.
    Observed,
    /// It is as this revision says.
    Settled(String),
    /// The last run failed, or nothing may be done.
    Failed {
        /// Why.
        reason: ConditionReason,
        /// Why, in a sentence.
        message: String,
        /// When it is worth trying again.
        retry: Retry,
    },
}

impl Progress {
    /// True if the host won't get better until somebody changes something.
    pub(super) fn is_stalled(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                retry: Retry::Stalled,
                ..
            }
        )
    }
}

/// Drift as the last driving run found it. `reason` is one of the reasons of the condition `Drifted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drift {
    /// What became of it.
    pub reason: ConditionReason,
    /// The addresses, in a sentence.
    pub message: String,
}

/// Why a host isn't given what the newest revision wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// Its turn in the rollout comes later.
    Turn,
    /// A rollout is halted; why, in a sentence.
    Halted(Arc<str>),
}

/// What the newest revision says of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No revision is loaded yet.
    Unknown,
    /// A state with this digest.
    State(Digest),
    /// The manifests can't be used; why, in a sentence.
    Held(String),
    /// It isn't in git.
    Nothing,
}

/// Everything that the loop knows of one host.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not the states of one machine
pub struct HostState {
    pub(super) name: HostName,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mode: HostMode,
    /// What the newest revision wants of it.
    pub(super) wanted: Wanted,
    /// The newest revision.
    pub(super) head: Option<Arc<str>>,
    /// What it is driven to; durable.
    pub(super) target: Option<Target>,
    /// What it will be driven to as soon as that is durable.
    pub(super) assigning: Option<Target>,
    /// The revision that it was last driven to, whole and confirmed.
    pub(super) revision: Option<String>,
    /// The desired state that its agent holds.
    pub(super) held: Option<Digest>,
    pub(super) ledger_sequence: Option<u64>,
    pub(super) last_seen: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) failures: u32,
    pub(super) resources: u32,
    pub(super) differing: Vec<String>,
    pub(super) reach: Reach,
    pub(super) progress: Progress,
    pub(super) drift: Option<Drift>,
    /// Runs in a row that found drift.
    pub(super) drift_runs: u32,
    /// Set while it isn't given what the newest revision wants.
    pub(super) wait: Option<WaitReason>,
    /// True if it has no target, and its ledger was read since.
    pub(super) met: bool,
    /// True if the state of its last target can't be made again: its ledger's target is of no use.
    pub(super) blank: bool,
    /// True if another controller drives it.
    pub(super) superseded: bool,
    /// True while its target isn't durable under its new name.
    pub(super) renaming: bool,
    /// True while its records are being deleted.
    pub(super) forgetting: bool,
    pub(super) in_flight: Option<RunId>,
    pub(super) backoff: Backoff,
    /// When its alerts change by time alone.
    pub(super) alert_at: Option<Timestamp>,
    /// The object as others see it, with the times at which conditions changed.
    pub(super) object: Arc<HostObject>,
}

impl HostState {
    /// A host that nothing is known of.
    pub(super) fn new(name: HostName) -> Self {
        let object = HostObject::new(BTreeMap::new(), HostStatus::new(name.clone()));
        Self {
            name,
            labels: BTreeMap::new(),
            mode: HostMode::Driven,
            wanted: Wanted::Unknown,
            head: None,
            target: None,
            assigning: None,
            revision: None,
            held: None,
            ledger_sequence: None,
            last_seen: None,
            last_success: None,
            failures: 0,
            resources: 0,
            differing: Vec::new(),
            reach: Reach::Unknown,
            progress: Progress::Begun,
            drift: None,
            drift_runs: 0,
            wait: None,
            met: false,
            blank: false,
            superseded: false,
            renaming: false,
            forgetting: false,
            in_flight: None,
            backoff: Backoff::default(),
            alert_at: None,
            object: Arc::new(object),
        }
    }

    /// The host as others see it.
    pub fn object(&self) -> &Arc<HostObject> {
        &self.object
    }

    /// The digest that the newest revision wants of a driven host.
    pub(super) fn wanted_digest(&self) -> Option<Digest> {
        match (&self.mode, &self.wanted) {
            (HostMode::Driven, Wanted::State(digest)) => Some(*digest),
            _ => None,
        }
    }

    /// True if the newest revision wants something else of it than its target.
    pub(super) fn is_pending(&self) -> bool {
        self.wanted_digest()
            .is_some_and(|wanted| self.target.as_ref().map(|target| target.digest) != Some(wanted))
    }

    /// True if it may be given a new target: it answers, is ours, and its ledger was read.
    pub(super) fn is_candidate(&self) -> bool {
        self.is_pending()
            && self.assigning.is_none()
            && !self.superseded
            && !self.forgetting
            && !self.renaming
            && self.reach == Reach::Connected
            && (self.target.is_some() || self.met)
    }
}
