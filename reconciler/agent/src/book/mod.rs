//! What the host remembers, in `/var/lib/plumb`: who drives it, what Plumb made and what was there
//! before, what was being done when the power went.

mod desired;
mod holder;
mod home;
mod journal;
mod ledger;
mod original;
mod store;

pub(crate) use desired::Desired;
pub(crate) use holder::Holder;
pub(crate) use home::{Home, PATH};
pub(crate) use journal::{Begin, Journal, Record};
pub(crate) use ledger::{Entry, Ledger, Moment, Owner, Owners};
pub(crate) use original::{Original, Originals, phrase};
pub(crate) use store::{Loaded, Next, load, refuse_lost, write};
