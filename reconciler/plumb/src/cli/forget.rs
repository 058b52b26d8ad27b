use plumb_api::HostName;

use super::{ControllerAddress, block_on};
use crate::http::Command;
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Let go of a host that git no longer has
///
/// A host whose manifest was deleted is left as it is, and an alert keeps saying so, because a file
/// that vanished by mistake looks just the same. This ends the alert and drops what the controller
/// remembers of the host. To have a machine cleaned up instead, push `state: retired` for it first.
///
/// Of a host that git still has, only what was known of its ledger is forgotten, and it is met anew: for
/// a machine that was reinstalled or put back from a backup.
#[derive(Debug, clap::Args)]
pub(super) struct Forget {
    /// The host
    host: HostName,

    #[command(flatten)]
    controller: ControllerAddress,
}

impl Forget {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let done = block_on(async { client.tell(&Command::Forget { host: self.host }).await })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
