//! The shell around the loop of `plumb_core::fleet`: it waits for events, performs effects and publishes
//! views. It depends on ports, never on adapters.
//!
//! One task owns the loop's state and is its only writer. Each run, poll, post and write is a separate task
//! whose result is an event, so a panic in a run fails only that host. Other code reads the published view
//! and never waits for the loop.
//!
//! [`Controller::start`] starts a controller; [`Handle`] gives access to it.

mod accepted;
mod clock;
mod confirm;
mod handle;
mod lineage;
mod poll_input;
mod posters;
mod run;
mod settings;
mod shell;
mod source_poll;
mod store_writer;
#[cfg(test)]
mod stories;
mod trust_root;

use tokio::task::JoinHandle;

pub use accepted::AcceptedRevision;
pub use handle::Handle;
pub use plumb_core::fleet::{CommandError, Waits};
pub use settings::{Parts, RevokedReader, Settings, SinkMaker, SourcePort};
pub use store_writer::LoadError;

/// The entry point that starts a controller.
#[derive(Debug)]
pub struct Controller;

impl Controller {
    /// Reads the stored state, begins a new epoch, and drives the fleet until the controller is stopped
    /// ([`Handle::drain`], [`Handle::abort`]) or the last handle is dropped.
    ///
    /// # Errors
    /// Returns an error if the stored state can't be read. Without it the controller drives no host.
    pub async fn start(
        parts: Parts,
        settings: Settings,
    ) -> Result<(Handle, JoinHandle<()>), LoadError> {
        shell::start(parts, settings).await
    }
}
