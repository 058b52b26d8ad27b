//! The shell around the loop of `plumb_core::fleet`: it awaits events, performs effects and publishes views.
//! It depends on ports, never on adapters.
//!
//! One task owns the state and is its only writer. Runs, polls, posts and writes are separate tasks, and the
//! result of each is an event, so a panic fails one host. Other code reads the published view and never waits
//! for the loop.
//!
//! [`Controller::start`] starts a controller; [`Handle`] gives access to it.

mod accepted;
mod clock;
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
    /// Reads the stored state, begins a new epoch, and drives the fleet until the handle stops it
    /// ([`Handle::drain`], [`Handle::abort`]) or the last handle is dropped.
    ///
    /// # Errors
    /// Returns an error if the stored state can't be read: no host is driven without it.
    pub async fn start(
        parts: Parts,
        settings: Settings,
    ) -> Result<(Handle, JoinHandle<()>), LoadError> {
        shell::start(parts, settings).await
    }
}
