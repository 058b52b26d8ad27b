//! Files that are built into the binary: the fleet repository that `plumb init` begins with, from
//! `fleet-repo-template/`, and agents.

/// The paths and bytes of the template's files.
pub(crate) const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/template.rs"));

/// The packaged agents, by architecture. A build from source has none, and finds those of `cargo agents`
/// beside its own file.
pub(crate) const AGENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));
