//! What can be asked of a controller and said to it, in the form that travels.

use futures::future::BoxFuture;
use plumb_api::HostName;
use plumb_core::fleet::MetricsSnapshot;
use serde::{Deserialize, Serialize};

pub use plumb_core::view::{
    AlertView as AlertState, EventKind, EventRecord as Event, FleetView as Fleet, HeldView as Held,
    HostObject, RevisionView as Revision, RolloutView as Rollout, SourceView as Source,
};

/// A running controller, as HTTP sees it.
pub trait View: Send + Sync {
    /// Everything that it knows, at one moment.
    fn fleet(&self) -> BoxFuture<'_, Fleet>;

    /// The newest events, oldest first; of one host, if it is named.
    fn events(&self, host: Option<HostName>) -> BoxFuture<'_, Vec<Event>>;

    /// What is counted and measured.
    fn metrics(&self) -> MetricsSnapshot;

    /// Whether it is ready: its store is open and it has read the source at least once.
    fn ready(&self) -> bool;

    /// Says something to it.
    fn tell(&self, command: Command) -> BoxFuture<'_, Result<Done, Refused>>;
}

/// Something that is said to a controller.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "command")]
pub enum Command {
    /// The branch may have moved: fetch now.
    Notify,
    /// Look at these hosts now; at all of them when none are named.
    Reconcile {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// A host that git no longer has: stop speaking of it.
    Forget {
        /// The host.
        host: HostName,
    },
}

/// It is done, or begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// What, in a sentence without a full stop.
    pub message: String,
    /// The hosts that it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
}

/// It can't be done.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Refused {
    /// Why, lower-case and without a full stop.
    pub message: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
