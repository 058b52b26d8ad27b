//! What a controller tells of itself, as data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_api::HostName;
use plumb_core::rollout::{Failure, Stage};
use plumb_core::status::{Conditions, HostStatus};
use plumb_trust::Reason;
use serde::{Deserialize, Serialize};

/// The repository as the controller sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Address and branch, for people.
    pub description: String,
    /// The branch's head at the last fetch.
    pub head: Option<String>,
    /// The newest accepted commit.
    pub accepted: Option<String>,
    /// The first commit that isn't accepted.
    pub held: Option<HeldView>,
    /// The last fetch that succeeded.
    pub last_fetch: Option<Timestamp>,
    /// When the last look that has ended was begun, whatever came of it: what was pushed before that
    /// moment is judged, or `Ready` says why it couldn't be fetched.
    pub last_look: Option<Timestamp>,
    /// Fingerprints of the keys that this machine's configuration takes authority away from.
    pub revoked: Vec<String>,
    /// Fingerprints of the keys that signed `revoke/` tags took authority away from, wherever these are now.
    pub revoked_by_tags: Vec<String>,
    /// `Ready` and `SourceVerified`.
    pub conditions: Conditions,
}

/// A commit that isn't accepted, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// The commit.
    pub commit: String,
    /// `pending`, `pendingAlarm` or `reject`.
    pub verdict: String,
    /// Why, with what is missing.
    pub reasons: Vec<Reason>,
    /// How many commits wait behind it.
    pub behind: usize,
    /// When it was first seen here.
    pub since: Timestamp,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostView {
    /// The labels of its manifest.
    pub labels: BTreeMap<String, String>,
    /// Its status.
    pub status: HostStatus,
}

/// A commit of the branch and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// The commit.
    pub commit: String,
    /// `accept`, `pending`, `pendingAlarm` or `reject`.
    pub verdict: String,
    /// When the controller came to that.
    pub time: Timestamp,
    /// The first line of its message; only of those that were driven to, and of the first that isn't
    /// accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Why it isn't accepted, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// The rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// What is spread.
    pub revision: Option<String>,
    /// Who may be given a new target.
    pub stage: Stage,
    /// Whether nobody is.
    pub halted: bool,
    /// Hosts on their way.
    pub on_their_way: Vec<HostName>,
    /// Hosts that failed, and why.
    pub failed: BTreeMap<HostName, Failure>,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub since: Timestamp,
}

/// The queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Hosts whose time has come and that wait for a free place.
    pub due: usize,
    /// Hosts that wait for their time.
    pub waiting: usize,
    /// Hosts that are worked on.
    pub running: usize,
    /// For how long the first has been due, in milliseconds.
    pub oldest_ms: u64,
}

/// Everything that a controller knows, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    /// The fleet's name; none before anything was accepted.
    pub name: Option<String>,
    /// The controller's version.
    pub version: String,
    /// Its identity and start count.
    pub controller: String,
    /// How often it has started.
    pub epoch: u64,
    /// The moment.
    pub now: Timestamp,
    /// The repository.
    pub source: SourceView,
    /// The hosts, by name.
    pub hosts: Vec<HostView>,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// The rollout.
    pub rollout: RolloutView,
    /// Alerts that fire.
    pub alerts: Vec<AlertView>,
    /// The queue.
    pub queue: QueueView,
}
