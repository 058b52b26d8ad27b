//! Verifies raw git objects against the signed-commit policy of a fleet repository.
//!
//! [`verify`] gives a verdict on every commit between a trusted floor (the last accepted commit) and a
//! candidate head, by the policy in each commit's *parent*. It reads objects through [`Objects`] and gets
//! everything else, including the time, from [`Inputs`]: this crate uses no I/O, no clock, no environment and
//! no git.
//!
//! An accepted revision is returned as a [`Verified`], which nothing outside this crate can construct.
//!
//! ```
//! use plumb_trust::{Inputs, ObjectError, ObjectKind, Objects, Oid, ReasonCode, Verdict, verify};
//!
//! struct Nothing;
//! impl Objects for Nothing {
//!     fn read(&self, _: &Oid, _: ObjectKind, _: u64) -> Result<std::borrow::Cow<'_, [u8]>, ObjectError> {
//!         Err(ObjectError::Missing)
//!     }
//! }
//!
//! let commit: Oid = "6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e6f1c0c9e".parse()?;
//! let outcome = verify(&Nothing, &Inputs::new(commit, commit, "2026-11-24T00:00:00Z".parse()?));
//! assert_eq!(outcome.verdict, Verdict::Reject);
//! assert_eq!(outcome.reasons[0].code, ReasonCode::MissingObject);
//! assert!(outcome.revision().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod diff;
mod effects;
mod evaluate;
mod inputs;
mod key_name;
mod link;
pub mod object;
mod oid;
mod outcome;
pub mod policy;
mod reason;
mod signature;
pub mod source;
mod verdict;
mod verified;
mod work;

pub use effects::{Affected, AffectedHost, Effects};
pub use evaluate::{Held, simulate, verify};
pub use inputs::{Detail, Inputs, Introduction, Progress, Revocations, RevocationsError, TagRef};
pub use key_name::{KeyName, KeyNameError};
pub use object::{
    Collision, Entries, Entry, EntryMode, ObjectError, ObjectKind, Objects, Trailer, Trailers,
    WalkError, content, entries, name_of,
};
pub use oid::{ObjectFormat, Oid, OidError};
pub use outcome::{By, NeedMet, Outcome, Resume, RevocationBegun, Rollback, Signer, Step};
pub use policy::{Authority, Pattern, PatternError, Policy, authority};
pub use reason::{Missing, Reason, ReasonCode};
pub use signature::{Armor, ArmorError, named_key};
pub use verdict::Verdict;
pub use verified::{Revision, Verified};
pub use work::Work;
