use plumb_api::{Address, HostName};

use super::{ControllerAddress, block_on};
use crate::http::Command;
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Let go of a host that git no longer has, or of one resource
///
/// A host whose manifest was deleted is left as it is, and an alert keeps saying so, because a file
/// that vanished by mistake looks just the same. This ends the alert and drops what the controller
/// remembers of the host. To have a machine cleaned up instead, push `state: retired` for it first.
///
/// Of a host that git still has, only what was known of its ledger is forgotten, and it is met anew: for
/// a machine that was reinstalled or put back from a backup.
///
/// With an address, only that resource is let go: one that left git and can't be given back. It stays on
/// the host as it is. `plumb describe host HOST` lists those that wait.
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
        let command = Command::Forget {
            host: self.host,
            address: self.address,
        };
        let done = block_on(async { client.tell(&command).await })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
