//! Plumb as a program of this package, so that tests of it needn't build another package's.

use std::process::ExitCode;

fn main() -> ExitCode {
    plumb::main()
}
