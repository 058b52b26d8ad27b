use crate::demo::{self, AfterDemo};
use crate::output::Shell;
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Run a demo fleet on this machine, in a minute
///
/// Creates throw-away keys, a repository with the real hooks, and three folders that stand for hosts,
/// and starts the real controller. Then it shows, step by step: a signed push converges the hosts, an
/// unsigned one is held, a sensitive path needs two people, drift is corrected or reported, and a
/// killed controller continues. Needs git, but neither root nor a network. It doesn't use your git
/// configuration and keys.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Exit after the last step, with 0 only if every step succeeded
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let after = if self.once {
            AfterDemo::End
        } else {
            AfterDemo::Stay
        };
        block_on(demo::run(shell, after))
    }
}
