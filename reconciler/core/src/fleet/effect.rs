//! The inputs and outputs of the main loop: closed lists of events and effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::frame::Fence;
use plumb_api::{Address, AlertmanagerUrl, HostName};

use super::FleetRevision;
use super::queue::Trigger;
use super::run::{RunMode, RunReport};
use super::source::{RollbackRecord, SourcePoll};
use crate::alert::Alert;
use crate::desired::{DesiredState, HostIntent};
use crate::ports::{AlertError, Posted, StoreError, Write};
use crate::status::Target;
use crate::view::EventRecord;

/// An input of the main loop: something that happened.
#[derive(Debug)]
pub enum Event {
    /// The loop starts.
    Started,
    /// The time of the last [`Effect::WakeAt`] has come.
    Woke,
    /// An [`Effect::FetchSource`] has finished.
    SourcePolled(Box<SourcePoll>),
    /// An [`Effect::LoadRevision`] has finished; `None` if the revision can't be loaded.
    RevisionLoaded {
        /// The commit.
        commit: String,
        /// The revision.
        revision: Option<Arc<FleetRevision>>,
    },
    /// An [`Effect::StartRun`] has finished.
    RunEnded(Box<RunReport>),
    /// An [`Effect::Persist`] is durable, or failed as a whole.
    Persisted {
        /// The write.
        id: PersistId,
        /// The result.
        result: Result<(), StoreError>,
    },
    /// An attempt to post alerts to an Alertmanager has finished.
    AlertsPosted {
        /// The Alertmanager's address.
        sink: AlertmanagerUrl,
        /// The Alertmanager's answer, or the error.
        result: Result<Posted, AlertError>,
    },
    /// The address of an Alertmanager in the Fleet manifest can't be used; the text says why.
    AlertmanagerInvalid(String),
    /// Somebody reported that the branch may have moved.
    Notified,
    /// A person requested to reconcile these hosts now, or all hosts if the list is empty.
    ReconcileAsked {
        /// The hosts.
        hosts: Vec<HostName>,
        /// The request to answer.
        request: RequestId,
    },
    /// A person requested to forget a host.
    ForgetAsked {
        /// The host.
        host: HostName,
        /// The request to answer.
        request: RequestId,
    },
    /// A person requested to drop a resource from a host's ledger, because Plumb can't remove or restore it.
    LetGoAsked {
        /// The host.
        host: HostName,
        /// The resource.
        address: Address,
        /// The request to answer.
        request: RequestId,
    },
    /// A drain was requested: no new poll or run may begin.
    DrainAsked,
}

/// An action that the main loop requests from its shell, the code around it. The shell performs effects in
/// order.
#[derive(Debug)]
pub enum Effect {
    /// Write to the store, all or nothing, and answer with [`Event::Persisted`]. The loop requests the effects
    /// that depend on the write only after that answer.
    Persist {
        /// The id that the answer carries.
        id: PersistId,
        /// The writes.
        writes: Vec<Write>,
    },
    /// Start a run on a host.
    StartRun(Box<StartRun>),
    /// Fetch and verify the branch.
    FetchSource(Box<PollRequest>),
    /// Load an older accepted revision that is still the target of a host.
    LoadRevision {
        /// The commit.
        commit: String,
        /// The newest accepted commit; the older one must be its ancestor.
        accepted: String,
    },
    /// Log this record.
    Record(EventRecord),
    /// Send these alerts to every Alertmanager.
    PostAlerts {
        /// The alerts.
        alerts: Vec<Alert>,
        /// The time when the alerts were created, by the controller's clock. The times in the alerts refer to
        /// the same clock.
        now: Timestamp,
    },
    /// Post alerts to these Alertmanagers from the Fleet manifest, in addition to those in the controller's
    /// configuration.
    FollowAlertmanagers(Vec<AlertmanagerUrl>),
    /// Send [`Event::Woke`] at this time, which replaces the time of an earlier `WakeAt`.
    WakeAt(Timestamp),
    /// Answer a request.
    Answer {
        /// The request.
        request: RequestId,
        /// The hosts that the request concerns, or the reason why it failed.
        answer: Result<Vec<HostName>, CommandError>,
    },
}

/// Identifies a write until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Identifies a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Identifies a request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The input of a run on a host.
#[derive(Debug)]
pub struct StartRun {
    /// The id of the run.
    pub id: RunId,
    /// The reason why the host was due.
    pub trigger: Trigger,
    /// The desired state of the host and the ways to reach it.
    pub intent: Arc<HostIntent>,
    /// The target: the revision and the digest of the desired state to apply.
    pub target: Target,
    /// The mode: observe only, or apply changes too.
    pub mode: RunMode,
    /// The desired state that the agent has stored; the next one is sent as a delta from it.
    pub base: Option<Arc<DesiredState>>,
    /// The sequence number of the host's ledger at the last contact.
    pub ledger_sequence: Option<u64>,
    /// The fleet, controller and epoch that the host checks.
    pub fence: Fence,
    /// The accepted signed rollbacks.
    pub rollbacks: Vec<RollbackRecord>,
    /// Time within which a new connection must confirm changes that could cut the controller off.
    pub confirm_within: Duration,
    /// Resources to drop from the host's ledger without changing them, unless they are desired.
    pub let_go: Vec<Address>,
    /// The revisions that contain the contents that the specs refer to.
    pub contents: Vec<Arc<FleetRevision>>,
}

/// The input of a poll of the source. Commits and keys are in their text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRequest {
    /// The last accepted commit, if it was verified from the configured introduction.
    pub floor: Option<String>,
    /// The last accepted commit, if it was verified from another introduction. The chain from the configured
    /// introduction must contain it.
    pub bound: Option<String>,
    /// The times at which the controller first saw each commit and tag.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// Keys revoked by signed tags, even if those tags no longer exist.
    pub revoked_before: Vec<String>,
    /// The commit of the revision that is already loaded.
    pub loaded: Option<String>,
}

/// The error of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No host has this name.
    #[error("the fleet has no host {0}")]
    NoSuchHost(HostName),
    /// The resource isn't among those that Plumb failed to remove or restore on the host.
    #[error("{0} has no {1} whose original waits to be restored")]
    NotLeaving(HostName, Address),
    /// A run or a write for the host is in progress.
    #[error("{0} is busy: a run or a write is in progress")]
    Busy(HostName),
    /// The store failed.
    #[error("the controller's state can't be written: {0}")]
    Store(#[from] StoreError),
    /// The controller is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

impl CommandError {
    /// Returns advice on this error, if there is any.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchHost(_) => Some("run `plumb get hosts` to list the hosts"),
            Self::NotLeaving(..) => Some(
                "run `plumb describe host HOST` to list those that do; to remove a desired resource, change its manifest",
            ),
            Self::Store(_) => Some("check that the disk of the state folder isn't full"),
            Self::Busy(_) => Some("try again when it has ended"),
            Self::Stopping => None,
        }
    }
}

/// A phase of a run, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunPhase {
    /// Opening the session.
    Connect,
    /// Observing the host and comparing it with its target.
    Observe,
    /// Applying the changes.
    Apply,
    /// Connecting again to confirm changes that could have cut the controller off.
    Confirm,
    /// Waiting on the host until started units have settled.
    Settle,
}

impl RunPhase {
    /// Returns the phase as metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Observe => "observe",
            Self::Apply => "apply",
            Self::Confirm => "confirm",
            Self::Settle => "settle",
        }
    }
}

/// The duration of each phase of a run, in their order.
pub type PhaseTimes = Vec<(RunPhase, Duration)>;
