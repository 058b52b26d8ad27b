//! The CLI's HTTP client for the controller's Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plumb_api::HostName;
use serde::de::DeserializeOwned;

use crate::http::view::{CommandRefusal, CommandResult, ControllerCommand, Event, Fleet};
use crate::report::{Failure, OrFail as _};

/// A client of a running controller.
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// Creates a client for the controller at this socket. It doesn't connect yet.
    ///
    /// # Errors
    /// Fails if the HTTP client can't be created.
    pub fn new(socket: &Path) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .timeout(Duration::from_secs(30))
            .build()
            .or_fail(|| "cannot create an HTTP client".to_owned())?;
        Ok(Self {
            http,
            socket: socket.to_owned(),
        })
    }

    /// Returns the controller's view of the fleet.
    ///
    /// # Errors
    /// Fails if no controller answers.
    pub async fn fleet(&self) -> Result<Fleet, Failure> {
        self.send(self.http.get("http://plumb/api/v1/fleet")).await
    }

    /// Returns the newest events, oldest first.
    ///
    /// # Errors
    /// Fails if no controller answers.
    pub async fn events(&self, host: Option<&HostName>) -> Result<Vec<Event>, Failure> {
        let url = match host {
            Some(host) => format!("http://plumb/api/v1/events?host={host}"),
            None => "http://plumb/api/v1/events".to_owned(),
        };
        self.send(self.http.get(url)).await
    }

    /// Sends a command to the controller.
    ///
    /// # Errors
    /// Fails if no controller answers, or it refuses the command.
    pub async fn execute(&self, command: &ControllerCommand) -> Result<CommandResult, Failure> {
        self.send(self.http.post("http://plumb/api/v1/commands").json(command))
            .await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        let response = request
            .send()
            .await
            .map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.no_answer(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&body).or_fail(|| {
                "cannot read the controller's answer; it may run another version".to_owned()
            });
        }
        Err(match serde_json::from_slice::<CommandRefusal>(&body) {
            Ok(refused) => Failure::new(refused.message).maybe_hint(refused.hint),
            Err(_) => Failure::new(format!("the controller answered with status {status}")),
        })
    }

    fn no_answer(&self, error: &reqwest::Error) -> Failure {
        let socket = self.socket.display();
        let cause = root(error);
        let denied = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::PermissionDenied;
        let failure = Failure::new(format!("no controller answers at {socket}: {cause}"));
        if !self.socket.exists() {
            failure.hint("check that it runs: systemctl status plumb-controller; name another socket with --socket or PLUMB_SOCKET")
        } else if cause.downcast_ref().is_some_and(denied) {
            failure.hint(
                "join the group `plumb`, or use sudo: the socket is open to its owner and group",
            )
        } else {
            failure.hint("check that it runs: systemctl status plumb-controller")
        }
    }
}

/// Returns the innermost cause of an error, which is the most useful one for people.
fn root<'e>(error: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last
}
