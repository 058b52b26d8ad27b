//! What the loop takes in and what it asks for: closed lists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::HostName;
use plumb_api::frame::Fence;

use super::FleetRevision;
use super::queue::Trigger;
use super::run::{RunMode, RunReport};
use super::source::{RollbackRecord, SourcePoll};
use crate::alert::Alert;
use crate::desired::{DesiredState, HostIntent};
use crate::ports::{AlertError, StoreError, Write};
use crate::status::Target;
use crate::view::EventRecord;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The loop begins.
    Started,
    /// The time of the last [`Effect::WakeAt`] has come.
    Woke,
    /// A [`Effect::FetchSource`] is finished.
    SourcePolled(Box<SourcePoll>),
    /// A [`Effect::LoadRevision`] is finished; `None` if the revision can't be loaded.
    RevisionLoaded {
        /// The commit.
        commit: String,
        /// The revision.
        revision: Option<Arc<FleetRevision>>,
    },
    /// A [`Effect::StartRun`] is finished.
    RunEnded(Box<RunReport>),
    /// A [`Effect::Persist`] is durable, or failed as a whole.
    Persisted {
        /// Which.
        id: PersistId,
        /// The result.
        result: Result<(), StoreError>,
    },
    /// An Alertmanager answered a post.
    AlertsPosted {
        /// Its address.
        sink: String,
        /// Its answer.
        result: Result<(), AlertError>,
    },
    /// The address of an Alertmanager that the fleet names can't be used; why.
    AlertmanagerInvalid(String),
    /// The branch may have moved.
    Notified,
    /// A person wants these hosts reconciled now, or all of them if none is named.
    ReconcileAsked {
        /// The hosts.
        hosts: Vec<HostName>,
        /// Who gets the answer.
        request: RequestId,
    },
    /// A person wants a host forgotten.
    ForgetAsked {
        /// The host.
        host: HostName,
        /// Who gets the answer.
        request: RequestId,
    },
    /// Nothing new may begin.
    DrainAsked,
}

/// Something that the shell does. Effects are performed in their order.
#[derive(Debug)]
pub enum Effect {
    /// Write to the store, whole or not at all, and answer with [`Event::Persisted`]. What follows from
    /// the write is asked for only after that answer.
    Persist {
        /// Names the answer.
        id: PersistId,
        /// The writes.
        writes: Vec<Write>,
    },
    /// Run on a host.
    StartRun(Box<StartRun>),
    /// Fetch and verify the branch.
    FetchSource(Box<PollRequest>),
    /// Load an older accepted revision that hosts are still driven to.
    LoadRevision {
        /// The commit.
        commit: String,
        /// The newest accepted commit; the older one must lie below it.
        accepted: String,
    },
    /// Tell people of something.
    Record(EventRecord),
    /// Send these alerts to every Alertmanager.
    PostAlerts(Vec<Alert>),
    /// Send alerts to these Alertmanagers of the fleet, beside the configured ones.
    FollowAlertmanagers(Vec<String>),
    /// Send [`Event::Woke`] at this time; it replaces the time that was set before.
    WakeAt(Timestamp),
    /// Answer a request.
    Answer {
        /// Whose.
        request: RequestId,
        /// The hosts that it concerns, or why it can't be done.
        answer: Result<Vec<HostName>, CommandError>,
    },
}

/// Names a write until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Names a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Names a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A run on a host.
#[derive(Debug)]
pub struct StartRun {
    /// Names the run.
    pub id: RunId,
    /// What made the host due.
    pub trigger: Trigger,
    /// How the host is reached and what is desired of it.
    pub intent: Arc<HostIntent>,
    /// The revision and digest of `intent.desired`.
    pub target: Target,
    /// Whether anything may be changed.
    pub mode: RunMode,
    /// The desired state that the agent holds.
    pub base: Option<Arc<DesiredState>>,
    /// The ledger's sequence when last seen.
    pub ledger_sequence: Option<u64>,
    /// Who drives the host.
    pub fence: Fence,
    /// Signed rollbacks that were accepted.
    pub rollbacks: Vec<RollbackRecord>,
    /// The revisions whose contents the specs name.
    pub contents: Vec<Arc<FleetRevision>>,
}

/// What a poll of the source must know. Commits and keys are in their text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRequest {
    /// The last commit that was accepted from the configured introduction.
    pub floor: Option<String>,
    /// The last commit that was accepted from another introduction; it must be on what this one leads to.
    pub bound: Option<String>,
    /// When commits and tags were first seen.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// Keys that signed tags took authority away from, wherever those tags are now.
    pub revoked_before: Vec<String>,
    /// The revision that is loaded already.
    pub loaded: Option<String>,
}

/// Why a request can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such host.
    #[error("the fleet has no host {0}")]
    NoSuchHost(HostName),
    /// A run works on it at this moment.
    #[error("{0} is being worked on; try again when that is over")]
    Busy(HostName),
    /// The store failed.
    #[error("the controller's state can't be written: {0}")]
    Store(#[from] StoreError),
    /// The controller stops.
    #[error("the controller is stopping")]
    Stopping,
}

impl CommandError {
    /// What would help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchHost(_) => Some("`plumb get hosts` lists them"),
            Self::Store(_) => Some("see whether the disk of its state folder is full"),
            Self::Busy(_) | Self::Stopping => None,
        }
    }
}

/// A phase of a run, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunPhase {
    /// Opening the session.
    Connect,
    /// Comparing the host with its target.
    Observe,
    /// Making the changes.
    Apply,
}

impl RunPhase {
    /// The phase as metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Observe => "observe",
            Self::Apply => "apply",
        }
    }
}

/// How long each phase of a run took, in their order.
pub type PhaseTimes = Vec<(RunPhase, Duration)>;
