//! Recovers from an interrupted run: applies its journal to the ledger.

use std::time::Duration;

use plumb_api::Address;
use plumb_api::frame::LedgerState;
use plumb_api::report::{AgentError, ErrorCode};

use crate::book::{self, Home, Loaded};
use crate::error::Result;
use crate::sys::Sys;

/// Takes the host's lock, then does what [`roll_forward`] does. Does nothing if no run was interrupted.
pub(crate) fn recover(sys: &Sys, home: &Home, loaded: &mut Loaded) -> Result<()> {
    if loaded.unfinished.is_none() {
        return Ok(());
    }
    let Some(_lock) = home.lock("lock", Duration::from_secs(1))? else {
        return Err(locked());
    };
    // The run may have ended after the ledger was loaded and before the lock was taken, so load the ledger
    // again.
    *loaded = book::load(sys, Some(home))?;
    roll_forward(sys, home, loaded)
}

/// Removes the temporary files of an interrupted run, and writes the ledger, to which the run's journal has
/// been applied. The caller must hold the host's lock.
pub(crate) fn roll_forward(sys: &Sys, home: &Home, loaded: &mut Loaded) -> Result<()> {
    let Some(begin) = loaded.unfinished.take() else {
        return Ok(());
    };
    for address in loaded.ledger.resources.keys() {
        remove_temporary(sys, address, &begin.temporary)?;
    }
    book::write(home, &mut loaded.ledger)?;
    loaded.state = LedgerState::Sound;
    Ok(())
}

/// Returns the error for a lock that another run holds.
pub(crate) fn locked() -> AgentError {
    AgentError::new(ErrorCode::Locked, "another run is at work on this host")
        .hint("it ends by itself; a run whose controller is gone ends after the change it is at")
}

/// Removes the temporary file that a killed run may have left beside a resource.
fn remove_temporary(sys: &Sys, address: &Address, temporary: &str) -> Result<()> {
    let Some(path) = address.kind().path(address.name()) else {
        return Ok(());
    };
    // If the path can't be resolved safely, the agent never wrote there.
    if let Ok(Some((dir, _))) = sys.root().parent(&path) {
        dir.unlink(temporary)?;
    }
    Ok(())
}
