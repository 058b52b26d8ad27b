//! The process of the dead-man timer's unit: waits for the confirmation, and otherwise puts the changes back.

use std::thread;
use std::time::Duration;

use super::record::{Armed, Due, RevertCause};
use super::{revert, unit};
use crate::book::Home;
use crate::error::Result;
use crate::sys::Sys;

/// Maximum time between two looks at the armed timer.
const INTERVAL: Duration = Duration::from_millis(200);

/// Returns when the timer is disarmed, by a confirmation or because the changes were put back.
pub(crate) fn watch(sys: &Sys) -> Result<()> {
    let Some(home) = Home::open(sys)? else {
        return Ok(());
    };
    loop {
        let Some(armed) = Armed::load(&home)? else {
            return unit::remove(sys, &home);
        };
        let patience = match armed.due() {
            Due::After(rest) => {
                thread::sleep(rest.min(INTERVAL));
                continue;
            }
            Due::Now(_) => Duration::from_secs(1),
            Due::WithoutRun => Duration::ZERO,
        };
        let Some(_lock) = home.lock("lock", patience)? else {
            thread::sleep(INTERVAL);
            continue;
        };
        // A confirmation or the end of the run may have come before the lock.
        let Some(armed) = Armed::load(&home)? else {
            continue;
        };
        match armed.due() {
            Due::Now(cause) => return revert::revert(sys, &home, &armed, cause),
            Due::WithoutRun => return revert::revert(sys, &home, &armed, RevertCause::RunEnded),
            Due::After(_) => {}
        }
    }
}
