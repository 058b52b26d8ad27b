//! Logs in by public key, from a key file or an ssh-agent, and by no other method.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plumb_core::desired::Endpoint;
use plumb_core::ports::Denial;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};

use super::KnownHost;
use super::handler::{ConnectionHandler, plain};

/// The source of a login key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A private key file without a passphrase.
    KeyFile(PathBuf),
    /// An ssh-agent's socket.
    Agent(PathBuf),
}

/// The maximum number of an ssh-agent's keys to offer. Servers count each as a failed attempt and allow six
/// by default.
const OFFERED: usize = 5;

/// A failed login: its cause, and each method that was tried.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) cause: Denial,
    pub(super) reason: String,
}

/// The failed methods of one login.
#[derive(Default)]
struct Attempts(Vec<(Denial, String)>);

impl Attempts {
    fn failed(&mut self, cause: Denial, message: String) {
        self.0.push((cause, message));
    }

    /// Combines all failures into one. A refusal by the server takes precedence over keys that couldn't be
    /// offered.
    fn refused(self) -> Refused {
        let cause = self.0.iter().map(|(cause, _)| *cause).max();
        let messages: Vec<_> = self.0.into_iter().map(|(_, message)| message).collect();
        Refused {
            cause: cause.unwrap_or(Denial::NoUsableKey),
            reason: if messages.is_empty() {
                "no key to log in with: give the controller a key file or an ssh-agent".to_owned()
            } else {
                messages.join("; ")
            },
        }
    }
}

/// Logs in with the first identity that the server accepts. Of an ssh-agent's keys, it first tries
/// the one that the endpoint accepted last.
pub(super) async fn enter(
    handle: &mut Handle<ConnectionHandler>,
    endpoint: &Endpoint,
    identities: &[Identity],
    known: &KnownHost,
) -> Result<(), Refused> {
    let mut tried = Attempts::default();
    for identity in identities {
        let done = match identity {
            Identity::KeyFile(path) => by_file(handle, endpoint, path, &mut tried).await,
            Identity::Agent(socket) => by_agent(handle, endpoint, socket, known, &mut tried).await,
        };
        if done {
            return Ok(());
        }
        if handle.is_closed() {
            let closed = "the server closed the connection".to_owned();
            tried.failed(Denial::LoginFailed, closed);
            break;
        }
    }
    Err(tried.refused())
}

/// Checks that a key file can be used to log in, before connecting to any host.
///
/// # Errors
/// Returns a message that names the file and the problem.
pub fn check_key_file(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| unread(path, &error))?;
    decode(path, &text).map(drop)
}

fn unread(path: &Path, error: &std::io::Error) -> String {
    format!("the key file {} can't be read: {error}", path.display())
}

/// Reads and decodes a private key file.
async fn read(path: &Path) -> Result<PrivateKey, String> {
    let text = tokio::fs::read_to_string(path).await;
    decode(path, &text.map_err(|error| unread(path, &error))?)
}

fn decode(path: &Path, text: &str) -> Result<PrivateKey, String> {
    let key = match russh::keys::decode_secret_key(text, None) {
        Ok(key) => key,
        Err(russh::keys::Error::KeyIsEncrypted) => return Err(encrypted(path)),
        Err(_) => {
            return Err(format!(
                "the key file {} isn't a private key in OpenSSH's form",
                path.display()
            ));
        }
    };
    if key.is_encrypted() {
        return Err(encrypted(path));
    }
    if matches!(key.algorithm(), Algorithm::Rsa { .. }) {
        return Err(format!(
            "the key file {} is RSA: use an ed25519 key, or put it into an ssh-agent",
            path.display()
        ));
    }
    Ok(key)
}

fn encrypted(path: &Path) -> String {
    format!(
        "the key file {} has a passphrase: put it into an ssh-agent, or use a key without one",
        path.display()
    )
}

async fn by_file(
    handle: &mut Handle<ConnectionHandler>,
    endpoint: &Endpoint,
    path: &Path,
    tried: &mut Attempts,
) -> bool {
    let key = match read(path).await {
        Ok(key) => key,
        Err(why) => {
            tried.failed(Denial::NoUsableKey, why);
            return false;
        }
    };
    let what = format!("{} ({})", path.display(), key.fingerprint(HashAlg::Sha256));
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let answer = handle
        .authenticate_publickey(endpoint.user.as_str(), key)
        .await;
    settled(answer.map_err(|error| plain(&error)), &what, tried)
}

async fn by_agent(
    handle: &mut Handle<ConnectionHandler>,
    endpoint: &Endpoint,
    socket: &Path,
    known: &KnownHost,
    tried: &mut Attempts,
) -> bool {
    let mut agent = match AgentClient::connect_uds(socket).await {
        Ok(agent) => agent,
        Err(error) => {
            tried.failed(
                Denial::NoUsableKey,
                format!("can't ask the ssh-agent at {}: {error}", socket.display()),
            );
            return false;
        }
    };
    if let Some(binding) = handle.agent_session_binding() {
        // An ssh-agent without this extension returns an error, but can still sign.
        let _ = agent.bind_session(binding, false).await;
    }
    let mut keys = match agent.request_identities().await {
        Ok(keys) => keys,
        Err(error) => {
            tried.failed(
                Denial::NoUsableKey,
                format!("can't ask the ssh-agent at {}: {error}", socket.display()),
            );
            return false;
        }
    };
    if keys.is_empty() {
        tried.failed(
            Denial::NoUsableKey,
            format!("the ssh-agent at {} holds no key", socket.display()),
        );
    }
    let name = |key: &AgentIdentity| key.public_key().fingerprint(HashAlg::Sha256).to_string();
    let last = known.login(endpoint);
    keys.sort_by_key(|key| last.as_deref() != Some(name(key).as_str()));
    for key in keys.into_iter().take(OFFERED) {
        let fingerprint = name(&key);
        let what = format!("{} of the ssh-agent ({fingerprint})", key.comment());
        let user = endpoint.user.as_str();
        let answer = match key {
            AgentIdentity::PublicKey { key, .. } => {
                let hash =
                    matches!(key.algorithm(), Algorithm::Rsa { .. }).then_some(HashAlg::Sha512);
                handle
                    .authenticate_publickey_with(user, key, hash, &mut agent)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let hash = matches!(certificate.algorithm(), Algorithm::Rsa { .. })
                    .then_some(HashAlg::Sha512);
                handle
                    .authenticate_certificate_with(user, certificate, hash, &mut agent)
                    .await
            }
        };
        if settled(answer.map_err(|error| error.to_string()), &what, tried) {
            known.logged_in(endpoint, fingerprint);
            return true;
        }
        if handle.is_closed() {
            break;
        }
    }
    false
}

fn settled(answer: Result<AuthResult, String>, what: &str, tried: &mut Attempts) -> bool {
    match answer {
        Ok(AuthResult::Success) => return true,
        Ok(AuthResult::Failure {
            partial_success: true,
            ..
        }) => tried.failed(
            Denial::SecondFactor,
            format!("{what} was accepted, but the server requires a second factor"),
        ),
        Ok(AuthResult::Failure { .. }) => {
            tried.failed(Denial::KeysRejected, format!("{what} was rejected"));
        }
        Err(why) => tried.failed(Denial::LoginFailed, format!("{what}: {why}")),
    }
    false
}
