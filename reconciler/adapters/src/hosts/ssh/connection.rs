//! Opens an SSH connection to a host: connects, checks the host key, logs in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use plumb_core::desired::Endpoint;
use russh::client::{self, Handle};
use russh::{AlgorithmKind, Preferred, SshId};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::handler::{ConnectionFacts, ConnectionHandler, Trust, listed, plain, plain_io};
use super::login::{self, Refused};
use super::pace::Pace;
use super::pins::{self, Pins, fingerprint};
use super::{KnownHost, Settings};

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
    /// The endpoint showed a host key that isn't pinned.
    WrongKey(String),
    /// The login failed.
    Refused(Refused),
    /// The endpoint answered, but has no algorithm in common with us.
    NoCommonAlgorithm(String),
}

/// An endpoint in the form `HOST:PORT`, with brackets around IPv6 addresses.
pub(super) struct HostPort<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for HostPort<'_> {
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
    pub(super) handle: Handle<ConnectionHandler>,
    pub(super) aside: Arc<ConnectionFacts>,
    pub(super) user: String,
}

impl Connection {
    /// True if the connection isn't known to have ended.
    pub(super) fn stands(&self) -> bool {
        !self.handle.is_closed() && self.aside.ended().is_none()
    }

    /// Returns why the connection ended, for a message.
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
    known: &KnownHost,
) -> Result<Connection, NoConnection> {
    let stream = dial(&endpoint.address, endpoint.port, settings.timeouts, pace).await?;
    let permit = pace.handshake().await;
    let aside = Arc::<ConnectionFacts>::default();
    let watcher = ConnectionHandler {
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
        // The server has host keys of accepted types, but none of a pinned type: it isn't the pinned machine.
        Ok(Err(russh::Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            theirs,
            ..
        })) if theirs.iter().any(|name| pins::is_accepted(name)) => {
            return Err(NoConnection::WrongKey(format!(
                "of the types {} (pinned: {})",
                listed(&theirs),
                pins.types()
            )));
        }
        Ok(Err(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
            return Err(NoConnection::NoCommonAlgorithm(disagreement(
                &kind, &ours, &theirs,
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
        Ok(Err(refused)) => return Err(NoConnection::Refused(refused)),
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

/// Returns a message about a failed negotiation, with both sides' lists of algorithms.
pub(super) fn disagreement(kind: &AlgorithmKind, ours: &[String], theirs: &[String]) -> String {
    let what = match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key type",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    };
    // The lists of key exchanges also contain markers of protocol extensions.
    let real = |names: &[String]| {
        let names = names
            .iter()
            .filter(|n| !n.starts_with("ext-info-") && !n.starts_with("kex-strict-"));
        names.cloned().collect::<Vec<_>>()
    };
    format!(
        "no common {what}: the server offers {}; Plumb offers {}",
        listed(&real(theirs)),
        listed(&real(ours))
    )
}

/// Creates the client's configuration.
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
