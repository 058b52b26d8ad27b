use super::block_on;
use crate::demo::{self, After};
use crate::output::Shell;
use crate::report::{Exit, Failure};

/// See the whole way on this machine in a minute
///
/// Makes throw-away keys, a repository with the hooks of a real one, and three folders that stand for
/// hosts; starts the real controller; then tells and does the story: a signed push converges the hosts,
/// an unsigned one is held, a sensitive path takes two people, drift is corrected or told, a killed
/// controller picks up where it was. Needs git, but neither root nor a network; your own git
/// configuration and keys stay out of it.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// End when the story is told; exit 0 only if every step was observed
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let after = if self.once { After::End } else { After::Stay };
        block_on(demo::run(shell, after))
    }
}
