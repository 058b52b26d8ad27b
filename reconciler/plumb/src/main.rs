//! The plumb binary.

use std::process::ExitCode;

/// Resolving a large fleet makes millions of small allocations, which the system's allocator doubles the time of.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    plumb::main()
}
