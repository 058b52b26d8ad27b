//! Verdicts on the command line: verifies a range of commits and describes the result. Only these
//! descriptions name the people who could give a missing approval. Alerts don't, because outsiders may read
//! them.

mod describe;
pub(crate) mod divergence;
pub(crate) mod floor;
pub(crate) mod hint;
pub(crate) mod history;
mod judge;
mod range;

pub(crate) use describe::{Verbosity, describe, describe_with, unjudged, who_could};
pub(crate) use history::{authority, introduction};
pub(crate) use judge::{judge, judge_accepted, judge_with};
pub(crate) use range::{FloorSource, Range};
