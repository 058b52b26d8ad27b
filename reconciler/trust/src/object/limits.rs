//! Limits on objects. Anything larger is refused before it is parsed, so that the work and the memory that a
//! pusher can cause stay in proportion to the push.

/// Bytes of a commit, its signature and embedded tags included.
pub const COMMIT: u64 = 1 << 20;
/// Bytes of an annotated tag: a signature by an RSA key of 16384 bits takes 3 KiB, and the rest is for text.
/// Anybody may push tags, and each tag that is read is hashed.
pub const TAG: u64 = 16 << 10;
/// Bytes of one tree object.
pub const TREE: u64 = 16 << 20;
/// Entries of one tree object.
pub const ENTRIES: usize = 100_000;
/// Bytes of a symbolic link's target.
pub const LINK: u64 = 4096;
/// Bytes of the policy and of each key's file.
pub const TRUST_FILE: u64 = 1 << 20;
/// Files in `trust/` that are read.
pub const TRUST_FILES: usize = 1000;
/// Bytes of the different files in `trust/` in total: a thousand keys of 16 KiB.
pub const TRUST_BYTES: u64 = 16 << 20;
/// Pairs of a part (key or user ID) and a signature, in total over the certificates in `trust/`: the library
/// may try each signature with each part. A thousand usual certificates have 20,000; one with 20 parts and
/// 5,000 third-party signatures has 100,000.
pub const CERTIFICATE_PAIRS: u64 = 250_000;
/// Keys, user IDs and signatures, in total over the certificates in `trust/`: a thousand usual certificates
/// have 7,000.
pub const CERTIFICATE_PACKETS: usize = 20_000;
/// YAML values of a policy: a thousand identities in ten groups each have 20,000.
pub const POLICY_VALUES: usize = 50_000;
/// Members of the groups that a policy's needs name, counted again for each need: a hundred rules with three
/// needs each, of groups of fifty, have 15,000.
pub const NEED_MEMBERS: usize = 100_000;
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
/// Folders that are opened to compare or to list a tree, counted each time that one is opened.
pub const FOLDERS: usize = 200_000;
/// Paths that one commit may change.
pub const CHANGES: usize = 200_000;
/// Bytes of the paths that one commit may change: 80 for each of the most paths that it may change.
pub const CHANGED_PATHS: usize = 16 << 20;
/// Bytes of the folders that one commit brings, counted each time that one is opened: the most changed
/// entries, with names of 80 bytes, have 22 MiB.
pub const TREES: u64 = 24 << 20;
/// Bytes of the names in the folders that one commit changes, after case folding and normalization; ASCII
/// names aren't counted. 100,000 names of twenty Cyrillic letters have 4 MB.
pub const FOLDED: u64 = 4 << 20;
/// Bytes of the targets of symbolic links that one commit brings; each different target counts once.
pub const LINKS: u64 = 8 << 20;
/// Bytes of the empty commits at the end of a merged branch that are examined as approvals: 4 KiB for each of
/// the 64 that are examined.
pub const EMPTY_COMMITS: u64 = 256 << 10;
/// Bytes of the commits that are walked to find a merged branch's fork point.
pub const SIDE_BYTES: u64 = 128 << 20;
/// Bytes of a stranger's text that a message quotes.
pub const QUOTE: usize = 256;
/// Commits between the floor and the head.
pub const CHAIN: usize = 5_000_000;
/// Tags that are examined.
pub const TAGS: usize = 500_000;
/// Commits that are walked to find a side branch's fork point.
pub const SIDE: usize = 50_000;
/// `revoke/` tags that are examined although they name a key that the policy doesn't have.
pub const STRANGERS: usize = 1000;
/// Trailers of one message.
pub const TRAILERS: usize = 64;
