//! Counts the work of a verification, in numbers that are the same on every machine.

use std::cell::Cell;

/// Amount of work of a verification, apart from reading objects, which an [`Objects`](crate::Objects) can
/// count itself.
///
/// A test compares the counts for an input with those for an input twice as large: the work that anybody can
/// cause by a push must stay in proportion to the size of the push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Signatures of commits and tags that were examined.
    pub signatures: u64,
    /// YAML values of the policies that were parsed.
    pub yaml_values: u64,
    /// Members of groups that were compared with other groups or checked for a usable key.
    pub members: u64,
    /// Pairs of a certificate component and a signature: the `OpenPGP` library may try each signature on each
    /// component.
    pub certificate_pairs: u64,
    /// Bytes of file names after case folding and Unicode normalization; ASCII names aren't counted.
    pub folded_bytes: u64,
    /// Entries of trees that were parsed.
    pub tree_entries: u64,
}

/// A counter that collects a [`Work`].
#[derive(Debug, Default)]
pub(crate) struct WorkCounter(Cell<Work>);

impl WorkCounter {
    /// Adds to the counts.
    pub(crate) fn add(&self, change: impl FnOnce(&mut Work)) {
        let mut work = self.0.get();
        change(&mut work);
        self.0.set(work);
    }

    /// Returns the counts so far.
    pub(crate) fn get(&self) -> Work {
        self.0.get()
    }
}

/// Converts a length to a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
