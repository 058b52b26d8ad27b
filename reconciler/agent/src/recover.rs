//! Rolling an interrupted run forward: what its journal says is taken into the ledger.

use std::time::Duration;

use plumb_api::Address;
use plumb_api::frame::LedgerState;
use plumb_api::report::{AgentError, ErrorCode};

use crate::book::{self, Home, Loaded};
use crate::error::Result;
use crate::sys::Sys;

/// Writes what an interrupted run left in the journal into the ledger, under the host's lock.
pub(crate) fn recover(sys: &Sys, home: &Home, loaded: &mut Loaded) -> Result<()> {
    if loaded.unfinished.is_none() {
        return Ok(());
    }
    let Some(_lock) = home.lock("lock", Duration::from_secs(1))? else {
        return Err(locked());
    };
    // It may have been at its end a moment ago.
    *loaded = book::load(sys, Some(home))?;
    roll_forward(sys, home, loaded)
}

/// Does the same for a caller that holds the lock.
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

/// The error about a lock that another run holds.
pub(crate) fn locked() -> AgentError {
    AgentError::new(ErrorCode::Locked, "another run is at work on this host")
        .hint("it ends by itself; a run whose controller is gone ends after the change it is at")
}

/// Removes a temporary file that a killed run left beside a resource.
fn remove_temporary(sys: &Sys, address: &Address, temporary: &str) -> Result<()> {
    let Some(path) = address.kind().path(address.name()) else {
        return Ok(());
    };
    // A path that can't be walked safely has nothing of ours in it either.
    if let Ok(Some((dir, _))) = sys.root().parent(&path) {
        dir.unlink(temporary)?;
    }
    Ok(())
}
