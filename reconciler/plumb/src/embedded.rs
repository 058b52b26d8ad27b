//! What is built into the binary: the fleet repository that `plumb init` begins with, as it stands in
//! `fleet-repo-template/`, and agents.

/// Every file of it: its path and its bytes.
pub(crate) const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/template.rs"));

/// The agents that a package brings, by architecture; a build from source has none and finds those of
/// `cargo agents` beside itself.
pub(crate) const AGENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));
