//! Keeps a connection and its agent for a short while after its last session.
//!
//! Nothing runs on a host without a connection: when the time is up, the pool closes the connection, and the
//! agent ends with its standard input.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use plumb_api::HostName;

use super::ConnectSettings;
use super::connection::Connection;
use crate::hosts::line::Line;

/// A kept connection with its agent.
pub(super) struct ParkedConnection {
    pub(super) connection: Connection,
    pub(super) line: Line,
}

/// The kept connections, at most one per host.
#[derive(Default)]
pub(super) struct Pool(Mutex<ParkedConnections>);

#[derive(Default)]
struct ParkedConnections {
    next: u64,
    parked: HashMap<HostName, (u64, ConnectSettings, ParkedConnection)>,
}

impl Pool {
    /// Takes the host's kept connection, if it is open and silent and the host's settings are unchanged.
    pub(super) fn take(&self, ways: &ConnectSettings) -> Option<ParkedConnection> {
        let (_, same, mut parked) = {
            let mut rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            rack.parked.remove(&ways.name)?
        };
        // An idle agent sends nothing: any output isn't an answer to the next request.
        let silent = parked.line.from.receive(&mut Vec::new()).now_or_never();
        (same == *ways && parked.connection.stands() && silent.is_none()).then_some(parked)
    }

    /// Closes the host's kept connection, if there is one.
    pub(super) fn close(&self, host: &HostName) {
        let mut rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rack.parked.remove(host);
    }

    /// Keeps a connection of the host for at most `long`, and then closes it.
    pub(super) fn keep(
        self: &Arc<Self>,
        ways: ConnectSettings,
        parked: ParkedConnection,
        long: Duration,
    ) {
        // Without a runtime, no timer could close the connection: drop it.
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

    /// Counts the kept connections.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let rack = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rack.parked.len()
    }
}
