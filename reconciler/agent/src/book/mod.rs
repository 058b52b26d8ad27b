//! The agent's persistent state in `/var/lib/plumb`: holder, ledger, originals, journal and desired state.

mod desired;
mod entry;
mod holder;
mod home;
mod journal;
mod ledger;
mod original;
mod record;
mod store;

pub(crate) use desired::Desired;
pub(crate) use entry::{CreationStep, Entry, Moment, Owner, Owners};
pub(crate) use holder::Holder;
pub(crate) use home::{Durable, Home, PATH, Sealed, put, seal, unseal, write_whole};
pub(crate) use journal::Journal;
pub(crate) use ledger::Ledger;
pub(crate) use original::{Original, Originals, RESERVE};
pub(crate) use record::{Begin, Record};
pub(crate) use store::{Loaded, NextGeneration, load, refuse_lost, write};
