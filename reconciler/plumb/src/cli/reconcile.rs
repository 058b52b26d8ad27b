use super::{ControllerAddress, Selection, block_on, select_some};
use crate::http::Command;
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Look at hosts now instead of at their next turn
///
/// Each chosen host is observed and, if it isn't as its target says, driven there. Nothing new is
/// accepted by this; `plumb notify` fetches. Backoff after failures is skipped once.
#[derive(Debug, clap::Args)]
pub(super) struct Reconcile {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    controller: ControllerAddress,
}

impl Reconcile {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let done = block_on(async {
            let fleet = client.fleet().await?;
            let hosts = select_some(&self.selection, &fleet.hosts)?;
            let hosts = hosts.into_iter().map(|host| host.metadata.name.clone());
            let command = Command::Reconcile {
                hosts: hosts.collect(),
            };
            client.tell(&command).await
        })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
