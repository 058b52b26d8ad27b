//! The command line. Each command has a file, and its doc comment is its help.

#![allow(clippy::doc_markdown)] // these doc comments are help texts, which show backticks as they are

mod adopt;
mod apply;
mod approve;
mod check;
mod completion;
mod controller;
mod controller_address;
mod demo;
mod describe;
mod diff;
mod enroll;
mod events;
mod explain;
mod folder;
mod forget;
mod get;
mod hook;
mod import;
mod init;
mod notify;
mod plan;
mod reconcile;
mod render;
mod schema;
mod secret;
mod selection;
mod source;
mod trust;
mod verify;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::output::{ColorChoice, Format, Shell};
use crate::report::{Exit, Failure};

/// Keeps machines exactly as their git repository says.
///
/// A repository of YAML manifests describes every host. The controller follows its branch, accepts only
/// commits that the repository's own trust policy approves, and drives every host to the accepted
/// revision. `git push` is the only way to change a host.
#[derive(Debug, Parser)]
#[command(
    name = "plumb",
    bin_name = "plumb",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Start with `plumb demo`, or `plumb init DIR` for a repository of your own.\nExit codes: 0 done, 1 failed, 2 wrong command line; `plumb diff` and `plumb verify` have more, see their help."
)]
pub(crate) struct Cli {
    /// The format of data on stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Format,

    /// When to use colour; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Output"
    )]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // A fleet of one's own
    Init(init::Init),
    Demo(demo::Demo),
    Enroll(enroll::Enroll),
    Import(import::Import),

    // The repository, offline
    Check(check::Check),
    Render(render::Render),
    Explain(explain::Explain),
    Diff(diff::Diff),
    Schema(schema::Schema),

    // Secrets
    Secret(secret::Secret),

    // Trust
    Verify(verify::Verify),
    Approve(approve::Approve),
    Trust(trust::Trust),

    // Hosts
    Plan(plan::Plan),
    Adopt(adopt::Adopt),
    Apply(apply::Apply),
    Get(get::Get),
    Describe(describe::Describe),
    Events(events::Events),
    Reconcile(reconcile::Reconcile),
    Forget(forget::Forget),
    Notify(notify::Notify),

    // The program itself
    Controller(controller::Controller),
    Completion(completion::Completion),
    Hook(hook::Hook),
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> (Shell, Result<Exit, Failure>) {
        let shell = Shell::new(self.output, self.color);
        if self.output == Format::Dir && !matches!(self.command, Command::Render(_)) {
            let failure = Failure::new("`-o dir` is for `plumb render`")
                .hint("use `-o json` or `-o yaml`")
                .exit(Exit::TROUBLE);
            return (shell, Err(failure));
        }
        let result = match self.command {
            Command::Init(command) => command.run(&shell),
            Command::Demo(command) => command.run(&shell),
            Command::Enroll(command) => command.run(&shell),
            Command::Import(command) => command.run(&shell),
            Command::Check(command) => command.run(&shell),
            Command::Render(command) => command.run(&shell),
            Command::Explain(command) => command.run(&shell),
            Command::Diff(command) => command.run(&shell),
            Command::Schema(command) => command.run(&shell),
            Command::Secret(command) => command.run(&shell),
            Command::Verify(command) => command.run(&shell),
            Command::Approve(command) => command.run(&shell),
            Command::Trust(command) => command.run(&shell),
            Command::Plan(command) => command.run(&shell),
            Command::Adopt(command) => command.run(&shell),
            Command::Apply(command) => command.run(&shell),
            Command::Get(command) => command.run(&shell),
            Command::Describe(command) => command.run(&shell),
            Command::Events(command) => command.run(&shell),
            Command::Reconcile(command) => command.run(&shell),
            Command::Forget(command) => command.run(&shell),
            Command::Notify(command) => command.run(&shell),
            Command::Controller(command) => command.run(&shell),
            Command::Completion(command) => command.run(Self::command(), &shell),
            Command::Hook(command) => command.run(&shell),
        };
        (shell, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_that_is_more_than_a_line() {
        for command in Cli::command().get_subcommands() {
            if command.is_hide_set() || command.get_name() == "help" {
                continue;
            }
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(
                command.get_long_about().is_some() || command.get_after_help().is_some(),
                "{} has one line of help",
                command.get_name()
            );
        }
    }
}
