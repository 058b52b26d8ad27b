//! Git: repositories watched, read in place, and written.
//!
//! Nothing here judges. Objects are handed to `plumb-trust` as they lie on disk, and only what it
//! accepted is read out as files. A server is believed in nothing: what it sends is bounded before it
//! is built, and its branch is told as it is, rewound or not.
//!
//! - [`GitSource`] — a watched branch, fetched into a mirror: trust's port.
//! - [`Repository`] — a repository in place, a hook's quarantine included.
//! - [`files`] — the places of a repository that manifests come from.
//! - [`mod@write`], [`sign`] — raw objects, refs and throw-away keys, for the demo and tests.

mod address;
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
pub mod write;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use fetch::{Exceeded, Limits, Patience, Ssh};
pub use newer::Newer;
pub use objects::{ObjectStore, Open, spare_threads};
pub use repository::{Quarantine, Repository, RepositoryError};
pub use source::{GitOptions, GitSource, GitSourceError};
