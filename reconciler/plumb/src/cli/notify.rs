use super::{ControllerAddress, block_on};
use crate::http::Command;
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Tell the controller that the branch may have moved
///
/// It fetches at once instead of at the next poll. What it is told is only that: which commit it
/// takes is decided by what it fetches and by the trust policy. The post-receive hook does this.
#[derive(Debug, clap::Args)]
pub(super) struct Notify {
    #[command(flatten)]
    controller: ControllerAddress,
}

impl Notify {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let done = block_on(async { client.tell(&Command::Notify).await })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
