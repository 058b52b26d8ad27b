//! The ports: the loop's interfaces to the outside. They are object-safe, so that a controller is put
//! together at run time; each has one contract suite, run on every adapter and on its fake.

mod source_error;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use plumb_api::frame::{Apply, Facts, Observe, ObserveReport, Progress, Report};
use plumb_api::report::AgentError;
use plumb_api::{Digest, HostName};

use crate::alert::Alert;
pub use crate::denial::{Denial, SudoRefusal};
use crate::desired::Endpoint;
use crate::reason::ConditionReason;

pub use source_error::SourceError;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The way to reach a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Over SSH: tries these endpoints in order and accepts only these pinned keys.
    Ssh {
        /// The endpoints, in order.
        endpoints: Vec<Endpoint>,
        /// The only accepted keys (`ssh-ed25519 AAAA…`); without any, the connection is refused.
        host_keys: Vec<String>,
    },
    /// The machine that the controller runs on; only its own configuration can set this route.
    Local,
    /// A folder in place of a machine; only the controller's own configuration can set this route.
    Sandbox {
        /// The folder.
        root: PathBuf,
    },
}

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTarget {
    /// The host's name.
    pub name: HostName,
    /// The architecture: `x86_64`, `aarch64`. `None` means that the host is asked.
    pub arch: Option<String>,
    /// The way to reach it.
    pub route: Route,
}

/// A session being opened.
pub type Connecting<'a> = BoxFuture<'a, Result<Box<dyn Session>, HostError>>;

/// Reaches hosts.
pub trait Hosts: Send + Sync {
    /// Opens a session with the host's agent; places the agent first if it is missing.
    fn connect<'a>(
        &'a self,
        target: &'a HostTarget,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, HostError>>;
}

/// The answer to an observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The differences.
    Report(Box<ObserveReport>),
    /// The agent doesn't hold the base; the request must be repeated with the full state.
    NeedState,
}

/// Provides contents to a session as it needs them.
pub trait ContentSource: Send + Sync {
    /// Returns the bytes of a content, or `None` if it isn't known.
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>>;
}

impl ContentSource for crate::desired::Contents {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.get(digest)
    }
}

/// A session with one host's agent. Dropping it closes the connection.
pub trait Session: Send {
    /// Asks the agent for the differences.
    fn observe(&mut self, request: Observe) -> BoxFuture<'_, Result<Observation, HostError>>;

    /// Sends these contents and then the plan; reports progress meanwhile.
    fn apply<'a>(
        &'a mut self,
        request: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Report, HostError>>;

    /// Asks the agent for the facts of its machine.
    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>>;
}

/// The reason why a session with a host failed. Its kind decides retry, condition and alert together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No address of the host answered.
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// The host.
        host: HostName,
        /// Each address with its error.
        reason: String,
    },
    /// The host presents a key other than the pinned ones; it may be another machine.
    #[error("{host} presents the host key {shown}, which isn't pinned")]
    HostKeyMismatch {
        /// The host.
        host: HostName,
        /// The presented key's type and SHA-256 fingerprint, and the address.
        shown: String,
    },
    /// The host answers, and has no SSH algorithm in common with the controller.
    #[error("{host} answers and can't be talked to: {reason}")]
    NoCommonAlgorithm {
        /// The host.
        host: HostName,
        /// The kind of algorithm, with both sides' lists.
        reason: String,
    },
    /// The host lets the controller log in and opens no session.
    #[error("{host} accepts the login and opens no session (MaxSessions)")]
    NoSession {
        /// The host.
        host: HostName,
    },
    /// No key is pinned for the host.
    #[error("no host key is pinned for {host}")]
    NoHostKey {
        /// The host.
        host: HostName,
    },
    /// The host rejects the login, or the controller has none to offer.
    #[error("{host} can't be logged in to as {user}: {reason}")]
    Denied {
        /// The host.
        host: HostName,
        /// The user of the login.
        user: String,
        /// The cause.
        cause: Denial,
        /// The login methods that were tried.
        reason: String,
    },
    /// The host accepts the login, and sudo doesn't make it root.
    #[error("{host} accepts the login of {user}, and sudo doesn't make it root: {reason}")]
    SudoDenied {
        /// The host.
        host: HostName,
        /// The user of the login.
        user: String,
        /// The cause.
        cause: SudoRefusal,
        /// The cause, in words.
        reason: String,
    },
    /// This installation has no agent for the host's architecture.
    #[error("no agent for {arch} is installed, which {host} needs")]
    NoAgent {
        /// The host.
        host: HostName,
        /// Its architecture.
        arch: String,
    },
    /// The agent couldn't be placed or started.
    #[error("the agent doesn't start on {host}: {reason}")]
    AgentFailed {
        /// The host.
        host: HostName,
        /// The host's output.
        reason: String,
    },
    /// The connection broke during the session.
    #[error("the connection to {host} broke: {reason}")]
    Broken {
        /// The host.
        host: HostName,
        /// The error of the connection.
        reason: String,
    },
    /// The agent answered with an error.
    #[error("{host}: {error}")]
    Agent {
        /// The host.
        host: HostName,
        /// The agent's error.
        error: AgentError,
    },
    /// The session showed no sign of life for too long.
    #[error("{host} sent nothing for {seconds} s")]
    Silent {
        /// The host.
        host: HostName,
        /// The length of the silence, in seconds.
        seconds: u64,
    },
}

