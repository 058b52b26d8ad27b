//! Connects to hosts over SSH. A connection and its agent are kept for a short while after a session.

mod channel;
mod connection;
mod handler;
mod login;
mod origin;
mod pace;
mod pins;
mod place;
mod pool;
mod scan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plumb_api::HostName;
use plumb_core::desired::Endpoint;
use plumb_core::ports::{HostError, HostTarget};

pub use connection::Timeouts;
pub use login::{Identity, check_key_file};
pub use pace::ConnectLimits;
pub use scan::{ScanError, ShownKey};

use connection::{Connection, HostPort, NoConnection};
use origin::{SshOrigin, StartStage};
use pace::Pace;
use pins::Pins;
use pool::Pool;

use super::agents::{AgentBinary, Agents};
use super::conversation::{AgentTimeouts, Conversation};
use super::line::Line;

/// The settings for hosts over SSH.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The login keys, in the order in which they are tried.
    pub identities: Vec<Identity>,
    /// The time limits for connecting.
    pub timeouts: Timeouts,
    /// The time limits for a silent agent.
    pub agent_timeouts: AgentTimeouts,
    /// The interval of keepalives on an idle connection; two unanswered ones end it.
    pub keepalive: Duration,
    /// The time for which a connection and its agent are kept for the next session. Zero disables keeping.
    pub keep_warm: Duration,
    /// The bounds on the rate of connecting.
    pub limits: ConnectLimits,
    /// The folder of Plumb's state on a host: `/var/lib/plumb`, except in tests.
    pub state_folder: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            timeouts: Timeouts::default(),
            agent_timeouts: AgentTimeouts::default(),
            keepalive: Duration::from_secs(10),
            keep_warm: Duration::from_secs(30),
            limits: ConnectLimits::default(),
            state_folder: place::STATE.to_owned(),
        }
    }
}

/// Facts learned while connecting, which save a round trip the next time.
#[derive(Debug, Default)]
struct KnownHost {
    arches: Mutex<HashMap<HostName, String>>,
    logins: Mutex<HashMap<Endpoint, String>>,
}

impl KnownHost {
    fn arch(&self, host: &HostName) -> Option<String> {
        let arches = self.arches.lock().unwrap_or_else(PoisonError::into_inner);
        arches.get(host).cloned()
    }

    fn has_arch(&self, host: &HostName, arch: String) {
        let mut arches = self.arches.lock().unwrap_or_else(PoisonError::into_inner);
        arches.insert(host.clone(), arch);
    }

    fn login(&self, endpoint: &Endpoint) -> Option<String> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(endpoint).cloned()
    }

    fn logged_in(&self, endpoint: &Endpoint, key: String) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.insert(endpoint.clone(), key);
    }
}

/// Connects to hosts over SSH.
pub(super) struct Ssh {
    settings: Settings,
    agents: Arc<Agents>,
    pace: Pace,
    known: KnownHost,
    pool: Arc<Pool>,
}

/// The settings of one host that decide how to connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConnectSettings {
    name: HostName,
    arch: Option<String>,
    endpoints: Vec<Endpoint>,
    host_keys: Vec<String>,
}

impl Ssh {
    pub(super) fn new(settings: Settings, agents: Arc<Agents>) -> Self {
        Self {
            pace: Pace::new(settings.limits),
            settings,
            agents,
            known: KnownHost::default(),
            pool: Arc::default(),
        }
    }

    /// Opens a session with a host's agent, on a kept connection or a new one.
    pub(super) async fn session(
        self: &Arc<Self>,
        target: &HostTarget,
        endpoints: &[Endpoint],
        host_keys: &[String],
    ) -> Result<Conversation, HostError> {
        let ways = ConnectSettings {
            name: target.name.clone(),
            arch: target.arch.clone(),
            endpoints: endpoints.to_vec(),
            host_keys: host_keys.to_vec(),
        };
        let (connection, line, stage) = if let Some(parked) = self.pool.take(&ways) {
            (parked.connection, parked.line, StartStage::Reused)
        } else {
            let (connection, line) = self.fresh(&ways).await?;
            (connection, line, StartStage::Fresh)
        };
        let origin = SshOrigin::new(Arc::clone(self), ways, connection, stage);
        Ok(Conversation::new(
            target.name.clone(),
            self.settings.agent_timeouts,
            line,
            Box::new(origin),
        ))
    }

