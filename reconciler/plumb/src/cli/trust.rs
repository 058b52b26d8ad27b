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
/// The policy in trust/policy.yaml says which paths need whose signatures; the public keys are in
/// trust/keys/. These commands edit those files, prove that every rule can be met, and print the diff
/// and the next commands. Your own git signs; private keys are never read.
#[derive(Debug, Args)]
#[command(
    after_help = "Add a second person:\n  plumb trust add bob --key bob.pub --group ops\nAfter a theft: plumb trust revoke SHA256:…, then plumb trust rotate or remove.\ndocs/trust.md explains the policy."
)]
pub(super) struct Trust {
    #[command(subcommand)]
    what: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    Init(init::TrustInit),
    Show(show::Show),
    Check(check::TrustCheck),
    Add(add::Add),
    Remove(remove::Remove),
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
    Import(import::Import),
}

impl Trust {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.what {
            TrustCommand::Init(command) => command.run(shell),
            TrustCommand::Show(command) => command.run(shell),
            TrustCommand::Check(command) => command.run(shell),
            TrustCommand::Add(command) => command.run(shell),
            TrustCommand::Remove(command) => command.run(shell),
            TrustCommand::Rotate(command) => command.run(shell),
            TrustCommand::Revoke(command) => command.run(shell),
            TrustCommand::Import(command) => command.run(shell),
        }
    }
}
