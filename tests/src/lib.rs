//! What the test binaries share.

pub mod certificates;
pub mod keys;
pub mod objects;
