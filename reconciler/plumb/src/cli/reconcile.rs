use crate::cli::controller_address::ControllerAddress;
use crate::cli::selection::{Selection, select_some};
use crate::http::ControllerCommand;
use crate::output::Shell;
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Reconcile hosts now instead of at their next turn
///
/// The controller observes each chosen host and drives it to its target. It skips the wait after
/// failures once. It doesn't fetch; use `plumb notify` for that.
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
            let command = ControllerCommand::Reconcile {
                hosts: hosts.collect(),
            };
            client.execute(&command).await
        })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