    /// Closes the host's kept connection, if there is one.
    pub(super) fn close_kept(&self, host: &HostName) {
        self.pool.close(host);
    }

    /// Returns the host keys that a machine shows.
    pub(super) async fn scan(&self, address: &str, port: u16) -> Result<Vec<ShownKey>, ScanError> {
        scan::scan(address, port, &self.settings, &self.pace).await
    }

    /// Connects and starts the agent, without waiting to learn whether the host has it.
    async fn fresh(&self, ways: &ConnectSettings) -> Result<(Connection, Line), HostError> {
        let connection = self.connect(ways).await?;
        let line = self.start(ways, &connection).await?;
        Ok((connection, line))
    }

    async fn start(
        &self,
        ways: &ConnectSettings,
        connection: &Connection,
    ) -> Result<Line, HostError> {
        let agents = self.candidates(ways)?;
        let login = place::Login::of(&connection.user);
        let command = place::start(login, &self.settings.state_folder, &agents);
        channel::run(connection, &command)
            .await
            .map_err(|failed| failed.host_error(ways.name.clone(), "the agent can't be started"))
    }

    /// Returns the agents that may fit the host: exactly one if the host's architecture is known.
    fn candidates(&self, ways: &ConnectSettings) -> Result<Vec<Arc<AgentBinary>>, HostError> {
        match self.known.arch(&ways.name).or_else(|| ways.arch.clone()) {
            Some(arch) => self.agent(ways, &arch).map(|agent| vec![agent]),
            None => Ok(self.agents.all()),
        }
    }

    fn agent(&self, ways: &ConnectSettings, arch: &str) -> Result<Arc<AgentBinary>, HostError> {
        self.agents.find(arch).ok_or_else(|| HostError::NoAgent {
            host: ways.name.clone(),
            arch: arch.to_owned(),
        })
    }

    /// Connects to the first endpoint that accepts, in order.
    async fn connect(&self, ways: &ConnectSettings) -> Result<Connection, HostError> {
        let host = || ways.name.clone();
        let pins =
            Pins::parse(&ways.host_keys).ok_or_else(|| HostError::NoHostKey { host: host() })?;
        let mut all = Vec::new();
        let mut worst = None;
        for endpoint in &ways.endpoints {
            let tried =
                connection::open(endpoint, &pins, &self.settings, &self.pace, &self.known).await;
            let place = HostPort(&endpoint.address, endpoint.port);
            match tried {
                Ok(connection) => return Ok(connection),
                Err(NoConnection::Unreachable(why)) => all.push(format!("{place}: {why}")),
                // Another machine may have the address in this network. The next endpoint may lead to the
                // right one.
                Err(NoConnection::WrongKey(shown)) => {
                    all.push(format!("{place}: another host key"));
                    worst.get_or_insert(HostError::HostKeyMismatch {
                        host: host(),
                        shown: format!("{shown} at {place}"),
                    });
                }
                Err(NoConnection::NoCommonAlgorithm(reason)) => {
                    all.push(format!("{place}: {reason}"));
                    worst.get_or_insert(HostError::NoCommonAlgorithm {
                        host: host(),
                        reason: format!("{reason} (at {place})"),
                    });
                }
                Err(NoConnection::Refused(refused)) => {
                    all.push(format!("{place}: no login"));
                    worst.get_or_insert(HostError::Denied {
                        host: host(),
                        user: endpoint.user.clone(),
                        cause: refused.cause,
                        reason: refused.reason,
                    });
                }
            }
        }
        if all.is_empty() {
            all.push("its manifest has no address".to_owned());
        }
        Err(worst.unwrap_or_else(|| HostError::Unreachable {
            host: host(),
            reason: all.join("; "),
        }))
    }
}

#[cfg(test)]
mod tests;
