//! The loop: queue, reconcilers, rollout, status. Knows ports, never adapters.
//!
//! One task owns all state: it looks at the source, keeps a queue with one entry per host, gives out
//! targets as the rollout allows, starts one run per host, and takes in what came of each. Runs and
//! looks change no state; so there is one writer, and a panic fails one host.
//!
//! [`Controller::start`] puts it together; [`Handle`] is what others see of it.

mod alerts;
mod backoff;
mod conditions;
mod desired;
mod driver;
mod event;
mod ground;
mod handle;
mod metrics;
mod persist;
mod queue;
mod run;
mod settings;
mod source;
#[cfg(test)]
mod stories;
mod view;
mod world;

use tokio::task::JoinHandle;

pub use backoff::Waits;
pub use desired::Accepted;
pub use event::{Event, EventKind};
pub use handle::{CommandError, Handle};
pub use metrics::{BOUNDS, Histogram, MetricsSnapshot, Sample};
pub use persist::LoadError;
pub use settings::{Parts, RevokedReader, Settings, SinkMaker};
pub use view::{
    AlertView, FleetView, HeldView, HostView, QueueView, RevisionView, RolloutView, SourceView,
};

/// The controller.
#[derive(Debug)]
pub struct Controller;

impl Controller {
    /// Reads what was kept, begins a new epoch, and drives the fleet until it is stopped by the
    /// handle ([`Handle::drain`], [`Handle::abort`]) or the last handle is gone.
    ///
    /// # Errors
    /// When what was kept can't be read: nothing is driven without it.
    pub async fn start(
        parts: Parts,
        settings: Settings,
    ) -> Result<(Handle, JoinHandle<()>), LoadError> {
        driver::start(parts, settings).await
    }
}
