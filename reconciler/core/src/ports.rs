//! The ports: the interfaces of the controller's main loop to the outside. They are object-safe traits, so
//! that a controller chooses its adapters at run time. Each port has one contract test suite, which runs
//! against every adapter and against the fake.

mod source_error;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use plumb_api::frame::{
    Adopt, Adopted, Apply, Confirm, Facts, Observe, ObserveReport, Progress, Report,
};
use plumb_api::report::AgentError;
use plumb_api::{AlertmanagerUrl, Digest, HostName};

use crate::alert::Alert;
pub use crate::denial::{Denial, SudoRefusal};
use crate::desired::Endpoint;
use crate::reason::ConditionReason;

pub use source_error::SourceError;

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The way to reach a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// SSH. Tries these endpoints in order, and accepts only these pinned host keys.
    Ssh {
        /// The endpoints, in order.
        endpoints: Vec<Endpoint>,
        /// The accepted host keys (`ssh-ed25519 AAAA…`). If there are none, the controller refuses to connect.
        host_keys: Vec<String>,
    },
    /// The machine that the controller runs on. Only the controller's configuration can set this route, no
    /// manifest.
    Local,
    /// A folder that stands in for a machine's root folder. Only the controller's configuration can set this
    /// route, no manifest.
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
    /// The CPU architecture: `x86_64`, `aarch64`. If `None`, the controller asks the host.
    pub arch: Option<String>,
    /// The way to reach the host.
    pub route: Route,
}

/// A future that opens a session.
pub type Connecting<'a> = BoxFuture<'a, Result<Box<dyn Session>, HostError>>;

/// Opens sessions with hosts.
pub trait Hosts: Send + Sync {
    /// Opens a session with the host's agent. If the agent is missing on the host, copies it there first.
    fn connect<'a>(
        &'a self,
        target: &'a HostTarget,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, HostError>>;

    /// Opens a session over a new connection, which shows that a login works now. Closes a connection that was
    /// kept from an earlier session.
    fn connect_anew<'a>(&'a self, target: &'a HostTarget) -> Connecting<'a>;
}

/// The agent's answer to [`Session::observe`].
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The differences between the host and the desired state.
    Report(Box<ObserveReport>),
    /// The agent doesn't have the state that the request's delta is based on. The caller must repeat the
    /// request with the full state.
    NeedState,
}

/// Looks up the contents that a session has to send.
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
    /// Requests the differences between the host and the desired state.
    fn observe(&mut self, request: Observe) -> BoxFuture<'_, Result<Observation, HostError>>;

    /// Sends these contents and then the plan. Calls `progress` while the agent applies the plan.
    fn apply<'a>(
        &'a mut self,
        request: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Report, HostError>>;

    /// Confirms the changes of an apply that could have cut the controller off.
    fn confirm(&mut self, request: Confirm) -> BoxFuture<'_, Result<(), HostError>>;

    /// Requests facts about the host's machine.
    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>>;

    /// Requests the specs of resources as they are on the host.
    fn adopt(&mut self, request: Adopt) -> BoxFuture<'_, Result<Vec<Adopted>, HostError>>;
}

/// The reason why a session with a host failed. The variant determines the retry, the condition and the alert.
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
    /// The host presents a host key that isn't pinned; it may be another machine.
    #[error("{host} presents the host key {shown}, which isn't pinned")]
    HostKeyMismatch {
        /// The host.
        host: HostName,
        /// The presented key's type and SHA-256 fingerprint, and the address.
        shown: String,
    },
    /// The host answers, but has no SSH algorithm in common with the controller.
    #[error("{host} answers and can't be talked to: {reason}")]
    NoCommonAlgorithm {
        /// The host.
        host: HostName,
        /// The kind of algorithm, with both sides' lists.
        reason: String,
    },
    /// The host accepts the login, but refuses to open an SSH session.
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
    /// The host rejects the login, or the controller has no usable key.
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
    /// The host accepts the login, but sudo doesn't start the agent as root.
    #[error(
        "{host} accepts the login of {user}, but sudo doesn't let {user} run commands as root: {reason}"
    )]
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
    #[error("{host} needs an agent for {arch}, and none is installed beside Plumb")]
    NoAgent {
        /// The host.
        host: HostName,
        /// The host's architecture.
        arch: String,
    },
    /// The agent couldn't be copied to the host or started there.
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
    /// The host sent nothing for too long.
    #[error("{host} sent nothing for {seconds} s")]
    Silent {
        /// The host.
        host: HostName,
        /// The length of the silence, in seconds.
        seconds: u64,
    },
}

impl HostError {
    /// Returns the reason for the host's conditions, which determines when the run is retried.
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

/// A table of the store. Records are JSON values with text keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The controller itself: its identity, its epoch.
    Controller,
    /// The source: the last accepted commit, recent revisions, rollbacks and revoked keys.
    Sources,
    /// Each host's persisted target.
    Targets,
    /// Each host's status.
    Hosts,
    /// Firing alerts, and recently resolved ones.
    Alerts,
    /// Records of what happened, oldest first.
    Events,
    /// The rollouts.
    Rollouts,
    /// Desired states that agents have stored or that are targets, by digest.
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

/// Stores everything that must survive a restart. Only one process can have the store open.
pub trait Store: Send + Sync {
    /// Returns a record.
    fn get(&self, table: Table, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Returns all records of a table, ordered by key.
    fn list(&self, table: Table) -> BoxFuture<'_, Result<Records, StoreError>>;

    /// Commits all changes or none. They are durable when the future completes.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The reason why the store can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
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

/// Sends alerts to one Alertmanager.
pub trait AlertSink: Send + Sync {
    /// Returns the address. Its displayed form is the name of the Alertmanager in logs, conditions and
    /// metrics.
    fn address(&self) -> &AlertmanagerUrl;

    /// Sends these alerts. Their times refer to the controller's clock, which shows `now`. An Alertmanager
    /// decides by its own clock which alerts have ended, so implementations convert the times to that clock.
    /// The variant of the error says whether a retry may help.
    fn post<'a>(
        &'a self,
        alerts: &'a [Alert],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Posted, AlertError>>;
}

/// The answer of an Alertmanager that accepted alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Posted {
    /// The Alertmanager's clock minus the controller's, in whole seconds; `None` if the response has no `Date`
    /// header.
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
