//! Implements the HTTP server's [`ControllerApi`] for a running controller.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_controller::{CommandError, Handle};
use plumb_core::fleet::MetricsSnapshot;

use crate::http::{CommandRefusal, CommandResult, ControllerApi, ControllerCommand, Event, Fleet};

/// Maximum number of events in one response.
const EVENTS: usize = 200;

/// Implements [`ControllerApi`], which HTTP serves, on top of a running controller.
pub(crate) struct RunningController {
    handle: Handle,
}

impl RunningController {
    /// Wraps the handle of a running controller.
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl ControllerApi for RunningController {
    fn fleet(&self) -> BoxFuture<'_, Fleet> {
        std::future::ready(self.handle.fleet()).boxed()
    }

    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>> {
        std::future::ready(self.handle.events(host.as_ref(), EVENTS)).boxed()
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.handle.view().metrics()
    }

    fn ready(&self) -> bool {
        self.handle.is_ready()
    }

    fn execute(
        &self,
        command: ControllerCommand,
    ) -> BoxFuture<'_, Result<CommandResult, CommandRefusal>> {
        async move {
            let refused = |error: CommandError| CommandRefusal {
                hint: error.hint().map(str::to_owned),
                message: error.to_string(),
            };
            match command {
                ControllerCommand::Notify => self.handle.notify().map_err(refused).map(|()| CommandResult {
                    message: "fetching".to_owned(),
                    hosts: Vec::new(),
                }),
                ControllerCommand::Reconcile { hosts } => {
                    let hosts = self.handle.reconcile(hosts).await.map_err(refused)?;
                    let message = match hosts.as_slice() {
                        [] => "no hosts to reconcile".to_owned(),
                        [one] => format!("reconciling {one}"),
                        many => format!("reconciling {} hosts", many.len()),
                    };
                    Ok(CommandResult { message, hosts })
                }
                ControllerCommand::Forget {
                    host,
                    address: Some(address),
                } => {
                    let letting = self.handle.let_go(host.clone(), address.clone());
                    letting.await.map_err(refused)?;
                    Ok(CommandResult {
                        message: format!("{host} drops {address} from its ledger at a run that begins now; it stays as it is"),
                        hosts: vec![host],
                    })
                }
                ControllerCommand::Forget {
                    host,
                    address: None,
                } => {
                    self.handle.forget(host.clone()).await.map_err(refused)?;
                    // If the host is still in git, the controller drops only its record of the host's ledger.
                    let message = match self.handle.host(&host) {
                        None => format!("forgot {host}"),
                        Some(_) => format!("forgot the ledger of {host}; the host is in git, so the controller keeps it and contacts it as if for the first time"),
                    };
                    Ok(CommandResult {
                        message,
                        hosts: vec![host],
                    })
                }
            }
        }
        .boxed()
    }
}
