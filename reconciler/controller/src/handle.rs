//! Access to a running controller: its published view, and commands to it.

use std::sync::Arc;

use plumb_api::{Address, HostName};
use plumb_core::fleet::CommandError;
use plumb_core::ports::Clock;
use plumb_core::view::{EventRecord, FleetView, HostObject};
use tokio::sync::{mpsc, oneshot, watch};

/// The result of a command: the hosts that it affects, or the error.
pub(crate) type Answer = Result<Vec<HostName>, CommandError>;

/// A command to a controller.
#[derive(Debug)]
pub(crate) enum Command {
    Notify,
    Reconcile(Vec<HostName>, oneshot::Sender<Answer>),
    Forget(HostName, oneshot::Sender<Answer>),
    LetGo(HostName, Address, oneshot::Sender<Answer>),
}

/// The kind of stop that was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// The controller begins no new work and stops when all runs have finished.
    Drain,
    /// The controller cancels all runs and stops at once.
    Abort,
}

/// Access to a running controller. Clones belong to the same controller.
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
    /// Returns the view that the controller published last.
    pub fn view(&self) -> Arc<FleetView> {
        self.view.borrow().clone()
    }

    /// Returns the view that the controller published last, with the current time.
    pub fn fleet(&self) -> FleetView {
        FleetView {
            now: self.clock.now(),
            ..(*self.view()).clone()
        }
    }

    /// Returns a host of the last published view.
    pub fn host(&self, name: &HostName) -> Option<Arc<HostObject>> {
        self.view.borrow().host(name).cloned()
    }

    /// Returns at most `limit` of the newest event records, oldest first; only those of `host`, if given.
    pub fn events(&self, host: Option<&HostName>, limit: usize) -> Vec<EventRecord> {
        self.view.borrow().records.newest(host, limit)
    }

    /// True if the controller has loaded an accepted revision.
    pub fn is_ready(&self) -> bool {
        self.view.borrow().loaded.is_some()
    }

    /// Tells the controller that the branch may have moved, so that it polls the source now.
    pub fn notify(&self) -> Result<(), CommandError> {
        self.commands
            .send(Command::Notify)
            .map_err(|_| CommandError::Stopping)
    }

    /// Reconciles these hosts now, or all hosts if the list is empty. Returns the hosts that are reconciled.
    pub async fn reconcile(&self, hosts: Vec<HostName>) -> Answer {
        self.ask(|answer| Command::Reconcile(hosts, answer)).await
    }

    /// Forgets a host that has left git. If git still has the host, only the state that the controller stores
    /// about it is dropped, and the controller reads the host's ledger as at first contact.
    pub async fn forget(&self, host: HostName) -> Result<(), CommandError> {
        self.ask(|answer| Command::Forget(host, answer)).await?;
        Ok(())
    }

    /// Removes a resource that can't be given back from a host's ledger. A run that does so begins now.
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

    /// Begins no new work and stops the controller when all runs have finished.
    pub fn drain(&self) {
        self.stop.send_if_modified(|stop| {
            let first = *stop < Stop::Drain;
            *stop = (*stop).max(Stop::Drain);
            first
        });
    }

    /// Cancels all runs and stops the controller at once. An agent completes an interrupted apply at its next
    /// contact.
    pub fn abort(&self) {
        self.stop.send_replace(Stop::Abort);
    }
}
