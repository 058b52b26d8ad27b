//! The binary: command line, HTTP, page, configuration, errors for people.
//!
//! Floor 4, the highest layer of the workspace. It connects the other crates: [`config`] holds the settings,
//! `cli` runs commands, [`http`] serves the controller's state, [`report`] turns errors into text and exit
//! codes.

#![allow(clippy::format_push_string)] // texts for people are short and made once

mod cli;
pub mod config;
mod connect;
mod demo;
mod embedded;
mod git;
pub mod http;
mod import;
mod last_change;
mod logging;
pub mod output;
mod palette;
mod public_key;
pub mod report;
mod repository;
mod running;
mod runtime;
mod schema;
mod service;
mod ui;
mod verdict;
mod workspace;
mod yaml_edit;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the program.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // The agent speaks its protocol on stdout, so nothing else may parse its command line or write there.
    if arguments.next().is_some_and(|first| first == "__agent") {
        return plumb_agent::main(arguments);
    }
    plumb_adapters::tls::install_provider();
    let (shell, result) = cli::Cli::parse().run();
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            shell.say(failure.render(shell.err).trim_end());
            failure.code()
        }
    };
    ExitCode::from(exit.code())
}
