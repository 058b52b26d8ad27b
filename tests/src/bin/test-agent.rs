//! The agent as a program of this package, so that tests of a route needn't build another package's.

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb_agent::main(std::env::args_os().skip(1))
}
