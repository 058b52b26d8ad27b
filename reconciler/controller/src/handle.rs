//! What others see of a running controller, and say to it.

use std::sync::Arc;

use plumb_api::HostName;
use plumb_core::ports::Clock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::Event;
use crate::metrics::MetricsSnapshot;
use crate::view::{AlertView, FleetView, HostView, RevisionView, SourceView};
use crate::world::{Shared, host_view};

/// Something that is said to a controller.
#[derive(Debug)]
pub(crate) enum Command {
    Notify,
    Reconcile(
        Vec<HostName>,
        oneshot::Sender<Result<Vec<HostName>, CommandError>>,
    ),
    Forget(HostName, oneshot::Sender<Result<(), CommandError>>),
}

/// How far a controller is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// Nothing new begins; what runs ends.
    Drain,
    /// What runs is left where it is.
    Abort,
}

/// Why something that was said can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such host.
    #[error("the fleet has no host {0}")]
    NoSuchHost(HostName),
    /// It is worked on at this moment.
    #[error("{0} is being worked on; try again when that is over")]
    Busy(HostName),
    /// The controller stops.
    #[error("the controller is stopping")]
    Stopping,
}

impl CommandError {
    /// What would help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchHost(_) => Some("`plumb get hosts` lists them"),
            Self::Busy(_) | Self::Stopping => None,
        }
    }
}

/// A running controller. Clones are the same one.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Shared,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) stop: watch::Sender<Stop>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Everything that it knows, at one moment.
    pub fn fleet(&self) -> FleetView {
        self.shared.read().fleet_view(self.clock.now())
    }

    /// The repository as it sees it.
    pub fn source(&self) -> SourceView {
        self.shared.read().source_view()
    }

    /// The hosts, by name.
    pub fn hosts(&self) -> Vec<HostView> {
        self.shared.read().host_views()
    }

    /// A host.
    pub fn host(&self, name: &HostName) -> Option<HostView> {
        self.shared.read().hosts.get(name).map(host_view)
    }

    /// The newest revisions and what became of them, newest first.
    pub fn revisions(&self) -> Vec<RevisionView> {
        self.shared.read().record.revisions.clone()
    }

    /// The newest events, oldest first; of one host, if it is named.
    pub fn events(&self, host: Option<&HostName>, limit: usize) -> Vec<Event> {
        self.shared.read().events.newest(host, limit)
    }

    /// The alerts that fire.
    pub fn alerts(&self) -> Vec<AlertView> {
        self.shared.read().alerts()
    }

    /// What is counted and measured.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.read().metrics_snapshot()
    }

    /// Whether the source was read and something accepted is loaded.
    pub fn is_ready(&self) -> bool {
        self.shared.read().source.accepted.is_some()
    }

    /// The branch may have moved: fetch now.
    pub fn notify(&self) -> Result<(), CommandError> {
        self.commands
            .send(Command::Notify)
            .map_err(|_| CommandError::Stopping)
    }

    /// Looks at these hosts now, at all of them when none is named; those that it concerns.
    pub async fn reconcile(&self, hosts: Vec<HostName>) -> Result<Vec<HostName>, CommandError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Reconcile(hosts, answer))
            .map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Stops speaking of a host that git no longer has; of one that git has, forgets what was known
    /// of its ledger, so that it is met anew.
    pub async fn forget(&self, host: HostName) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(Command::Forget(host, answer))
            .map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Nothing new begins; what runs ends, and then the controller.
    pub fn drain(&self) {
        self.stop.send_if_modified(|stop| {
            let first = *stop < Stop::Drain;
            *stop = (*stop).max(Stop::Drain);
            first
        });
    }

    /// What runs is left where it is: agents roll it forward at the next contact.
    pub fn abort(&self) {
        self.stop.send_replace(Stop::Abort);
    }
}
