//! The dead-man timer: puts changes back that could cut the controller off, unless the controller confirms them
//! over a new connection.
//!
//! - `record` — the armed timer and the changes that were put back, on disk.
//! - `pre_image` — the state of each resource before its change.
//! - `unit` — the systemd unit that watches the timer, also after a power loss.
//! - `watch` — the unit's process.
//! - `revert` — puts the changes back, on the host and in the ledger.

mod pre_image;
mod record;
mod revert;
mod unit;
mod watch;

use std::collections::BTreeSet;

use plumb_api::HostName;
use plumb_api::frame::Nonce;
use plumb_api::report::ErrorCode;

use crate::book::{Home, Originals};
use crate::error::{Result, fail};
use crate::sys::Sys;

pub(crate) use pre_image::{PreImage, PreState};
pub(crate) use record::{Armed, Phase, Reverted};
pub(crate) use watch::watch;

/// Fails while changes of an earlier run wait for their confirmation.
pub(crate) fn refuse_armed(home: &Home) -> Result<()> {
    match Armed::load(home)? {
        None => Ok(()),
        Some(_) => fail(
            ErrorCode::Unconfirmed,
            "changes that could cut the controller off wait for their confirmation",
        ),
    }
}

/// Arms the timer, durably and before the first change.
pub(crate) fn arm(sys: &Sys, home: &Home, armed: &Armed) -> Result<()> {
    armed.save(home)?;
    let installed = unit::install(sys, home);
    if installed.is_err() {
        Armed::remove(home)?;
        unit::remove(sys, home)?;
    }
    installed
}

/// Disarms the timer, so that the changes stay.
pub(crate) fn disarm(sys: &Sys, home: &Home) -> Result<()> {
    Armed::remove(home)?;
    Originals::open_pre_images(home)?.retain(&BTreeSet::new())?;
    unit::stop(sys)?;
    unit::remove(sys, home)
}

/// Confirms the changes of a run: disarms the timer, so that the changes stay. The caller must hold the host's
/// lock. A confirmation that arrives twice succeeds twice.
pub(crate) fn confirm(sys: &Sys, home: &Home, nonce: &Nonce, host: &HostName) -> Result<()> {
    match Armed::load(home)? {
        Some(armed) if armed.nonce != *nonce => fail(
            ErrorCode::Unconfirmed,
            "the changes that wait for their confirmation are another run's",
        ),
        Some(armed) if armed.phase == Phase::Changing => fail(
            ErrorCode::Unconfirmed,
            "the run ended before it had made all changes that are to be confirmed",
        ),
        Some(_) => {
            Reverted::remove(home)?;
            disarm(sys, home)
        }
        None => match Reverted::load(home)? {
            Some(reverted) if reverted.nonce == *nonce => Err(reverted.answer(host)),
            _ => Ok(()),
        },
    }
}
