//! Which alerts fire, as a function of statuses and time; and the book that keeps when they began.

mod book;
mod labels;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use book::{Book, Entry, Moved};
pub use labels::label_name;
pub use rules::{
    DRIFT_CORRECTING, Facts, HeldCommit, Hold, HostFacts, OF_COMMITS, Settings, firing,
};

/// What makes two alerts the same one.
pub type Labels = BTreeMap<String, String>;

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Its identity; nothing in it changes while it fires.
    pub labels: Labels,
    /// Everything that changes.
    pub annotations: BTreeMap<String, String>,
}
