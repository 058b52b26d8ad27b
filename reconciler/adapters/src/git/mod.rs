//! Watches git repositories, reads them in place, and writes them.
//!
//! This module makes no trust decisions. It hands raw objects to `plumb-trust` and reads files only of
//! revisions that `plumb-trust` accepted. It doesn't trust the server: it checks the size of a pack before
//! it builds objects from it, and it reports the branch's head as the server names it, rewound or not.
//!
//! - [`GitSource`]: a watched branch, fetched into a mirror; implements trust's `Source` port.
//! - [`TreeEffects`]: what two trees make of hosts, for trust's rules by `hosts`.
//! - [`Repository`]: a repository in place, including a hook's quarantine.
//! - [`files`]: the paths of a repository that manifests come from.
//! - [`mod@write`], [`sign`]: raw objects, refs and throw-away keys, for the demo and tests.

mod address;
mod bounds;
mod effects;
mod error;
mod fetch;
pub mod files;
mod layout;
mod mirror;
mod newer;
mod objects;
mod repository;
pub mod sign;
mod source;
mod staged;
pub mod write;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use bounds::{BoundExceeded, RevisionBounds};
pub use effects::{Summaries, TreeEffects};
pub use fetch::{FetchLimits, FetchTimeouts, LimitExceeded, SshProgram};
pub use newer::NewerCommit;
pub use objects::{ObjectStore, Open, spare_threads};
pub use repository::{Quarantine, Repository, RepositoryError};
pub use source::{GitOptions, GitSource, GitSourceError};
