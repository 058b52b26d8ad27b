//! What can be asked of a controller and said to it, in the form that travels.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use jiff::Timestamp;
use plumb_api::HostName;
use plumb_controller::MetricsSnapshot;
use plumb_core::status::{Conditions, HostStatus};
use serde::{Deserialize, Serialize};

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

/// Everything that a controller knows, at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// The fleet's name; none before anything was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The controller's version.
    pub version: String,
    /// The moment.
    pub now: Timestamp,
    /// The repository.
    pub source: Source,
    /// The hosts, by name.
    pub hosts: Vec<HostObject>,
    /// The newest revisions, newest first.
    pub revisions: Vec<Revision>,
    /// Alerts that fire.
    pub alerts: Vec<AlertState>,
    /// How the newest revision spreads.
    pub rollout: Rollout,
}

/// The repository as the controller sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its address, without credentials.
    pub url: String,
    /// The branch.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The branch's head at the last fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The newest accepted commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// What stands between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The last fetch that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fetch: Option<Timestamp>,
    /// When the last look that has ended was begun, whatever came of it: what was pushed before that
    /// moment is judged, or the condition `Ready` says why it couldn't be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_look: Option<Timestamp>,
    /// Fingerprints of the keys that the controller's configuration takes authority away from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// Fingerprints of the keys that signed `revoke/` tags took authority away from, wherever these are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_by_tags: Vec<String>,
    /// Its conditions.
    #[serde(default)]
    pub conditions: Conditions,
}

/// A commit that isn't accepted, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The commit.
    pub commit: String,
    /// `pending`, `pendingAlarm` or `reject`.
    pub verdict: String,
    /// Why, a sentence each.
    pub reasons: Vec<String>,
    /// The codes of these reasons, for `plumb explain CODE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
}

/// A host, in Kubernetes' shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostObject {
    /// `plumb.dev/v1alpha1`.
    pub api_version: String,
    /// `Host`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// Its status.
    pub status: HostStatus,
}

/// Name and labels of an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: HostName,
    /// The labels of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A commit of the branch and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// `accept`, `pending`, `pendingAlarm` or `reject`.
    pub verdict: String,
    /// When the controller came to that.
    pub time: Timestamp,
    /// The first line of its message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Why it isn't accepted, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// How many hosts run it.
    #[serde(default)]
    pub hosts: u32,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// Whether somebody should look at it.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The host that it concerns; the source or the controller when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What, in one CamelCase word.
    pub reason: String,
    /// What, in a sentence.
    pub message: String,
    /// The revision that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Whether somebody should look at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// An alert that fires.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertState {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its summary.
    pub summary: String,
    /// When it began.
    pub since: Timestamp,
}

/// How a revision spreads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What is spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether it stopped because hosts failed.
    pub halted: bool,
    /// Hosts on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_their_way: Vec<HostName>,
    /// Hosts that failed, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<HostName, String>,
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
