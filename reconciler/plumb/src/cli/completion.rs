use clap::CommandFactory as _;
use clap_complete::Shell as Language;

use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Print the completion of a shell
///
/// For bash: `plumb completion bash > /etc/bash_completion.d/plumb`. For zsh, write it to a file
/// `_plumb` in a folder of `$fpath`; for fish, to `~/.config/fish/completions/plumb.fish`.
#[derive(Debug, clap::Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Language,
}

impl Completion {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "plumb", &mut text);
        shell.print(&String::from_utf8_lossy(&text))?;
        Ok(Exit::OK)
    }
}
