//! Sessions that are kept warm: a connection with its agent, for a short while after its last use.
//!
//! Nothing runs on a host while nobody is connected: when the time is up the connection is closed,
//! and the agent ends with its standard input.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use plumb_api::HostName;

use super::Ways;
use super::connection::Connection;
use crate::hosts::line::Line;

/// A session at rest.
pub(super) struct Parked {
    pub(super) connection: Connection,
    pub(super) line: Line,
}

/// Sessions at rest, one for each host at most.
#[derive(Default)]
pub(super) struct Pool(Mutex<Rack>);

#[derive(Default)]
struct Rack {
    next: u64,
    parked: HashMap<HostName, (u64, Ways, Parked)>,
}

impl Pool {
    /// The host's session at rest, if there is one that still stands.
    pub(super) fn take(&self, ways: &Ways) -> Option<Parked> {
        let (_, same, mut parked) = {
            let mut rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rack.parked.remove(&ways.name)?
        };
        // An agent at rest says nothing: whatever came is not an answer to what we are about to ask.
        let silent = parked.line.from.receive(&mut Vec::new()).now_or_never();
        (same == *ways && parked.connection.stands() && silent.is_none()).then_some(parked)
    }

    /// Keeps a session for this long.
    pub(super) fn keep(self: &Arc<Self>, ways: Ways, parked: Parked, long: Duration) {
        // Without a runtime nothing could end it: it is let go.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if long.is_zero() || !parked.connection.stands() {
            return;
        }
        let host = ways.name.clone();
        let ticket = {
            let mut rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rack.next += 1;
            let ticket = rack.next;
            rack.parked.insert(host.clone(), (ticket, ways, parked));
            ticket
        };
        let pool = Arc::downgrade(self);
        runtime.spawn(async move {
            tokio::time::sleep(long).await;
            if let Some(pool) = pool.upgrade() {
                let mut rack = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
                if rack.parked.get(&host).is_some_and(|(t, ..)| *t == ticket) {
                    rack.parked.remove(&host);
                }
            }
        });
    }

    /// How many are at rest.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rack.parked.len()
    }
}
