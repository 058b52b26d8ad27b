//! What git, libgit2, gix and sq-git make of the objects of the adversary's cases.
//!
//! The cases leave their objects in a folder (`PLUMB_DUMP`); here each world becomes a bare repository
//! again, and each program is asked what of a commit or tag is signed, and whether well.

pub mod case;
pub mod examine;
pub mod git;
pub mod libraries;
pub mod repository;
pub mod sq;
pub mod table;
