//! Handles the events of an SSH connection: checks the host key, records why the connection ended, formats
//! errors.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use russh::client::{DisconnectReason, Handler};
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::pins::Pins;

/// Facts that the handler of a connection records: the host key, and why the connection ended.
#[derive(Debug, Default)]
pub(super) struct ConnectionFacts {
    shown: OnceLock<PublicKey>,
    ended: Mutex<Option<String>>,
}

impl ConnectionFacts {
    /// The host key that the server showed.
    pub(super) fn shown(&self) -> Option<&PublicKey> {
        self.shown.get()
    }

    /// Returns why the connection ended, if it has ended.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The host keys to accept.
pub(super) enum Trust {
    /// Accepts any of these keys.
    Pinned(Pins),
    /// Accepts no key: the handler only records the key that the server shows.
    Nothing,
}

/// Handles a connection's events: checks the host key and records why the connection ended.
pub(super) struct ConnectionHandler {
    pub(super) trust: Trust,
    pub(super) aside: Arc<ConnectionFacts>,
}

impl Handler for ConnectionHandler {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let shown = shown.public_key();
        let taken = match &self.trust {
            Trust::Pinned(pins) => pins.hold(&shown),
            Trust::Nothing => false,
        };
        let _ = self.aside.shown.set(shown);
        Ok(taken)
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        let text = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let said = crate::hosts::untrusted::printable(&info.message, 200);
                format!("the server hung up: {said}")
            }
            DisconnectReason::Error(error) => plain(error),
        };
        self.aside
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(text);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// Turns a russh error into a message in common terms.
pub(super) fn plain(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(error) => plain_io(error),
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::RecvError
        | russh::Error::SendError => "the connection was closed".to_owned(),
        russh::Error::KeepaliveTimeout => "the server stopped answering keepalives".to_owned(),
        russh::Error::Version => "the peer isn't an SSH server".to_owned(),
        other => crate::hosts::untrusted::printable(&other.to_string(), 300),
    }
}

/// Turns an I/O error of a connection into a message in common terms.
pub(super) fn plain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => "the connection was closed".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        _ => crate::hosts::untrusted::printable(&error.to_string(), 300),
    }
}

/// Joins names that a server sent, for a message.
pub(super) fn listed(names: &[String]) -> String {
    crate::hosts::untrusted::printable(&names.join(", "), 300)
}

/// Creates a handler that accepts no host key and only records it.
pub(super) fn onlooker(aside: &Arc<ConnectionFacts>) -> ConnectionHandler {
    ConnectionHandler {
        trust: Trust::Nothing,
        aside: Arc::clone(aside),
    }
}
