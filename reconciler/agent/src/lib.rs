//! The agent: the part of Plumb that runs on a managed host.
//!
//! One process serves one session. It reads framed requests from standard input and writes answers to
//! standard output. When the connection to the controller ends, it leaves no process behind. It uses threads,
//! but no async runtime, no name service, and no open port.
//!
//! - `sys` — access to the machine: its root directory and its programs. A sandbox uses the same code with
//!   another root directory.
//! - `provider` — the code for each resource type: observe, apply, give back.
//! - `book` — the agent's persistent state: holder, ledger, journal, originals, desired state.
//! - `dead_man` — puts changes back that cut the controller off.
//! - `observe`, `apply` — the two main requests of a controller.
//! - `adopt` — describes what the host has as specs, for a manifest.
//! - `undesired` — restores resources that nothing desires any more.
//! - `recover` — applies the journal of an interrupted run at the next session.
//! - `serve`, `wire` — the session and its two streams.

mod adopt;
mod apply;
mod blobs;
mod book;
mod dead_man;
mod error;
mod observe;
mod provider;
mod recover;
mod serve;
mod sys;
mod undesired;
mod wire;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

pub use serve::{End, serve};
pub use sys::Sys;

const USAGE: &str = "usage: plumb-agent [--root DIR] [serve | dead-man]\n       plumb-agent --version\n\nServes one session on standard input and output. `dead-man` waits for the confirmation of changes instead, and puts them back\nwithout it. With --root, DIR stands for the machine.\n";

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Serve(Option<PathBuf>),
    DeadMan(Option<PathBuf>),
    Version,
    Help,
    Wrong(String),
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Asked {
    let mut args = args.into_iter();
    let mut root = None;
    let mut asked: fn(Option<PathBuf>) -> Asked = Asked::Serve;
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("serve") => asked = Asked::Serve,
            Some("dead-man") => asked = Asked::DeadMan,
            Some("--version" | "-V") => return Asked::Version,
            Some("--help" | "-h") => return Asked::Help,
            Some("--root") => match args.next() {
                Some(dir) => root = Some(PathBuf::from(dir)),
                None => return Asked::Wrong("--root needs a directory".to_owned()),
            },
            Some(text) if text.starts_with("--root=") => root = Some(PathBuf::from(&text[7..])),
            _ => return Asked::Wrong(format!("unknown argument `{}`", arg.to_string_lossy())),
        }
    }
    asked(root)
}

/// Runs the agent. The binary `plumb-agent` and `plumb __agent` both call this.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let asked = parse(args);
    let root = match &asked {
        Asked::Serve(root) | Asked::DeadMan(root) => root.clone(),
        Asked::Version => {
            let line = format!("plumb-agent {}\n", env!("CARGO_PKG_VERSION"));
            let _ = std::io::stdout().write_all(line.as_bytes());
            return ExitCode::SUCCESS;
        }
        Asked::Help => {
            let _ = std::io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Asked::Wrong(what) => {
            let _ = write!(std::io::stderr(), "plumb-agent: {what}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let sys = match &root {
        None => Sys::host(),
        Some(dir) => Sys::sandbox(dir),
    };
    let sys = match sys {
        Ok(sys) => sys,
        Err(error) => {
            let dir = root.unwrap_or_else(|| PathBuf::from("/"));
            let _ = writeln!(
                std::io::stderr(),
                "plumb-agent: can't open {}: {error}",
                dir.display()
            );
            return ExitCode::FAILURE;
        }
    };
    if let Asked::DeadMan(_) = asked {
        return match dead_man::watch(&sys) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "plumb-agent: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match serve(&sys, std::io::stdin(), std::io::stdout()) {
        End::Closed => ExitCode::SUCCESS,
        End::Broken => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_small() {
        let parse = |words: &[&str]| parse(words.iter().map(OsString::from));
        assert_eq!(parse(&[]), Asked::Serve(None));
        assert_eq!(
            parse(&["--root", "/x", "serve"]),
            Asked::Serve(Some("/x".into()))
        );
        assert_eq!(parse(&["--root=/x"]), Asked::Serve(Some("/x".into())));
        assert_eq!(parse(&["--version"]), Asked::Version);
        assert!(matches!(parse(&["--roof"]), Asked::Wrong(_)));
    }
}
