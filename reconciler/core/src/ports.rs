//! The ports: what the loop needs of the world. Object-safe, so that a controller is put together
//! at run time; each has one contract suite, run on every adapter and on its fake.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use plumb_api::frame::{Apply, Facts, Observe, ObserveReport, Progress, Report};
use plumb_api::report::AgentError;
use plumb_api::{Digest, HostName};

use crate::alert::Alert;
use crate::desired::Endpoint;
use crate::reason::ConditionReason;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Over SSH, trying these in order, with these pinned keys.
    Ssh {
        /// The ways, in order.
        endpoints: Vec<Endpoint>,
        /// The only keys that are taken (`ssh-ed25519 AAAA…`); none means refusal.
        host_keys: Vec<String>,
    },
    /// The machine that this runs on, because its own configuration says so.
    Local,
    /// A folder that stands for a machine, because this machine's configuration says so.
    Sandbox {
        /// The folder.
        root: PathBuf,
    },
}

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTarget {
    /// Its name.
    pub name: HostName,
    /// `x86_64`, `aarch64`; asked of the host when none.
    pub arch: Option<String>,
    /// How.
    pub route: Route,
}

/// A session being opened.
pub type Connecting<'a> = BoxFuture<'a, Result<Box<dyn Session>, HostError>>;

/// Reaches hosts.
pub trait Hosts: Send + Sync {
    /// Opens a session with the host's agent, placing the agent first where it is missing.
    fn connect<'a>(
        &'a self,
        target: &'a HostTarget,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, HostError>>;
}

/// The answer to an observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// What differs.
    Report(Box<ObserveReport>),
    /// The agent doesn't hold the base: ask again with the whole state.
    NeedState,
}

/// Gives contents to a session as it needs them.
pub trait ContentSource: Send + Sync {
    /// The bytes of a content; none where it isn't known.
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>>;
}

impl ContentSource for crate::desired::Contents {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.get(digest)
    }
}

/// A conversation with one host's agent. Dropping it hangs up.
pub trait Session: Send {
    /// Asks what differs.
    fn observe(&mut self, request: Observe) -> BoxFuture<'_, Result<Observation, HostError>>;

    /// Sends these contents and then the plan; progress is told while it goes on.
    fn apply<'a>(
        &'a mut self,
        request: Apply,
        contents: Vec<(Digest, Arc<[u8]>)>,
        progress: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Report, HostError>>;

    /// Asks what machine it is.
    fn facts(&mut self) -> BoxFuture<'_, Result<Facts, HostError>>;
}

/// Why a host couldn't be talked to. Its kind decides retry, condition and alert together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No answer on any of its addresses.
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// The host.
        host: HostName,
        /// Each address and what came of it.
        reason: String,
    },
    /// It shows another key than the pinned ones: perhaps another machine.
    #[error("{host} shows the host key {shown}, which isn't pinned")]
    HostKeyMismatch {
        /// The host.
        host: HostName,
        /// The key's type and SHA-256 fingerprint, and where.
        shown: String,
    },
    /// No key is pinned for it.
    #[error("no host key is pinned for {host}")]
    NoHostKey {
        /// The host.
        host: HostName,
    },
    /// It doesn't let us in, or sudo doesn't.
    #[error("{host} doesn't let {user} in: {reason}")]
    Denied {
        /// The host.
        host: HostName,
        /// The login.
        user: String,
        /// What was tried.
        reason: String,
    },
    /// There is no agent for its architecture here.
    #[error("there is no agent for {arch} here, which {host} needs")]
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
        /// What the host said.
        reason: String,
    },
    /// The connection broke in the middle.
    #[error("the connection to {host} broke: {reason}")]
    Broken {
        /// The host.
        host: HostName,
        /// How.
        reason: String,
    },
    /// The agent answered with an error.
    #[error("{host}: {error}")]
    Agent {
        /// The host.
        host: HostName,
        /// Its error.
        error: AgentError,
    },
    /// The session took longer than it may without a sign of life.
    #[error("{host} gave no sign of life for {seconds} s")]
    Silent {
        /// The host.
        host: HostName,
        /// How long.
        seconds: u64,
    },
}

impl HostError {
    /// The reason of the host's conditions; it owns when the run is tried again.
    pub fn reason(&self) -> ConditionReason {
        match self {
            Self::Unreachable { .. } => ConditionReason::Unreachable,
            Self::HostKeyMismatch { .. } => ConditionReason::HostKeyMismatch,
            Self::NoHostKey { .. } => ConditionReason::NoHostKey,
            Self::Denied { .. } => ConditionReason::AccessDenied,
            Self::NoAgent { .. } => ConditionReason::NoAgent,
            Self::AgentFailed { .. } => ConditionReason::AgentFailed,
            Self::Broken { .. } => ConditionReason::ConnectionBroken,
            Self::Silent { .. } => ConditionReason::Silent,
            Self::Agent { error, .. } => error.code.into(),
        }
    }

    /// What a person can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::HostKeyMismatch { host, .. } => Some(format!(
                "if the machine was reinstalled, run `plumb enroll {host} --address ADDRESS` and push the new key; if not, find out who answers there"
            )),
            Self::NoHostKey { host } => {
                Some(format!("`plumb enroll {host} --address ADDRESS` shows its keys and pins them"))
            }
            // The reason says itself what is wrong on this side.
            Self::Denied { reason, .. } if reason.starts_with("the key file ") => None,
            Self::Denied { .. } => {
                Some("the controller's key must be in the login's authorized_keys, and `sudo -n true` must work".to_owned())
            }
            Self::NoAgent { .. } => Some("`cargo agents` builds it; a packaged plumb has it built in".to_owned()),
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
    /// Sources: the accepted floor, what is held.
    Sources,
    /// Each host's persisted target.
    Targets,
    /// Each host's status.
    Hosts,
    /// Alerts that fire, and those resolved a short while ago.
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
    /// Removes it.
    Delete(Table, String),
}

/// A table's records: key and bytes, by key.
pub type Records = Vec<(String, Vec<u8>)>;

/// Keeps what must outlive the process. One user's, one process's.
pub trait Store: Send + Sync {
    /// A record.
    fn get(&self, table: Table, key: &str) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// All records of a table, by key.
    fn list(&self, table: Table) -> BoxFuture<'_, Result<Records, StoreError>>;

    /// Changes that happen wholly or not at all, durable when this returns.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The store can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the state folder is in use by another controller")]
    Busy,
    /// Its format is newer than this program.
    #[error("the state folder was written by a newer plumb")]
    Newer,
    /// Its file isn't what was written there.
    #[error("the state in {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system doesn't let this user have it.
    #[error("{path} can't be opened: permission denied")]
    Denied {
        /// The file or folder.
        path: String,
    },
    /// It failed.
    #[error("the state folder can't be used: {0}")]
    Failed(String),
}

/// Takes alerts: one Alertmanager.
pub trait AlertSink: Send + Sync {
    /// What it is called in logs, conditions and metrics: its address without credentials.
    fn name(&self) -> &str;

    /// Sends alerts; all of them, or an error that says whether a retry helps.
    fn post<'a>(&'a self, alerts: &'a [Alert]) -> BoxFuture<'a, Result<(), AlertError>>;
}

/// An Alertmanager didn't take alerts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// It can't be reached, or failed: try again.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// It refused them: trying again won't help.
    #[error("refused the alerts with status {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, cut.
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
