//! The option that names the running controller.

use std::path::PathBuf;

use clap::Args;

use crate::config;
use crate::http::Client;
use crate::report::Failure;

/// The address of the running controller.
#[derive(Debug, Args)]
pub(super) struct ControllerAddress {
    /// The running controller's socket
    #[arg(long, env = "PLUMB_SOCKET", default_value = config::DEFAULT_SOCKET, value_name = "PATH")]
    pub(super) socket: PathBuf,
}

impl ControllerAddress {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.socket)
    }
}
