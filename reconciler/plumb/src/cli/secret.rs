//! `plumb secret`: encrypts values to the hosts and operators that should read them. These commands write the
//! files of `secrets/`; a value is never an argument, and is printed by none of them.

mod check;
mod edit;
mod identity;
mod object;
mod operator;
mod rekey;
mod set;
mod value;
mod who_can_read;

use clap::{Args, Subcommand};

use crate::output::Shell;
use crate::report::{Exit, Failure};

/// Manage secrets that only hosts and operators can read
///
/// A Secret in secrets/NAME.yaml has values that are encrypted with age to the hosts that its `hosts` selects
/// and to the operators of fleet.yaml. Only the host decrypts a value, into a file in memory or a credential
/// of a unit. The controller never has a value.
#[derive(Debug, Args)]
#[command(
    after_help = "A first secret:\n  plumb secret operator laptop\n  (add `secrets: {operators: [laptop]}` to fleet.yaml)\n  printf %s \"$TOKEN\" | plumb secret set web/token --hosts role=web --path /run/plumb/secrets/token\nSee who can read it: plumb secret who-can-read web"
)]
pub(super) struct Secret {
    #[command(subcommand)]
    what: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    Set(set::Set),
    Edit(edit::Edit),
    Rekey(rekey::Rekey),
    Check(check::SecretCheck),
    WhoCanRead(who_can_read::WhoCanRead),
    Operator(operator::Operator),
}

impl Secret {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.what {
            SecretCommand::Set(command) => command.run(shell),
            SecretCommand::Edit(command) => command.run(shell),
            SecretCommand::Rekey(command) => command.run(shell),
            SecretCommand::Check(command) => command.run(shell),
            SecretCommand::WhoCanRead(command) => command.run(shell),
            SecretCommand::Operator(command) => command.run(shell),
        }
    }
}
