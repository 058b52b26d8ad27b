use crate::cli::controller_address::ControllerAddress;
use crate::http::ControllerCommand;
use crate::output::Shell;
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Make the controller fetch now
///
/// The controller fetches at once instead of at the next poll. It decides by what it fetches and by the
/// trust policy which commit it accepts. The post-receive hook runs this command.
#[derive(Debug, clap::Args)]
pub(super) struct Notify {
    #[command(flatten)]
    controller: ControllerAddress,
}

impl Notify {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let client = self.controller.client()?;
        let done = block_on(async { client.execute(&ControllerCommand::Notify).await })?;
        shell.emit(&done, |_| format!("{}\n", done.message))?;
        Ok(Exit::OK)
    }
}
