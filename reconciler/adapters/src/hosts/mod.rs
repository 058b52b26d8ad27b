//! Reaches hosts: over SSH, this very machine, or a folder that stands for one. Behind each is the
//! same agent, which speaks frames on its standard input and output.
//!
//! What a host says is untrusted, whichever way it came: see `untrusted`.

mod agents;
mod conversation;
mod frames;
mod line;
mod process;
mod ssh;
mod untrusted;

use std::sync::Arc;

use plumb_core::ports::{Connecting, HostTarget, Hosts, Route, Session};

pub use agents::{AgentBinary, Agents};
pub use conversation::Patience;
pub use process::Program;
pub use ssh::{Identity, Limits, ScanError, Settings, ShownKey, Timeouts, check_key_file};

use conversation::Conversation;
use ssh::Ssh;

/// Reaches hosts by all routes.
pub struct Connector {
    program: Program,
    patience: Patience,
    ssh: Arc<Ssh>,
}

impl Connector {
    /// A connector whose `local` and `sandbox` agents are `program`, and which places `agents` on
    /// hosts over SSH.
    pub fn new(program: Program, agents: Agents, settings: Settings) -> Self {
        Self {
            program,
            patience: settings.patience,
            ssh: Arc::new(Ssh::new(settings, Arc::new(agents))),
        }
    }

    /// The host keys that a machine shows, to be compared and pinned. Nothing is logged in to.
    ///
    /// # Errors
    /// When it can't be reached, or shows none of a type that is taken.
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
            let session = Conversation::new(name, self.patience, line, Box::new(origin));
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }
}
