//! What others see of a running controller, and ask of it.

use std::sync::Arc;

use plumb_api::HostName;
use plumb_core::fleet::CommandError;
use plumb_core::ports::Clock;
use plumb_core::view::{EventRecord, FleetView, HostObject};
use tokio::sync::{mpsc, oneshot, watch};

/// The answer to a command: the hosts that it concerns.
pub(crate) type Answer = Result<Vec<HostName>, CommandError>;

/// Something that is asked of a controller.
#[derive(Debug)]
pub(crate) enum Command {
    Notify,
    Reconcile(Vec<HostName>, oneshot::Sender<Answer>),
    Forget(HostName, oneshot::Sender<Answer>),
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

/// A running controller. Clones are the same one.
#[derive(Clone)]
pub struct Handle {
    pub(crate) view: watch::Receiver<Arc<FleetView>>,
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
    /// The last published view.
    pub fn view(&self) -> Arc<FleetView> {
        self.view.borrow().clone()
    }

    /// The last published view, with the time of this moment.
    pub fn fleet(&self) -> FleetView {
        FleetView {
            now: self.clock.now(),
            ..(*self.view()).clone()
        }
    }

    /// A host.
    pub fn host(&self, name: &HostName) -> Option<Arc<HostObject>> {
        self.view.borrow().host(name).cloned()
    }

    /// The newest records, oldest first; of one host, if it is named.
    pub fn events(&self, host: Option<&HostName>, limit: usize) -> Vec<EventRecord> {
        self.view.borrow().records.newest(host, limit)
    }

    /// True if the source was read and something accepted is loaded.
    pub fn is_ready(&self) -> bool {
        self.view.borrow().ready
    }

    /// Says that the branch may have moved: it is fetched now.
    pub fn notify(&self) -> Result<(), CommandError> {
        self.commands
            .send(Command::Notify)
            .map_err(|_| CommandError::Stopping)
    }

    /// Reconciles these hosts now, or all of them when none is named; returns those that it concerns.
    pub async fn reconcile(&self, hosts: Vec<HostName>) -> Answer {
        self.ask(|answer| Command::Reconcile(hosts, answer)).await
    }

    /// Drops a host that git no longer has; of one that git has, forgets what was known of its ledger,
    /// so that it is met as if for the first time.
    pub async fn forget(&self, host: HostName) -> Result<(), CommandError> {
        self.ask(|answer| Command::Forget(host, answer)).await?;
        Ok(())
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Answer>) -> Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(command(answer))
            .map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Begins nothing new; what runs ends, and then the controller.
    pub fn drain(&self) {
        self.stop.send_if_modified(|stop| {
            let first = *stop < Stop::Drain;
            *stop = (*stop).max(Stop::Drain);
            first
        });
    }

    /// Leaves what runs where it is: agents roll it forward at the next contact.
    pub fn abort(&self) {
        self.stop.send_replace(Stop::Abort);
    }
}
