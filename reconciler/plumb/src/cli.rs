//! The command line. Each command has a file, and its doc comment is its help.

#![allow(clippy::doc_markdown)] // these doc comments are help texts, which show backticks as they are

mod apply;
mod approve;
mod check;
mod completion;
mod controller;
mod demo;
mod describe;
mod diff;
mod enroll;
mod events;
mod explain;
mod forget;
mod get;
mod hook;
mod init;
mod notify;
mod plan;
mod reconcile;
mod render;
mod source;
mod trust;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use plumb_api::HostName;
use plumb_core::manifest::Fleet;
use plumb_core::manifest::selector::Selector;

use crate::config;
use crate::http::HostObject;
use crate::output::{ColorChoice, Format, Shell};
use crate::report::{Exit, Failure};

/// Keeps machines exactly as their git repository says.
///
/// A repository of YAML manifests says what each host should be. The controller follows its branch,
/// takes only commits that the repository's own trust policy approves, and drives every host there,
/// again and again. Changes enter by `git push` alone.
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
    /// In which form data is written
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

    /// When colour is used; NO_COLOR is respected
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

    // The repository, offline
    Check(check::Check),
    Render(render::Render),
    Explain(explain::Explain),
    Diff(diff::Diff),

    // Trust
    Verify(verify::Verify),
    Approve(approve::Approve),
    Trust(trust::Trust),

    // Hosts
    Plan(plan::Plan),
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
        let result = match self.command {
            Command::Init(command) => command.run(&shell),
            Command::Demo(command) => command.run(&shell),
            Command::Enroll(command) => command.run(&shell),
            Command::Check(command) => command.run(&shell),
            Command::Render(command) => command.run(&shell),
            Command::Explain(command) => command.run(&shell),
            Command::Diff(command) => command.run(&shell),
            Command::Verify(command) => command.run(&shell),
            Command::Approve(command) => command.run(&shell),
            Command::Trust(command) => command.run(&shell),
            Command::Plan(command) => command.run(&shell),
            Command::Apply(command) => command.run(&shell),
            Command::Get(command) => command.run(&shell),
            Command::Describe(command) => command.run(&shell),
            Command::Events(command) => command.run(&shell),
            Command::Reconcile(command) => command.run(&shell),
            Command::Forget(command) => command.run(&shell),
            Command::Notify(command) => command.run(&shell),
            Command::Controller(command) => command.run(&shell),
            Command::Completion(command) => command.run(&shell),
            Command::Hook(command) => command.run(&shell),
        };
        (shell, result)
    }
}

/// How the running controller is reached.
#[derive(Debug, Args)]
struct ControllerAddress {
    /// The running controller's socket
    #[arg(long, env = "PLUMB_SOCKET", default_value = config::DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

impl ControllerAddress {
    fn client(&self) -> Result<crate::http::Client, Failure> {
        crate::http::Client::new(&self.socket)
    }
}

/// Which hosts.
#[derive(Debug, Args)]
struct Selection {
    /// Hosts by name; all of them when neither names nor a selector are given
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,

    /// Hosts by label, as kubectl does it: role=cloud,site!=home
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "hosts")]
    selector: Option<String>,
}

impl Selection {
    /// Parses the selector. Names become a selector of names; without either, all hosts match.
    fn selector(&self) -> Result<Selector, Failure> {
        match &self.selector {
            Some(text) => Selector::parse(text).map_err(|error| Failure::new(error.to_string())),
            None if self.hosts.is_empty() => Ok(Selector::All),
            None => Ok(Selector::names(self.hosts.iter().cloned())),
        }
    }
}

/// Selects hosts among those that the controller has. A name that it doesn't have is an error.
fn select<'a>(
    selection: &Selection,
    hosts: &'a [Arc<HostObject>],
) -> Result<Vec<&'a HostObject>, Failure> {
    let selector = selection.selector()?;
    if let Selector::Names(names) = &selector {
        for name in names {
            if !hosts.iter().any(|host| host.metadata.name.as_str() == name) {
                let known = hosts.iter().map(|host| host.metadata.name.as_str());
                let hint = match plumb_document::closest(name, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "run `plumb get hosts` to list the hosts".to_owned(),
                };
                return Err(Failure::new(format!("the fleet has no host {name}")).hint(hint));
            }
        }
    }
    Ok(hosts
        .iter()
        .map(|host| &**host)
        .filter(|host| selector.matches(host.metadata.name.as_str(), &host.metadata.labels))
        .collect())
}

/// Splits words into the repository's folder and host names. The first word is the folder if it looks like
/// one.
fn folder_and_hosts(mut words: Vec<String>) -> (PathBuf, Vec<String>) {
    let is_folder = words.first().is_some_and(|word| {
        word.contains('/') || word == "." || PathBuf::from(word).join("fleet.yaml").exists()
    });
    let folder = if is_folder {
        words.remove(0)
    } else {
        ".".to_owned()
    };
    (PathBuf::from(folder), words)
}

/// Selects hosts among a fleet's manifests. A name without a manifest is an error.
fn select_names<R>(selection: &Selection, fleet: &Fleet<R>) -> Result<Vec<HostName>, Failure> {
    let selector = selection.selector()?;
    if let Selector::Names(names) = &selector {
        for name in names {
            if !fleet.hosts().any(|host| host.as_str() == name) {
                let hint = match plumb_document::closest(name, fleet.hosts().map(HostName::as_str))
                {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!(
                        "it would be hosts/{name}.yaml; a folder is named with a slash, such as ./{name}"
                    ),
                };
                return Err(Failure::new(format!("the fleet has no host {name}")).hint(hint));
            }
        }
    }
    let none = std::collections::BTreeMap::new();
    Ok(fleet
        .hosts()
        .filter(|host| selector.matches(host.as_str(), fleet.labels(host).unwrap_or(&none)))
        .cloned()
        .collect())
}

/// Formats a number with its noun.
fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Selects hosts as [`select`] does, but fails if a selector matches none: the controller takes an empty list
/// for all hosts.
fn select_some<'a>(
    selection: &Selection,
    hosts: &'a [Arc<HostObject>],
) -> Result<Vec<&'a HostObject>, Failure> {
    let chosen = select(selection, hosts)?;
    match &selection.selector {
        Some(selector) if chosen.is_empty() => {
            Err(Failure::new(format!("no host matches `{selector}`"))
                .hint("`plumb get hosts -o json` shows their labels"))
        }
        _ => Ok(chosen),
    }
}

/// Runs a future on a new runtime, for commands that wait for sockets or hosts.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    use crate::report::OrFail as _;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_fail(|| "the program's threads can't be started".to_owned())?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

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
