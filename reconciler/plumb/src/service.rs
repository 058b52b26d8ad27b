//! Integration with a service manager: notifies systemd, and receives requests to stop.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::report::{Failure, OrFail as _};

/// Notifies the service manager of a state, such as `READY=1` or `STOPPING=1`, if there is one.
pub(crate) fn notify(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot send {state} to the service manager");
    }
}

/// Requests to stop: Ctrl-C and what service managers send.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes over both signals: they no longer end the process by themselves.
    ///
    /// # Errors
    /// Fails if the system doesn't allow it.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).or_fail(|| "cannot listen for signals".to_owned());
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_to_stop_is_heard() {
        let mut stops = StopSignals::new().unwrap();
        let own = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill")
            .args(["-TERM", &own])
            .status()
            .await;
        assert!(sent.unwrap().success());
        tokio::time::timeout(std::time::Duration::from_secs(5), stops.next())
            .await
            .unwrap();
    }
}
