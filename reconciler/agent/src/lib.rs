//! The agent: the part of Plumb that runs on a managed host.
//!
//! One process serves one session. It reads framed requests from standard input and writes answers to
//! standard output. When the connection to the controller ends, it leaves no process behind. It uses threads,
//! but no async runtime, no name service, and no open port.
//!
//! - [`age`] — the file format of age, for secrets.
//! - `sys` — access to the machine: its root directory and its programs. A sandbox uses the same code with
//!   another root directory.
//! - `boot` — puts secrets in place at boot.
//! - `host_key` — the key with which the host decrypts its secrets.
//! - `provider` — the code for each resource type: observe, apply, give back.
//! - `book` — the agent's persistent state: holder, ledger, journal, originals, desired state.
//! - `dead_man` — puts changes back that cut the controller off.
//! - `observe`, `apply` — the two main requests of a controller.
//! - `adopt` — describes what the host has as specs, for a manifest.
//! - `reboot` — the reasons why the machine needs a reboot.
//! - `undesired` — restores resources that nothing desires any more.
//! - `recover` — applies the journal of an interrupted run at the next session.
//! - `serve`, `wire` — the session and its two streams.

mod adopt;
pub mod age;
mod apply;
mod blobs;
mod book;
mod boot;
mod dead_man;
mod error;
mod host_key;
mod observe;
mod provider;
mod reboot;
mod recover;
mod serve;
mod sys;
mod undesired;
mod wire;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

pub use serve::{End, serve};
pub use sys::Sys;

const USAGE: &str = "usage: plumb-agent [--root DIR] [serve | dead-man | secrets]\n       plumb-agent --version\n\nServes one session on standard input and output. `dead-man` waits for the confirmation of changes instead, and puts them back\nwithout it; `secrets` delivers the secrets of the ledger. With --root, DIR stands for the machine.\n";

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Serve(Option<PathBuf>),
    Secrets(Option<PathBuf>),
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
            Some("secrets") => asked = Asked::Secrets,
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
    let (root, run): (_, fn(&Sys) -> ExitCode) = match parse(args) {
        Asked::Serve(root) => (root, session),
        Asked::DeadMan(root) => (root, watch),
        Asked::Secrets(root) => (root, restore_secrets),
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
    if !sys.is_sandbox() {
        // A dump of a crash would have decrypted secrets. Programs that the agent starts can be dumped again.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    run(&sys)
}

/// Waits for the confirmation of changes, and puts them back without it.
fn watch(sys: &Sys) -> ExitCode {
    match dead_man::watch(sys) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "plumb-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one session on standard input and output.
fn session(sys: &Sys) -> ExitCode {
    match serve(sys, std::io::stdin(), std::io::stdout()) {
        End::Closed => ExitCode::SUCCESS,
        End::Broken => ExitCode::FAILURE,
    }
}

/// Delivers the host's secrets at boot.
fn restore_secrets(sys: &Sys) -> ExitCode {
    let failed = match boot::restore(sys) {
        Ok(failed) => failed,
        Err(error) => vec![("secrets".to_owned(), error)],
    };
    for (address, error) in &failed {
        let _ = writeln!(std::io::stderr(), "plumb-agent: {address}: {error}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_small() {
        let parse = |words: &[&str]| parse(words.iter().map(OsString::from));
        assert_eq!(parse(&[]), Asked::Serve(None));
        assert_eq!(parse(&["secrets"]), Asked::Secrets(None));
        assert_eq!(
            parse(&["--root", "/x", "serve"]),
            Asked::Serve(Some("/x".into()))
        );
        assert_eq!(parse(&["--root=/x"]), Asked::Serve(Some("/x".into())));
        assert_eq!(parse(&["--version"]), Asked::Version);
        assert!(matches!(parse(&["--roof"]), Asked::Wrong(_)));
    }
}
