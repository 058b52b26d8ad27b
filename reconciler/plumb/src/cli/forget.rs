use plumb_api::{Address, HostName};

use crate::cli::controller_address::ControllerAddress;
use crate::http::ControllerCommand;
use crate::output::Shell;
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Forget a host that was deleted from git, or one resource
///
/// A host whose manifest was deleted stays as it is, and an alert keeps firing, because the file may
/// have been deleted by mistake. This command ends the alert and drops the controller's record of the
/// host. To clean up the machine, push `state: retired` before you delete the manifest.
///
/// If the host is still in git, the command drops only the record of its ledger, and the controller
/// contacts the host as if for the first time. Use this after a machine was reinstalled or restored
/// from a backup.
///
/// With an address, the command drops only that resource: one that git dropped and that can't be given
/// back. It stays on the host as it is. `plumb describe host HOST` lists those that wait.
#[derive(Debug, clap::Args)]
pub(super) struct Forget {
    /// The host
    host: HostName,

    /// A resource that can't be given back, such as service:nginx
    address: Option<Address>,

    #[command(flatten)]
    controller: ControllerAddress,
}

impl Forget {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let command = ControllerCommand::Forget {
            host: self.host,
            address: self.address,
        };
        let done = block_on(async { client.execute(&command).await })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
