//! `plumb trust`: who may change what. The files of `trust/` are prepared here; what is signed or
//! exported is the user's own git's, gpg's and ssh's.

mod add;
pub(super) mod beginning;
mod check;
pub(super) mod commit_hooks;
mod draft;
mod edit;
mod exceptions;
mod folder;
pub(super) mod founders;
mod heartbeat;
mod import;
mod init;
mod key;
mod next;
mod remove;
mod revocations;
mod revoke;
mod rotate;
mod show;

use clap::{Args, Subcommand};

use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Say who may change what
///
/// The policy in trust/policy.yaml says which paths need whose signatures; the public keys lie in
/// trust/keys/. These commands prepare those files, prove that they make sense, and print the commands
/// that make a change count. Signing is done by your own git, with keys that stay where they are.
#[derive(Debug, Args)]
#[command(
    after_help = "A first second person:\n  plumb trust add bob --key bob.pub --group ops\nA stolen key: plumb trust revoke SHA256:…, then plumb trust remove.\ndocs/trust.md explains the policy."
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
