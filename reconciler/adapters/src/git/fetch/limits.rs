//! What a pack may be at most.

/// Bounds on what a server may make us receive, inflate and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one pack as it travels.
    pub pack: u64,
    /// Objects in one pack.
    pub objects: u32,
    /// Bytes of one object, inflated.
    pub object: u64,
    /// Bytes of all objects of a pack, inflated, that any pack may have.
    pub inflated: u64,
    /// How many times its own size a pack may inflate to beyond that. Histories of large folders
    /// reach some hundreds.
    pub ratio: u64,
    /// Bytes of all objects that one chain of deltas needs at once.
    pub chain: u64,
    /// Branches and tags that a server may tell of.
    pub refs: usize,
}

impl Default for Limits {
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

/// A bound that was passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// The pack itself.
    #[error("its pack is larger than {0} bytes")]
    Pack(u64),
    /// The number of objects.
    #[error("its pack holds more than {0} objects")]
    Objects(u32),
    /// One object.
    #[error("an object of its pack is larger than {0} bytes")]
    Object(u64),
    /// All objects.
    #[error("its pack of {pack} bytes inflates to more than {limit} bytes")]
    Inflated {
        /// The pack's size.
        pack: u64,
        /// What it may inflate to.
        limit: u64,
    },
    /// A chain of deltas.
    #[error("a chain of deltas in its pack needs more than {0} bytes at once")]
    Chain(u64),
    /// Branches and tags.
    #[error("it has more than {0} matching branches and tags")]
    Refs(usize),
}
