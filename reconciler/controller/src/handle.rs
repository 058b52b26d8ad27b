//! The handle of a running controller: its view, and commands to it.

use std::sync::Arc;

use plumb_api::{Address, HostName};
use plumb_core::fleet::CommandError;
use plumb_core::ports::Clock;
use plumb_core::view::{EventRecord, FleetView, HostObject};
use tokio::sync::{mpsc, oneshot, watch};

/// The answer to a command: the hosts that it concerns, or the error.
pub(crate) type Answer = Result<Vec<HostName>, CommandError>;

/// A command to a controller.
#[derive(Debug)]
pub(crate) enum Command {
    Notify,
    Reconcile(Vec<HostName>, oneshot::Sender<Answer>),
    Forget(HostName, oneshot::Sender<Answer>),
    LetGo(HostName, Address, oneshot::Sender<Answer>),
}

/// The requested kind of stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// The controller begins nothing new and waits for the end of its runs.
    Drain,
    /// The controller drops its runs at once.
    Abort,
}

/// A handle of a running controller. Clones belong to the same controller.
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
    /// Returns the last published view.
    pub fn view(&self) -> Arc<FleetView> {
        self.view.borrow().clone()
    }

    /// Returns the last published view, with the current time.
    pub fn fleet(&self) -> FleetView {
        FleetView {
            now: self.clock.now(),
            ..(*self.view()).clone()
        }
    }

    /// Returns a host.
    pub fn host(&self, name: &HostName) -> Option<Arc<HostObject>> {
        self.view.borrow().host(name).cloned()
    }

    /// Returns the newest records, oldest first; only those of `host`, if given.
    pub fn events(&self, host: Option<&HostName>, limit: usize) -> Vec<EventRecord> {
        self.view.borrow().records.newest(host, limit)
    }

    /// True if an accepted revision is loaded.
    pub fn is_ready(&self) -> bool {
        self.view.borrow().loaded.is_some()
    }

    /// Reports that the branch may have moved, so that it is fetched now.
    pub fn notify(&self) -> Result<(), CommandError> {
        self.commands
            .send(Command::Notify)
            .map_err(|_| CommandError::Stopping)
    }

    /// Reconciles these hosts now, or all of them if the list is empty; returns the hosts that it concerns.
    pub async fn reconcile(&self, hosts: Vec<HostName>) -> Answer {
        self.ask(|answer| Command::Reconcile(hosts, answer)).await
    }

    /// Forgets a host. If git still has it, only its stored state is dropped, and its ledger is read as at
    /// first contact.
    pub async fn forget(&self, host: HostName) -> Result<(), CommandError> {
        self.ask(|answer| Command::Forget(host, answer)).await?;
        Ok(())
    }

    /// Drops a resource that can't be given back from a host's ledger, at a run that begins now.
    pub async fn let_go(&self, host: HostName, address: Address) -> Result<(), CommandError> {
        self.ask(|answer| Command::LetGo(host, address, answer))
            .await?;
        Ok(())
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Answer>) -> Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(command(answer))
            .map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// Begins nothing new; the controller stops when its runs have ended.
    pub fn drain(&self) {
        self.stop.send_if_modified(|stop| {
            let first = *stop < Stop::Drain;
            *stop = (*stop).max(Stop::Drain);
            first
        });
    }

    /// Stops at once and drops the runs; agents complete an interrupted apply at the next contact.
    pub fn abort(&self) {
        self.stop.send_replace(Stop::Abort);
    }
}
