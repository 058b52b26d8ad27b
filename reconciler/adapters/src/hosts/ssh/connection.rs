//! Opens an SSH connection to a host: connects, checks the host key, logs in.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use plumb_core::desired::Endpoint;
use russh::client::{self, DisconnectReason, Handle, Handler};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred, SshId};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::login::{self, Refused};
use super::pace::Pace;
use super::pins::{Pins, fingerprint};
use super::{Known, Settings};

/// The time limits for the steps of connecting.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The limit for resolving the name, and for the TCP connection to each address.
    pub connect: Duration,
    /// The limit for the key exchange.
    pub handshake: Duration,
    /// The limit for the login.
    pub login: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(15),
            login: Duration::from_secs(30),
        }
    }
}

/// The reason why connecting to an endpoint failed.
#[derive(Debug)]
pub(super) enum NoConnection {
    /// The endpoint didn't answer, or not as an SSH server.
    Unreachable(String),
    /// It showed a host key that isn't pinned.
    WrongKey(String),
    /// The login failed.
    Refused(String),
}

/// The facts that the handler of a connection records: the host key and the cause of the end.
#[derive(Debug, Default)]
pub(super) struct Aside {
    shown: OnceLock<PublicKey>,
    ended: Mutex<Option<String>>,
}

impl Aside {
    /// The host key that the server showed.
    pub(super) fn shown(&self) -> Option<&PublicKey> {
        self.shown.get()
    }

    /// Returns the cause of the connection's end, if it has ended.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The host keys to accept.
pub(super) enum Trust {
    /// Any of these keys.
    Pinned(Pins),
    /// No key: the handler only records the one that is shown.
    Nothing,
}

/// Handles a connection's events: it checks the host key and records the end.
pub(super) struct Watcher {
    trust: Trust,
    aside: Arc<Aside>,
}

impl Handler for Watcher {
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
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let what = match kind {
                AlgorithmKind::Kex => "key exchange",
                AlgorithmKind::Key => "host key type",
                AlgorithmKind::Cipher => "cipher",
                AlgorithmKind::Compression => "compression",
                AlgorithmKind::Mac => "MAC",
            };
            format!("no common {what}: the server has {}", listed(theirs))
        }
        other => crate::hosts::untrusted::printable(&other.to_string(), 300),
    }
}

fn plain_io(error: &io::Error) -> String {
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

fn listed(names: &[String]) -> String {
    crate::hosts::untrusted::printable(&names.join(", "), 300)
}

/// An endpoint in the form `HOST:PORT`, with brackets around IPv6 addresses.
pub(super) struct Place<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]:{}", self.0, self.1)
        } else {
            write!(f, "{}:{}", self.0, self.1)
        }
    }
}

/// A connection after login.
pub(super) struct Connection {
    pub(super) handle: Handle<Watcher>,
    pub(super) aside: Arc<Aside>,
    pub(super) user: String,
}

impl Connection {
    /// True if the connection isn't known to have ended.
    pub(super) fn stands(&self) -> bool {
        !self.handle.is_closed() && self.aside.ended().is_none()
    }

    /// Returns the cause of its end, for a message.
    pub(super) fn why(&self) -> String {
        self.aside
            .ended()
            .unwrap_or_else(|| "the connection was closed".to_owned())
    }
}

/// Connects to an endpoint and logs in.
pub(super) async fn open(
    endpoint: &Endpoint,
    pins: &Pins,
    settings: &Settings,
    pace: &Pace,
    known: &Known,
) -> Result<Connection, NoConnection> {
    let stream = dial(&endpoint.address, endpoint.port, settings.timeouts, pace).await?;
    let permit = pace.handshake().await;
    let aside = Arc::<Aside>::default();
    let watcher = Watcher {
        trust: Trust::Pinned(pins.clone()),
        aside: Arc::clone(&aside),
    };
    let config = config(pins.preferred(), settings.keepalive);
    let shaking = client::connect_stream(config, stream, watcher);
    let mut handle = match timeout(settings.timeouts.handshake, shaking).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(russh::Error::UnknownKey)) => {
            return Err(NoConnection::WrongKey(
                aside
                    .shown()
                    .map_or_else(|| "unknown".to_owned(), fingerprint),
            ));
        }
        Ok(Err(russh::Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            theirs,
            ..
        })) => {
            return Err(NoConnection::WrongKey(format!(
                "of the types {} (pinned: {})",
                listed(&theirs),
                pins.types()
            )));
        }
        Ok(Err(error)) => return Err(NoConnection::Unreachable(plain(&error))),
        Err(_) => {
            return Err(NoConnection::Unreachable(format!(
                "no handshake within {} s",
                settings.timeouts.handshake.as_secs()
            )));
        }
    };
    let entering = login::enter(&mut handle, endpoint, &settings.identities, known);
    match timeout(settings.timeouts.login, entering).await {
        Ok(Ok(())) => {}
        Ok(Err(Refused(why))) => return Err(NoConnection::Refused(why)),
        Err(_) => {
            return Err(NoConnection::Unreachable(format!(
                "no login within {} s",
                settings.timeouts.login.as_secs()
            )));
        }
    }
    drop(permit);
    Ok(Connection {
        handle,
        aside,
        user: endpoint.user.clone(),
    })
}

/// Makes the client's configuration.
pub(super) fn config(preferred: Preferred, keepalive: Duration) -> Arc<client::Config> {
    Arc::new(client::Config {
        client_id: SshId::Standard(concat!("SSH-2.0-plumb_", env!("CARGO_PKG_VERSION")).into()),
        preferred,
        keepalive_interval: Some(keepalive),
        keepalive_max: 2,
        nodelay: true,
        ..client::Config::default()
    })
}

/// Opens a TCP connection. It tries the name's addresses in the resolver's order.
pub(super) async fn dial(
    address: &str,
    port: u16,
    timeouts: Timeouts,
    pace: &Pace,
) -> Result<TcpStream, NoConnection> {
    let unreachable = NoConnection::Unreachable;
    let looking = tokio::net::lookup_host((address, port));
    let addresses = match timeout(timeouts.connect, looking).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(_)) => return Err(unreachable("the name can't be resolved".to_owned())),
        Err(_) => return Err(unreachable("resolving the name timed out".to_owned())),
    };
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        pace.connect().await;
        match timeout(timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Frames are complete requests: Nagle's algorithm would only delay them.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = plain_io(&error),
            Err(_) => last = format!("no answer within {} s", timeouts.connect.as_secs()),
        }
    }
    Err(unreachable(last))
}

/// Makes a handler that accepts no host key and only records it.
pub(super) fn onlooker(aside: &Arc<Aside>) -> Watcher {
    Watcher {
        trust: Trust::Nothing,
        aside: Arc::clone(aside),
    }
}
