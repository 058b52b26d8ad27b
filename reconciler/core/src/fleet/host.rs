//! The state of one host in the main loop.

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
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::rollout::RolloutId;
use crate::status::{FailedGiveBack, HostStatus, ResourceFailure, ResourceWait, Target};
use crate::view::HostObject;

/// The way in which the main loop treats a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum HostMode {
    /// The loop reconciles it.
    Driven,
    /// Its manifest suspends it.
    Suspended(Suspension),
    /// The loop doesn't contact it. Other hosts' manifests may refer to it.
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
        /// The reason, for people.
        #[serde(flatten)]
        message: Message,
    },
}

/// The progress of a host towards its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Progress {
    /// No run has finished since the host was added, or since the loop began to drive it again.
    Begun,
    /// Its suspension is over.
    Resumed,
    /// It has a new target.
    NewTarget,
    /// The last run only observed it.
    Observed,
    /// It matches this revision.
    Settled(String),
    /// The last run failed or was refused.
    Failed {
        /// The reason.
        reason: ConditionReason,
        /// The reason, for people.
        #[serde(flatten)]
        message: Message,
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

/// Drift that the last driving run found. `reason` is one of the reasons of the condition `Drifted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drift {
    /// The state of the drift: none, uncorrected, corrected or recurring.
    pub reason: ConditionReason,
    /// A sentence with the drifted addresses, and the lines that differ.
    #[serde(flatten)]
    pub message: Message,
}

/// The reason why a host doesn't get a target of the newest revision yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// Its turn in the rollout comes later.
    Turn,
    /// A rollout that contains a change for the host is halted; the text says why.
    Halted(Arc<str>),
}

/// The desired state of a host in the newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WantedState {
    /// No revision is loaded yet.
    Unknown,
    /// The state has this digest.
    State(Digest),
    /// The manifests can't be used; the message says why.
    Held(Message),
    /// The host isn't in git.
    Nothing,
}

/// The state of one host in the main loop.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not the states of one machine
pub struct HostState {
    pub(super) name: HostName,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) mode: HostMode,
    /// The desired state in the newest revision.
    pub(super) wanted: WantedState,
    /// The commit of the newest revision that contains the host.
    pub(super) head: Option<Arc<str>>,
    /// The reason why a newer accepted revision can't be loaded.
    pub(super) newer_unloadable: Option<Arc<Message>>,
    /// The current target, which is durable.
    pub(super) target: Option<Target>,
    /// The next target, until the store acknowledges it.
    pub(super) assigning: Option<Target>,
    /// The newest revision whose desired state the host has reached completely.
    pub(super) revision: Option<String>,
    /// Digest of the desired state that the agent has stored.
    pub(super) held: Option<Digest>,
    pub(super) ledger_sequence: Option<u64>,
    /// The host's clock minus the controller's, at the last contact.
    pub(super) clock_offset: Option<SignedDuration>,
    /// The reasons why the host needs a reboot, at the last contact.
    pub(super) reboot: Vec<String>,
    pub(super) last_seen: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    pub(super) failures: u32,
    pub(super) resources: u32,
    pub(super) differing: Vec<String>,
    pub(super) failing: Vec<ResourceFailure>,
    pub(super) waiting: Vec<ResourceWait>,
    pub(super) give_backs: Vec<FailedGiveBack>,
    /// Resources that a person asked to drop from the host's ledger; the next run does so.
    pub(super) let_go: BTreeSet<Address>,
    pub(super) next_run: Option<Timestamp>,
    pub(super) reach: Reachability,
    pub(super) progress: Progress,
    pub(super) drift: Option<Drift>,
    /// Number of runs in a row that found drift.
    pub(super) drift_runs: u32,
    /// The warnings of the last run that changed something, each of which was recorded once.
    pub(super) warnings: Vec<String>,
    /// The reason why the host doesn't get a target of the newest revision yet; `None` if it needs none.
    pub(super) wait: Option<WaitReason>,
    /// The changes that the host hasn't received yet; `None` if its target is the newest desired state.
    pub(super) backlog: Option<Backlog>,
    /// The rollout that may assign a new target to the host now.
    pub(super) candidate_in: Option<RolloutId>,
    /// True if the host has no target, and a run found none in its ledger either.
    pub(super) met: bool,
    /// True if the desired state of the host's last target can't be recovered. The target in its ledger then
    /// only counts if it is the newest desired state.
    pub(super) blank: bool,
    /// True if another controller drives the host.
    pub(super) superseded: bool,
    /// True until the host's target is durable under its new name.
    pub(super) renaming: bool,
    /// True while the host's records are being deleted.
    pub(super) forgetting: bool,
    pub(super) in_flight: Option<RunId>,
    pub(super) backoff: Backoff,
    /// The next time at which the host's alerts must be evaluated even if no event arrives.
    pub(super) alert_at: Option<Timestamp>,
    /// The published object, which also stores the transition times of the conditions.
    pub(super) object: Arc<HostObject>,
}

impl HostState {
    /// Creates the state of a host about which nothing is known.
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
            reboot: Vec::new(),
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

    /// Returns the digest of the host's desired state in the newest revision; `None` if the host isn't driven
    /// or the state isn't known.
    pub(super) fn wanted_digest(&self) -> Option<Digest> {
        match (&self.mode, &self.wanted) {
            (HostMode::Driven, WantedState::State(digest)) => Some(*digest),
            _ => None,
        }
    }

    /// True if the host's desired state in the newest revision differs from its target.
    pub(super) fn is_pending(&self) -> bool {
        self.wanted_digest()
            .is_some_and(|wanted| self.target.as_ref().map(|target| target.digest) != Some(wanted))
    }

    /// True if the host may get a new target: it is pending and reachable, no other controller drives it, no
    /// record of it is being written, and its ledger was read if it has no target.
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
