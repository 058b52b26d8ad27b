//! What the test binaries share.

pub mod keys;
pub mod objects;
