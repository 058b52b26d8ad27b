//! The bounds on a fetch.

/// Limits on what a server may make us receive, inflate and keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Maximum size of a received pack in bytes.
    pub pack: u64,
    /// Maximum number of objects in one pack.
    pub objects: u32,
    /// Maximum inflated size of one object in bytes.
    pub object: u64,
    /// Maximum total inflated size of a pack in bytes, unless `ratio` allows more.
    pub inflated: u64,
    /// Maximum ratio of a pack's total inflated size to its received size. A pack may exceed `inflated`
    /// within this ratio: the histories of large folders reach ratios of some hundreds.
    pub ratio: u64,
    /// Maximum total size in bytes of the objects in one delta chain, which are in memory at the same time.
    pub chain: u64,
    /// Maximum number of branches and tags that a server may advertise.
    pub refs: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            pack: 4 << 30,
            objects: 50_000_000,
            object: 256 << 20,
            inflated: 1 << 30,
            ratio: 2000,
            chain: 1 << 30,
            refs: 500_000,
        }
    }
}

/// A bound that a server exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// The size of the pack.
    #[error("its pack is larger than {0} bytes")]
    Pack(u64),
    /// The number of objects.
    #[error("its pack holds more than {0} objects")]
    Objects(u32),
    /// The size of one object.
    #[error("an object of its pack is larger than {0} bytes")]
    Object(u64),
    /// The inflated size of all objects.
    #[error("its pack of {pack} bytes inflates to more than {limit} bytes")]
    Inflated {
        /// The pack's size.
        pack: u64,
        /// The bound on the inflated size, in bytes.
        limit: u64,
    },
    /// The size of a delta chain.
    #[error("a chain of deltas in its pack needs more than {0} bytes at once")]
    Chain(u64),
    /// The number of branches and tags.
    #[error("it has more than {0} matching branches and tags")]
    Refs(usize),
}
