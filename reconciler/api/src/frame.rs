//! The messages between a controller and an agent, and their framing.
//!
//! A frame is a length (four bytes, big endian; it counts the rest of the frame), a type byte, and the
//! payload: JSON for a message; 32 bytes of SHA-256 and then the bytes for a content. Both ends limit what
//! they read; neither trusts the other's numbers.

mod codec;
mod message;

pub use codec::{FrameError, Incoming, MAX_BLOB, MAX_FRAME, read, write_blob, write_message};
pub use message::{
    Apply, Delta, Departure, Difference, DifferenceState, Facts, Fence, LedgerState, LedgerSummary,
    Lineage, Observe, ObserveReport, PROTOCOL, Progress, ProgressState, Purpose, Report, Request,
    Response, Reveal, RevisionMark, TakeOver,
};
