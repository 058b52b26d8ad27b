use clap_complete::Shell as Language;

use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Print the completion script of a shell
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
    /// Prints the script. `command` describes the whole command line.
    pub(super) fn run(self, mut command: clap::Command, shell: &Shell) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "plumb", &mut text);
        shell.print(&String::from_utf8_lossy(&text))?;
        Ok(Exit::OK)
    }
}
