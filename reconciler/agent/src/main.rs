//! The agent binary: `plumb_agent::main` and nothing else.
fn main() {}
