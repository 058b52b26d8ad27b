//! The state of one host in the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use plumb_api::report::Retry;
use plumb_api::{Address, Digest, HostName};
use serde::{Deserialize, Serialize};

use super::backlog::Backlog;
use super::backoff::Backoff;
use super::effect::RunId;
use crate::desired::Suspension;
use crate::reason::ConditionReason;
use crate::rollout::RolloutId;
use crate::status::{FailedGiveBack, HostStatus, ResourceFailure, ResourceWait, Target};
use crate::view::HostObject;

/// The treatment of a host by the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HostMode {
    /// The loop reconciles it.
    Driven,
    /// Its manifest suspends it.
    Suspended(Suspension),
    /// Other hosts may refer to it; the loop doesn't contact it.
    Dormant,
    /// Somebody else manages it.
    Unmanaged,
    /// It is no longer in git.
    Released,
}

/// The result of the last attempt to contact a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reachability {
    /// No attempt was made yet.
    Unknown,
    /// The host answered.
    Connected,
    /// The attempt failed.
    Lost {
        /// The reason.
        reason: ConditionReason,
        /// The reason, in a sentence.
        message: String,
    },
}

/// The progress of a host towards its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Progress {
    /// No run has finished since the host was added.
    Begun,
    /// Its suspension is over.
    Resumed,
    /// It has a new target.
    NewTarget,
    /// It was observed and has no target yet.
    Observed,
    /// It is as this revision says.
    Settled(String),
    /// The last run failed or was refused.
    Failed {
        /// The reason.
        reason: ConditionReason,
        /// The reason, in a sentence.
        message: String,
        /// The kind of retry.
        retry: Retry,
    },
}

impl Progress {
    /// True if a retry won't help until somebody changes something.
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

/// Drift, as the last driving run found it. `reason` is one of the reasons of the condition `Drifted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drift {
    /// The result of the drift: found, corrected or left.
    pub reason: ConditionReason,
    /// The addresses, in a sentence.
    pub message: String,
    /// The lines that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The reason why a host doesn't get the target of the newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// Its turn in the rollout comes later.
    Turn,
    /// A rollout whose change it doesn't have is halted; the text says why.
    Halted(Arc<str>),
}

/// The desired state of a host in the newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WantedState {
    /// No revision is loaded yet.
    Unknown,
    /// The state has this digest.
    State(Digest),
    /// The manifests can't be used; the text says why.
    Held(String),
    /// The host isn't in git.
    Nothing,
}

/// The state of one host in the loop.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not the states of one machine
pub struct HostState {
    pub(super) name: HostName,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) mode: HostMode,
    /// The desired state in the newest revision.
    pub(super) wanted: WantedState,
    /// The newest revision.
    pub(super) head: Option<Arc<str>>,
    /// The reason why a newer accepted revision can't be loaded.
    pub(super) newer_unloadable: Option<Arc<str>>,
    /// The durable target.
    pub(super) target: Option<Target>,
    /// The next target, until its write is acknowledged.
    pub(super) assigning: Option<Target>,
    /// The last revision that the host reached completely and confirmed.
    pub(super) revision: Option<String>,
    /// The desired state that its agent holds.
    pub(super) held: Option<Digest>,
    pub(super) ledger_sequence: Option<u64>,
    /// The host's clock minus the controller's, at the last contact.
    pub(super) clock_offset: Option<SignedDuration>,
    pub(super) last_seen: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) failures: u32,
    pub(super) resources: u32,
    pub(super) differing: Vec<String>,
    pub(super) failing: Vec<ResourceFailure>,
    pub(super) waiting: Vec<ResourceWait>,
    pub(super) give_backs: Vec<FailedGiveBack>,
    /// Resources that the next run drops from the host's ledger, by a person's request.
    pub(super) let_go: BTreeSet<Address>,
    pub(super) next_run: Option<Timestamp>,
    pub(super) reach: Reachability,
    pub(super) progress: Progress,
    pub(super) drift: Option<Drift>,
    /// Runs in a row that found drift.
    pub(super) drift_runs: u32,
    /// The troubles of the host that failed no change, as last recorded.
    pub(super) warnings: Vec<String>,
    /// The reason why it doesn't get the target of the newest revision; `None` if it has that target.
    pub(super) wait: Option<WaitReason>,
    /// The changes that it doesn't have yet; `None` if its target is the newest desired state.
    pub(super) backlog: Option<Backlog>,
    /// The rollout that may give it a new target now.
    pub(super) candidate_in: Option<RolloutId>,
    /// True if it has no target and its ledger was read since it lost the last one.
    pub(super) met: bool,
    /// True if the state of its last target can't be recovered, so that its ledger's target is useless too.
    pub(super) blank: bool,
    /// True if another controller drives it.
    pub(super) superseded: bool,
    /// True until its target is durable under its new name.
    pub(super) renaming: bool,
    /// True while its records are being deleted.
    pub(super) forgetting: bool,
    pub(super) in_flight: Option<RunId>,
    pub(super) backoff: Backoff,
    /// The next time at which its alerts change without an event.
    pub(super) alert_at: Option<Timestamp>,
    /// The published object; it holds the transition times of the conditions.
    pub(super) object: Arc<HostObject>,
}

impl HostState {
    /// Creates a host that nothing is known of.
    pub(super) fn new(name: HostName) -> Self {
        let object = HostObject::new(Arc::default(), HostStatus::new(name.clone()));
        Self {
            name,
            labels: Arc::default(),
            mode: HostMode::Driven,
            wanted: WantedState::Unknown,
            head: None,
            newer_unloadable: None,
            target: None,
            assigning: None,
            revision: None,
            held: None,
            ledger_sequence: None,
            clock_offset: None,
            last_seen: None,
            last_success: None,
            failures: 0,
            resources: 0,
            differing: Vec::new(),
            failing: Vec::new(),
            waiting: Vec::new(),
            give_backs: Vec::new(),
            let_go: BTreeSet::new(),
            next_run: None,
            reach: Reachability::Unknown,
            progress: Progress::Begun,
            drift: None,
            drift_runs: 0,
            warnings: Vec::new(),
            wait: None,
            backlog: None,
            candidate_in: None,
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

    /// Returns the published object.
    pub fn object(&self) -> &Arc<HostObject> {
        &self.object
    }

    /// Returns the digest of a driven host in the newest revision.
    pub(super) fn wanted_digest(&self) -> Option<Digest> {
        match (&self.mode, &self.wanted) {
            (HostMode::Driven, WantedState::State(digest)) => Some(*digest),
            _ => None,
        }
    }

    /// True if the newest revision has another desired state for it than its target.
    pub(super) fn is_pending(&self) -> bool {
        self.wanted_digest()
            .is_some_and(|wanted| self.target.as_ref().map(|target| target.digest) != Some(wanted))
    }

    /// True if it may get a new target: it answers, no other controller has it, and its ledger was read.
    pub(super) fn is_candidate(&self) -> bool {
        self.is_pending()
            && self.assigning.is_none()
            && !self.superseded
            && !self.forgetting
            && !self.renaming
            && self.reach == Reachability::Connected
            && (self.target.is_some() || self.met)
    }
}
