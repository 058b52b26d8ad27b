//! The shell around the loop of `plumb_core::fleet`: it awaits events, performs effects and publishes
//! views. Knows ports, never adapters.
//!
//! One task owns the state and is its only writer. Runs, polls, posts and writes are tasks of their own:
//! what comes of each is an event, so a panic fails one host. Others read the published view and never
//! wait for the loop.
//!
//! [`Controller::start`] puts it together; [`Handle`] is what others see of it.

mod accepted;
mod clock;
mod handle;
mod lineage;
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

pub use accepted::Accepted;
pub use handle::Handle;
pub use plumb_core::fleet::{CommandError, Waits};
pub use settings::{Parts, RevokedReader, Settings, SinkMaker};
pub use store_writer::LoadError;

/// The controller.
#[derive(Debug)]
pub struct Controller;

impl Controller {
    /// Reads what was stored, begins a new epoch, and drives the fleet until the handle stops it
    /// ([`Handle::drain`], [`Handle::abort`]) or the last handle is gone.
    ///
    /// # Errors
    /// When what was stored can't be read: nothing is driven without it.
    pub async fn start(
        parts: Parts,
        settings: Settings,
    ) -> Result<(Handle, JoinHandle<()>), LoadError> {
        shell::start(parts, settings).await
    }
}
