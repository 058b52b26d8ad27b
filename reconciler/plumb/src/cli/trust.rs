//! `plumb trust`: edits and checks the policy of who may change what. These commands write the files of
//! `trust/`; the user's own git, gpg and ssh sign and export.

mod add;
mod check;
mod exceptions;
mod folder;
mod heartbeat;
mod import;
mod init;
mod needs;
pub(super) mod policy_edit;
mod remove;
mod revocations;
mod revoke;
mod rotate;
mod show;

use clap::{Args, Subcommand};

use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Manage who may change what
///
/// The policy in trust/policy.yaml says which paths need whose signatures; the public keys are in trust/keys/.
/// These commands edit those files, prove that the result can be met, and print the diff and the commands that
/// make it count. Your own git signs, with keys that stay where they are.
#[derive(Debug, Args)]
#[command(
    after_help = "Add a second person:\n  plumb trust add bob --key bob.pub --group ops\nAfter a theft: plumb trust revoke SHA256:…, then plumb trust rotate or remove.\ndocs/trust.md explains the policy."
)]
pub(super) struct Trust {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Init(init::Init),
    Show(show::Show),
    Check(check::Check),
    Add(add::Add),
    Remove(remove::Remove),
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
    Import(import::Import),
}

impl Trust {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.what {
            What::Init(command) => command.run(shell),
            What::Show(command) => command.run(shell),
            What::Check(command) => command.run(shell),
            What::Add(command) => command.run(shell),
            What::Remove(command) => command.run(shell),
            What::Rotate(command) => command.run(shell),
            What::Revoke(command) => command.run(shell),
            What::Import(command) => command.run(shell),
        }
    }
}
