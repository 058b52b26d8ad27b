//! The queries and commands of a controller, and their JSON forms.

use futures::future::BoxFuture;
use plumb_api::{Address, HostName};
use plumb_core::fleet::MetricsSnapshot;
use serde::{Deserialize, Serialize};

pub use plumb_core::status::{FailedGiveBack, HostStatus, ResourceFailure, ResourceWait};
pub use plumb_core::view::{
    AlertView as AlertState, EventKind, EventRecord as Event, FleetView as Fleet, HeldView as Held,
    HostList, HostObject, RevisionView as Revision, RolloutView as Rollout, SourceView as Source,
};

/// The interface of a running controller that the HTTP server uses.
pub trait ControllerApi: Send + Sync {
    /// Returns the state of the fleet, all as of one moment.
    fn fleet(&self) -> BoxFuture<'_, Fleet>;

    /// Returns the newest events, oldest first; if a host is given, only that host's.
    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>>;

    /// Returns the controller's counters, gauges and histograms.
    fn metrics(&self) -> MetricsSnapshot;

    /// True if the controller's store is open and the controller has read the source at least once.
    fn ready(&self) -> bool;

    /// Carries out a command.
    fn execute(
        &self,
        command: ControllerCommand,
    ) -> BoxFuture<'_, Result<CommandResult, CommandRefusal>>;
}

/// A list, in Kubernetes' form.
#[derive(Debug, Clone, Serialize)]
pub struct Items<T> {
    /// The objects.
    pub items: Vec<T>,
}

/// A command for a controller.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "command")]
pub enum ControllerCommand {
    /// Fetch now: the branch may have moved.
    Notify,
    /// Reconcile these hosts now; all hosts if none are named.
    Reconcile {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Drop a host that is no longer in git. If the host is still in git, drop only the controller's record
    /// of the host's ledger.
    Forget {
        /// The host.
        host: HostName,
        /// The resource to drop from the host's ledger, instead of the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Address>,
    },
}

/// The answer to a command that is done, or that the controller has begun to carry out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    /// A sentence that describes the result, without a full stop.
    pub message: String,
    /// The affected hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
}

/// The answer to a command that the controller refuses.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct CommandRefusal {
    /// The reason, in lower case and without a full stop.
    pub message: String,
    /// A suggestion for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
