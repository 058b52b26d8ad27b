//! Handles a session over SSH that fails before the first response: it reconnects, or installs the agent on
//! the host if it was missing.

use std::sync::Arc;

use futures::future::BoxFuture;
use plumb_core::ports::HostError;

use super::connection::Connection;
use super::place::{self, Login, PlaceError};
use super::pool::ParkedConnection;
use super::{ConnectSettings, Ssh};
use crate::hosts::conversation::{FailedStart, Origin, ResendRule};
use crate::hosts::line::{ExitInfo, Line};
use crate::hosts::sudo;

/// The stage of a session's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartStage {
    /// The connection was kept from an earlier session, and may be dead without our knowledge.
    Reused,
    /// The connection is new.
    Fresh,
    /// The agent was just installed, so it must exist.
    Placed,
}

/// The source of a line over SSH.
pub(super) struct SshOrigin {
    ssh: Arc<Ssh>,
    ways: ConnectSettings,
    connection: Option<Connection>,
    stage: StartStage,
}

impl SshOrigin {
    pub(super) fn new(
        ssh: Arc<Ssh>,
        ways: ConnectSettings,
        connection: Connection,
        stage: StartStage,
    ) -> Self {
        Self {
            ssh,
            ways,
            connection: Some(connection),
            stage,
        }
    }

    async fn again(&mut self, end: FailedStart) -> Result<Line, HostError> {
        if let Some(arch) = place::missing(&end.exit_info)
            && self.stage != StartStage::Placed
        {
            return self.place(&arch).await;
        }
        if self.stage == StartStage::Reused && end.again == ResendRule::May {
            let (connection, line) = self.ssh.fresh(&self.ways).await?;
            self.connection = Some(connection);
            self.stage = StartStage::Fresh;
            return Ok(line);
        }
        Err(self.explain(&end))
    }

    async fn place(&mut self, arch: &str) -> Result<Line, HostError> {
        let host = self.ways.name.clone();
        if let Some(said) = self.ways.arch.as_deref().filter(|said| *said != arch) {
            return Err(HostError::AgentFailed {
                host,
                reason: format!("its manifest says {said}, the machine is {arch}"),
            });
        }
        let agent = self.ssh.agent(&self.ways, arch)?;
        let Some(connection) = &self.connection else {
            return Err(self.broken("the connection is gone".to_owned()));
        };
        let state = &self.ssh.settings.state_folder;
        match place::place(connection, state, &agent).await {
            Ok(()) => {}
            Err(PlaceError::NoSession) => return Err(HostError::NoSession { host }),
            Err(PlaceError::Failed(exit_info)) => return Err(self.unplaced(&exit_info)),
        }
        self.ssh.known.has_arch(&host, arch.to_owned());
        self.stage = StartStage::Placed;
        self.ssh.start(&self.ways, connection).await
    }

    fn broken(&self, reason: String) -> HostError {
        HostError::Broken {
            host: self.ways.name.clone(),
            reason,
        }
    }

    fn unplaced(&self, exit_info: &ExitInfo) -> HostError {
        if exit_info.exit.is_none()
            && let Some(connection) = self.connection.as_ref().filter(|c| !c.stands())
        {
            return self.broken(format!(
                "while the agent was uploaded: {}",
                connection.why()
            ));
        }
        HostError::AgentFailed {
            host: self.ways.name.clone(),
            reason: format!("the agent can't be uploaded: {exit_info}"),
        }
    }

    /// Returns the error for an agent that ended before its first response.
    fn explain(&self, end: &FailedStart) -> HostError {
        let host = self.ways.name.clone();
        let Some(connection) = &self.connection else {
            return self.broken(end.exit_info.to_string());
        };
        if Login::of(&connection.user) == Login::Sudo
            && let Some(cause) = sudo::refusal(&end.exit_info)
        {
            return HostError::SudoDenied {
                host,
                user: connection.user.clone(),
                cause,
                reason: sudo::reason(cause, &end.exit_info),
            };
        }
        if end.exit_info.exit.is_none() && !connection.stands() {
            return self.broken(connection.why());
        }
        let reason = match (&end.said, self.stage) {
            (Some(said), _) => format!(
                "it answers with something that isn't a frame, `{said}`; check that the account has a shell, and that the shell prints nothing by itself"
            ),
            (None, StartStage::Placed) if place::missing(&end.exit_info).is_some() => format!(
                "the agent was uploaded but can't be run; check that {} isn't mounted noexec",
                self.ssh.settings.state_folder
            ),
            (None, StartStage::Placed) => format!(
                "the agent was uploaded but doesn't start: {}",
                end.exit_info
            ),
            (None, _) => end.exit_info.to_string(),
        };
        HostError::AgentFailed { host, reason }
    }
}

impl Origin for SshOrigin {
    fn revive(&mut self, end: FailedStart) -> BoxFuture<'_, Result<Line, HostError>> {
        Box::pin(self.again(end))
    }

    fn park(self: Box<Self>, line: Line) {
        let Some(connection) = self.connection else {
            return;
        };
        let parked = ParkedConnection { connection, line };
        let long = self.ssh.settings.keep_warm;
        self.ssh.pool.keep(self.ways, parked, long);
    }
}
