//! What an object may be at most. Everything beyond is refused before it is looked at, so that the
//! work and the memory that a pusher can cause stay in proportion to what was pushed.

/// Bytes of a commit, its signature and embedded tags included.
pub const COMMIT: u64 = 1 << 20;
/// Bytes of an annotated tag.
pub const TAG: u64 = 64 << 10;
/// Bytes of one tree object.
pub const TREE: u64 = 16 << 20;
/// Entries of one tree object.
pub const ENTRIES: usize = 100_000;
/// Bytes of a symbolic link's target.
pub const LINK: u64 = 4096;
/// Bytes of the policy and of each key's file.
pub const TRUST_FILE: u64 = 1 << 20;
/// Files in `trust/` that are looked at.
pub const TRUST_FILES: usize = 1000;
/// Parents of a commit.
pub const PARENTS: usize = 16;
/// Bytes of a signature with its armor.
pub const SIGNATURE: usize = 64 << 10;
/// Bytes of a name within a folder.
pub const NAME: usize = 255;
/// Bytes of a path.
pub const PATH: usize = 4096;
/// Folders within folders.
pub const DEPTH: usize = 64;
/// Folders that are opened to compare or to list a tree, each as often as it is come to.
pub const FOLDERS: usize = 200_000;
/// Paths that one commit may change.
pub const CHANGES: usize = 200_000;
/// Commits between the floor and the head.
pub const CHAIN: usize = 5_000_000;
/// Tags that are looked at.
pub const TAGS: usize = 500_000;
/// Commits of a side branch that are walked to find where it left.
pub const SIDE: usize = 50_000;
/// `revoke/` tags that are looked at though they name a key that the policy doesn't have.
pub const STRANGERS: usize = 1000;
/// Trailers of one message.
pub const TRAILERS: usize = 64;
