//! Connects to hosts: over SSH, to this machine, or to a folder that serves as a sandbox. Each route leads
//! to the same agent, which exchanges frames on its standard input and output.
//!
//! All output of a host is untrusted, by any route: see `untrusted`.

mod agents;
mod conversation;
mod frames;
mod line;
mod process;
mod ssh;
mod sudo;
mod untrusted;

use std::sync::Arc;

use plumb_core::ports::{Connecting, HostTarget, Hosts, Route, Session};

pub use agents::{AgentBinary, Agents};
pub use conversation::AgentTimeouts;
pub use process::Program;
pub use ssh::{ConnectLimits, Identity, ScanError, Settings, ShownKey, Timeouts, check_key_file};

use conversation::Conversation;
use ssh::Ssh;

/// Connects to hosts by all routes.
pub struct Connector {
    program: Program,
    agent_timeouts: AgentTimeouts,
    ssh: Arc<Ssh>,
}

impl Connector {
    /// Creates a connector that runs `program` as the agent of `local` and `sandbox` hosts, and installs
    /// `agents` on hosts over SSH.
    pub fn new(program: Program, agents: Agents, settings: Settings) -> Self {
        Self {
            program,
            agent_timeouts: settings.agent_timeouts,
            ssh: Arc::new(Ssh::new(settings, Arc::new(agents))),
        }
    }

    /// Returns the host keys that a machine shows, to be compared and pinned. It doesn't log in.
    ///
    /// # Errors
    /// Returns an error if the machine can't be reached or has no key of an accepted type.
    pub async fn scan_host_keys(
        &self,
        address: &str,
        port: u16,
    ) -> Result<Vec<ShownKey>, ScanError> {
        self.ssh.scan(address, port).await
    }
}

impl Hosts for Connector {
    fn connect<'a>(&'a self, target: &'a HostTarget) -> Connecting<'a> {
        Box::pin(async move {
            let (line, origin) = match &target.route {
                Route::Ssh {
                    endpoints,
                    host_keys,
                } => {
                    let session = self.ssh.session(target, endpoints, host_keys).await?;
                    return Ok(Box::new(session) as Box<dyn Session>);
                }
                Route::Local => process::local(&target.name, &self.program)?,
                Route::Sandbox { root } => process::sandbox(&target.name, &self.program, root)?,
            };
            let name = target.name.clone();
            let session = Conversation::new(name, self.agent_timeouts, line, Box::new(origin));
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn connect_anew<'a>(&'a self, target: &'a HostTarget) -> Connecting<'a> {
        self.ssh.close_kept(&target.name);
        self.connect(target)
    }
}
