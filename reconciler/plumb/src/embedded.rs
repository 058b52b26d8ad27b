//! Files that are compiled into the binary: the templates of the fleet repository that `plumb init` creates
//! (from `fleet-repo-template/` and `fleet-repo-minimal/`), and the agents.

/// The path and the bytes of a file.
pub(crate) type File = (&'static str, &'static [u8]);

/// The files of the whole template.
pub(crate) const TEMPLATE: &[File] = include!(concat!(env!("OUT_DIR"), "/template.rs"));

/// The files of the small template, of `plumb init --minimal`.
pub(crate) const MINIMAL: &[File] = include!(concat!(env!("OUT_DIR"), "/minimal.rs"));

/// The agents of a packaged build, by architecture. A build from source contains none; it uses the agents
/// that `cargo agents` builds beside its executable.
pub(crate) const AGENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/agents.rs"));
