//! Connects to hosts: builds the connector, and chooses the route to each host (SSH, this machine or a
//! folder).

use std::path::PathBuf;

use plumb_adapters::hosts::{Agents, Connector, Identity, Program, Settings, check_key_file};
use plumb_api::HostName;
use plumb_core::desired::HostIntent;
use plumb_core::ports::{HostTarget, Route};

use crate::config::{Config, SshConfig};
use crate::embedded::AGENTS;
use crate::report::{Failure, OrFail as _};

/// The hosts that a configuration drives without SSH.
pub(crate) struct Routes {
    local: Vec<HostName>,
    sandboxes: Vec<(HostName, PathBuf)>,
}

impl Routes {
    /// Collects the routes from a controller's configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            local: config.local.clone(),
            sandboxes: config
                .sandboxes()
                .map(|(host, folder)| (host.clone(), folder))
                .collect(),
        }
    }

    /// Returns the routes for use without a configuration: every host is reached by SSH.
    pub(crate) fn ssh_only() -> Self {
        Self {
            local: Vec::new(),
            sandboxes: Vec::new(),
        }
    }

    /// Returns the route to a host. Only the controller's configuration, never the repository, can choose the
    /// routes `local` and `sandbox`.
    pub(crate) fn to(&self, intent: &HostIntent) -> HostTarget {
        HostTarget {
            name: intent.name.clone(),
            arch: intent.arch.clone(),
            route: self.route(intent),
        }
    }

    fn route(&self, intent: &HostIntent) -> Route {
        if self.local.contains(&intent.name) {
            return Route::Local;
        }
        match self.sandboxes.iter().find(|(host, _)| *host == intent.name) {
            Some((_, root)) => Route::Sandbox { root: root.clone() },
            None => Route::Ssh {
                endpoints: intent.connect.clone(),
                host_keys: intent.host_keys.clone(),
            },
        }
    }
}

/// Builds the connector that a configuration describes.
///
/// # Errors
/// Fails if the path of this program is unknown. The routes `local` and `sandbox` start this program as the
/// agent.
pub(crate) fn connector(ssh: &SshConfig) -> Result<Connector, Failure> {
    let program = own_program()?;
    let mut identities = Vec::new();
    if let Some(key) = &ssh.key {
        identities.push(Identity::KeyFile(key.clone()));
    }
    if ssh.agent {
        identities.extend(agent_socket().map(Identity::Agent));
    }
    let settings = Settings {
        identities,
        ..Settings::default()
    };
    let agents = AGENTS
        .iter()
        .fold(Agents::beside(&program), |agents, (arch, bytes)| {
            agents.embed(arch, bytes)
        });
    Ok(Connector::new(Program::plumb(&program), agents, settings))
}

/// Builds a controller's connector. Checks the key file first; otherwise a bad key would later look like a
/// failure of each host.
///
/// # Errors
/// Fails if the key file can't be used, or as [`connector`] does.
pub(crate) fn controllers(ssh: &SshConfig) -> Result<Connector, Failure> {
    if let Some(key) = &ssh.key {
        check_key_file(key).map_err(|wrong| {
            Failure::new(wrong).hint(format!(
                "set `ssh.key` in the controller's configuration to a private key that the controller's user can read; `ssh-keygen -t ed25519 -N '' -f {}` creates one",
                key.display()
            ))
        })?;
    }
    connector(ssh)
}

/// Returns settings for the user's own SSH keys: the SSH agent, and the first of the usual key files.
pub(crate) fn personal() -> SshConfig {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let key = home.and_then(|home| {
        ["id_ed25519", "id_ecdsa", "id_rsa"]
            .iter()
            .map(|name| home.join(".ssh").join(name))
            .find(|path| path.exists())
    });
    SshConfig {
        key,
        agent: agent_socket().is_some(),
    }
}

fn agent_socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK")
        .map(PathBuf::from)
        .filter(|path| path.exists())
}

/// Returns the path of this program.
///
/// # Errors
/// Fails if the system doesn't report it.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().or_fail(|| "cannot find the path of this program".to_owned())
}
