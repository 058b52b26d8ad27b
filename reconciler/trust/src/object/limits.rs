//! Limits on objects. Anything larger is refused before it is parsed, so that the work and the memory that a
//! pusher can cause stay in proportion to the push.

/// Maximum size of a commit object in bytes, including its signature and embedded tags.
pub const COMMIT: u64 = 1 << 20;
/// Maximum size of an annotated tag in bytes. A signature by an RSA key of 16384 bits takes 3 KiB; the rest
/// is for text. Anybody may push tags, and each tag that is read is hashed.
pub const TAG: u64 = 16 << 10;
/// Maximum size of a tree object in bytes.
pub const TREE: u64 = 16 << 20;
/// Maximum number of entries of a tree object.
pub const ENTRIES: usize = 100_000;
/// Maximum length of a symbolic link's target in bytes.
pub const LINK: u64 = 4096;
/// Maximum size in bytes of the policy and of each key file.
pub const TRUST_FILE: u64 = 1 << 20;
/// Maximum number of files in `trust/`.
pub const TRUST_FILES: usize = 1000;
/// Maximum total size in bytes of the different files in `trust/`: a thousand keys of 16 KiB.
pub const TRUST_BYTES: u64 = 16 << 20;
/// Maximum number of pairs of a component (key or user ID) and a signature, in total over the certificates in
/// `trust/`. The `OpenPGP` library may try each signature on each component. A thousand usual certificates
/// have 20,000 pairs; one certificate with 20 components and 5,000 third-party signatures has 100,000.
pub const CERTIFICATE_PAIRS: u64 = 250_000;
/// Maximum number of keys, user IDs and signatures, in total over the certificates in `trust/`. A thousand
/// usual certificates have 7,000.
pub const CERTIFICATE_PACKETS: usize = 20_000;
/// Maximum number of YAML values in a policy. A thousand identities in ten groups each have 20,000.
pub const POLICY_VALUES: usize = 50_000;
/// Maximum number of members of the groups that a policy's needs name; each need counts its group's members
/// again. A hundred rules with three needs each, of groups of fifty, have 15,000.
pub const NEED_MEMBERS: usize = 100_000;
/// Maximum number of parents of a commit, and of the tags that it embeds.
pub const PARENTS: usize = 16;
/// Maximum size of a signature in bytes, including its armor.
pub const SIGNATURE: usize = 64 << 10;
/// Maximum length of a name within a folder in bytes.
pub const NAME: usize = 255;
/// Maximum length of a path in bytes.
pub const PATH: usize = 4096;
/// Maximum depth of nested folders.
pub const DEPTH: usize = 64;
/// Maximum number of folders that are opened to compare or list a tree. A folder counts each time that it is
/// opened.
pub const FOLDERS: usize = 200_000;
/// Maximum number of paths that one commit may change.
pub const CHANGES: usize = 200_000;
/// Maximum total length in bytes of the paths that one commit may change: [`CHANGES`] paths of about 80
/// bytes.
pub const CHANGED_PATHS: usize = 16 << 20;
/// Maximum total size in bytes of the new folders that are read to compare one commit with its parent. A
/// folder counts each time that it is opened. [`CHANGES`] entries with names of 80 bytes have 22 MiB.
pub const TREES: u64 = 24 << 20;
/// Maximum total size in bytes of the names in the folders that one commit changes, after case folding and
/// normalization; ASCII names aren't counted. 100,000 names of twenty Cyrillic letters have 4 MB.
pub const FOLDED: u64 = 4 << 20;
/// Maximum total length in bytes of the targets of the symbolic links that one commit adds or changes. Each
/// different target counts once.
pub const LINKS: u64 = 8 << 20;
/// Maximum total size in bytes of the empty commits at the end of a merged branch that are examined as
/// approvals: 4 KiB for each of the 64 that are examined.
pub const EMPTY_COMMITS: u64 = 256 << 10;
/// Maximum total size in bytes of the commits that are walked to find a merged branch's fork point.
pub const SIDE_BYTES: u64 = 128 << 20;
/// Maximum length in bytes of a stranger's text that a message quotes.
pub const QUOTE: usize = 256;
/// Maximum number of commits between the floor and the head.
pub const CHAIN: usize = 5_000_000;
/// Maximum number of approval tags, and of heartbeat tags, that are examined.
pub const TAGS: usize = 500_000;
/// Maximum number of commits that are walked to find a merged branch's fork point.
pub const SIDE: usize = 50_000;
/// Maximum number of `revoke/` tags that are examined although they name a key that the policy doesn't have.
pub const STRANGERS: usize = 1000;
/// Maximum number of lines in a block of trailers. A longer paragraph has no trailers.
pub const TRAILERS: usize = 64;