impl HostError {
    /// Returns the reason for the host's conditions; it defines when the run is retried.
    pub fn reason(&self) -> ConditionReason {
        match self {
            Self::Unreachable { .. } => ConditionReason::Unreachable,
            Self::HostKeyMismatch { .. } => ConditionReason::HostKeyMismatch,
            Self::NoCommonAlgorithm { .. } => ConditionReason::NoCommonAlgorithm,
            Self::NoSession { .. } => ConditionReason::NoSession,
            Self::NoHostKey { .. } => ConditionReason::NoHostKey,
            Self::Denied { .. } => ConditionReason::AccessDenied,
            Self::SudoDenied { .. } => ConditionReason::SudoDenied,
            Self::NoAgent { .. } => ConditionReason::NoAgent,
            Self::AgentFailed { .. } => ConditionReason::AgentFailed,
            Self::Broken { .. } => ConditionReason::ConnectionBroken,
            Self::Silent { .. } => ConditionReason::Silent,
            Self::Agent { error, .. } => error.code.into(),
        }
    }

    /// Returns advice on this error, if there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::HostKeyMismatch { host, .. } => Some(format!(
                "if the machine was reinstalled, run `plumb enroll {host} --address ADDRESS` and push the new key; if not, find out which machine answers"
            )),
            Self::NoCommonAlgorithm { .. } => Some(
                "let its sshd_config offer one of Plumb's (HostKeyAlgorithms, KexAlgorithms, Ciphers, MACs)".to_owned(),
            ),
            Self::NoSession { .. } => Some("set MaxSessions to 1 or more in its sshd_config".to_owned()),
            Self::NoHostKey { host } => {
                Some(format!("run `plumb enroll {host} --address ADDRESS` to see its keys and pin them"))
            }
            Self::Denied { user, cause, .. } => cause.hint(user),
            Self::SudoDenied { user, cause, .. } => Some(cause.hint(user)),
            Self::NoAgent { .. } => Some("install a package of plumb, which contains every agent, or run `cargo agents` in a source tree".to_owned()),
            Self::Agent { error, .. } => error.hint.clone(),
            Self::Unreachable { .. } | Self::AgentFailed { .. } | Self::Broken { .. } | Self::Silent { .. } => None,
        }
    }
}

/// A table of the store. Records are versioned JSON, keyed by text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The controller itself: its identity, its epoch.
    Controller,
    /// Sources: the accepted floor, held commits.
    Sources,
    /// Each host's persisted target.
    Targets,
    /// Each host's status.
    Hosts,
    /// Firing alerts, and recently resolved ones.
    Alerts,
    /// Events, oldest first.
    Events,
    /// The rollout.
    Rollouts,
    /// Desired states that hosts hold, by digest.
    States,
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a record.
    Put(Table, String, Vec<u8>),
    /// Removes a record.
    Delete(Table, String),
}

/// A table's records, each with its key and bytes, ordered by key.
pub type Records = Vec<(String, Vec<u8>)>;

/// Stores everything that must outlive the process. Only one user and one process open it.
pub trait Store: Send + Sync {
    /// Returns a record.
    fn get(&self, table: Table, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Returns all records of a table, ordered by key.
    fn list(&self, table: Table) -> BoxFuture<'_, Result<Records, StoreError>>;

    /// Commits all changes or none; they are durable when this returns.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The store can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the store.
    #[error("the state folder is in use by another controller")]
    Busy,
    /// The store's format is newer than this program.
    #[error("the state folder was written by a newer plumb")]
    Newer,
    /// The store's file is damaged.
    #[error("the state in {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// The damage.
        reason: String,
    },
    /// The system denies this user access.
    #[error("{path} can't be opened: permission denied")]
    Denied {
        /// The file or folder.
        path: String,
    },
    /// Another error of the store.
    #[error("the state folder can't be used: {0}")]
    Failed(String),
}

/// Takes alerts for one Alertmanager.
pub trait AlertSink: Send + Sync {
    /// Returns the name for logs, conditions and metrics: the address without credentials.
    fn name(&self) -> &str;

    /// Sends all these alerts, whose times are by a clock that shows `now`; the error says whether a retry
    /// helps. An Alertmanager judges by its own clock which alerts are over, so the times are sent as that
    /// clock would show them.
    fn post<'a>(
        &'a self,
        alerts: &'a [Alert],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Posted, AlertError>>;
}

/// The answer of an Alertmanager that accepted alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Posted {
    /// The Alertmanager's clock minus ours, to the second; `None` if its answer has no `Date`.
    pub clock_offset: Option<SignedDuration>,
}

/// The error of an Alertmanager that didn't accept alerts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// The Alertmanager can't be reached, or failed; a retry may help.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// The Alertmanager rejected the alerts; a retry won't help.
    #[error("rejected the alerts with status {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body of the answer, truncated.
        body: String,
    },
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh { endpoints, .. } => {
                let all: Vec<_> = endpoints
                    .iter()
                    .map(|e| format!("{}@{}:{}", e.user, e.address, e.port))
                    .collect();
                write!(f, "ssh {}", all.join(", "))
            }
            Self::Local => f.write_str("local"),
            Self::Sandbox { root } => write!(f, "sandbox {}", root.display()),
        }
    }
}
