//! The agent binary: `plumb_agent::main` and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_agent::main(std::env::args_os().skip(1))
}
