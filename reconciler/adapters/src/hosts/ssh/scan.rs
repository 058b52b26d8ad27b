//! Reads the host keys that a machine shows, for pinning.

use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg};
use russh::{AlgorithmKind, client};
use tokio::time::timeout;

use super::Settings;
use super::connection::{HostPort, NoConnection, config, dial, disagreement};
use super::handler::{ConnectionFacts, onlooker, plain};
use super::pace::Pace;
use super::pins::{TYPES, preferred};

/// A host key that a machine showed. That proves that the machine has the key, not that it is the right
/// machine: a person must compare the fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// The line to pin: `ssh-ed25519 AAAA…`.
    pub line: String,
    /// The key type: `ssh-ed25519`.
    pub kind: String,
    /// The fingerprint `SHA256:…`, as `ssh-keygen -lf` prints it.
    pub fingerprint: String,
}

/// A machine that showed no host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} presents no host key: {reason}")]
pub struct ScanError {
    /// The endpoint.
    pub place: String,
    /// The reason.
    pub reason: String,
}

/// Reads a machine's host keys, with one connection per key type and without logging in.
pub(super) async fn scan(
    address: &str,
    port: u16,
    settings: &Settings,
    pace: &Pace,
) -> Result<Vec<ShownKey>, ScanError> {
    let mut keys = Vec::new();
    let mut reason = None;
    for algorithm in TYPES {
        match read_host_key(address, port, algorithm, settings, pace).await {
            Ok(Some(key)) => keys.push(key),
            Ok(None) => {}
            Err(why) => {
                reason = Some(why);
                break;
            }
        }
    }
    if keys.is_empty() {
        return Err(ScanError {
            place: HostPort(address, port).to_string(),
            reason: reason.unwrap_or_else(|| "it has no key of type ed25519 or ecdsa".to_owned()),
        });
    }
    Ok(keys)
}

/// Reads the host key of one type; returns `None` if the server has none.
async fn read_host_key(
    address: &str,
    port: u16,
    algorithm: Algorithm,
    settings: &Settings,
    pace: &Pace,
) -> Result<Option<ShownKey>, String> {
    let stream = match dial(address, port, settings.timeouts, pace).await {
        Ok(stream) => stream,
        Err(
            NoConnection::Unreachable(why)
            | NoConnection::WrongKey(why)
            | NoConnection::NoCommonAlgorithm(why),
        ) => return Err(why),
        Err(NoConnection::Refused(refused)) => return Err(refused.reason),
    };
    let _permit = pace.handshake().await;
    let aside = Arc::<ConnectionFacts>::default();
    let config = config(preferred(vec![algorithm]), settings.keepalive);
    let shaking = client::connect_stream(config, stream, onlooker(&aside));
    let outcome = timeout(settings.timeouts.handshake, shaking).await;
    if let Some(key) = aside.shown() {
        return Ok(key.to_openssh().ok().map(|line| ShownKey {
            line: line.trim().to_owned(),
            kind: key.algorithm().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        }));
    }
    match outcome {
        Ok(Err(russh::Error::NoCommonAlgo {
            kind: AlgorithmKind::Key,
            ..
        })) => Ok(None),
        Ok(Err(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
            Err(disagreement(&kind, &ours, &theirs))
        }
        Ok(Err(error)) => Err(plain(&error)),
        Ok(Ok(_)) => Err("the server presented none".to_owned()),
        Err(_) => Err("no handshake in time".to_owned()),
    }
}
