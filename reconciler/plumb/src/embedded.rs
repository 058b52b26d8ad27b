//! Files that are compiled into the binary: the template of the fleet repository that `plumb init` creates
//! (from `fleet-repo-template/`), and the agents.

/// The paths and bytes of the template's files.
pub(crate) const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/template.rs"));

/// The agents of a packaged build, by architecture. A build from source contains none; it uses the agents
/// that `cargo agents` builds beside its executable.
pub(crate) const AGENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));
