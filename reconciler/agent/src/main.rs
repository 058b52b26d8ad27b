//! The agent's binary, which only calls `plumb_agent::main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_agent::main(std::env::args_os().skip(1))
}
