//! The messages between a controller and an agent, and their framing.
//!
//! A frame consists of:
//! - a length of four bytes, big endian, which counts the rest of the frame;
//! - a type byte;
//! - the payload: JSON for a message; for a blob, the 32 bytes of its SHA-256 digest and then its bytes.
//!
//! Both ends limit what they read, because neither trusts the lengths that the other sends.

mod codec;
mod dead_man;
mod message;

pub use codec::{FrameError, Incoming, MAX_BLOB, MAX_FRAME, read, write_blob, write_message};
pub use dead_man::{Attendance, Confirm, DeadMan, Nonce};
pub use message::{
    Adopt, AdoptOutcome, AdoptScope, Adopted, Apply, Delta, Departure, Difference, DifferenceState,
    Facts, Fence, LedgerState, LedgerSummary, Lineage, Observe, ObserveReport, PROTOCOL, Progress,
    ProgressState, Purpose, Report, Request, Response, Reveal, RevisionMark, TakeOver,
};
