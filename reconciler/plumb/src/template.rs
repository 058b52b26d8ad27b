//! The fleet repository that `plumb init` begins with, as it stands in `fleet-repo-template/`.

/// Every file of it: its path and its bytes.
pub const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/template.rs"));
