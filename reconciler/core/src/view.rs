//! The API's model: a controller's state, as serializable data.

mod hosts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::HostName;
use serde::{Deserialize, Serialize};

use crate::fleet::{Counters, RecordLog};
use crate::reason::ConditionReason;
use crate::status::{Conditions, HostStatus};

pub use hosts::HostList;

/// A fleet at one moment, as `/api/v1/fleet` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    /// The fleet's name; `None` before a revision is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The controller's version.
    pub version: String,
    /// The number of starts of the controller.
    #[serde(default)]
    pub epoch: u64,
    /// The time of the view.
    pub now: Timestamp,
    /// The repository.
    pub source: SourceView,
    /// The hosts, by name.
    pub hosts: HostList,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// The firing alerts.
    pub alerts: Arc<[AlertView]>,
    /// All rollouts as one, of the newest revision.
    pub rollout: RolloutView,
    /// The rollouts, each of one change; those that ended are left out.
    #[serde(default)]
    pub rollouts: Vec<RolloutView>,
    /// True if an accepted revision is loaded.
    #[serde(skip)]
    pub ready: bool,
    /// The queue; metrics show it.
    #[serde(skip)]
    pub queue: QueueView,
    /// The newest records; `/api/v1/events` shows them.
    #[serde(skip)]
    pub records: Arc<RecordLog>,
    /// The counters; metrics show them.
    #[serde(skip)]
    pub counters: Arc<Counters>,
}

impl FleetView {
    /// Returns the host with this name.
    pub fn host(&self, name: &HostName) -> Option<&Arc<HostObject>> {
        self.hosts.get(name)
    }
}

/// The repository, as the controller knows it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Address and branch in one text, as metrics label it.
    #[serde(skip)]
    pub description: String,
    /// The address, without credentials.
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
    /// The first commit that isn't accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// The last fetch that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fetch: Option<Timestamp>,
    /// The start of the last finished poll, whatever its result. Every earlier push is verified, or the
    /// condition `Ready` says why it couldn't be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_look: Option<Timestamp>,
    /// Fingerprints of the keys that the controller's configuration revokes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// Fingerprints of the keys revoked by signed `revoke/` tags, even if the tags no longer exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_by_tags: Vec<String>,
    /// The clock of each Alertmanager minus the controller's, in seconds, as its last answer showed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clock_offsets: BTreeMap<String, i64>,
    /// `Ready`, `SourceVerified`, and `ClockSkewed` while it is true.
    #[serde(default)]
    pub conditions: Conditions,
}

/// The verdict on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommitVerdict {
    /// The commit is accepted.
    Accept,
    /// The commit waits for approvals.
    Pending,
    /// The commit waits, and somebody should look at it at once.
    PendingAlarm,
    /// The commit can never be accepted.
    Reject,
}

impl CommitVerdict {
    /// Returns the verdict as programs see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Pending => "pending",
            Self::PendingAlarm => "pendingAlarm",
            Self::Reject => "reject",
        }
    }
}

impl fmt::Display for CommitVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A commit that isn't accepted, with the reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// The commit.
    pub commit: String,
    /// The verdict on it.
    pub verdict: CommitVerdict,
    /// The reasons, a sentence each.
    pub reasons: Vec<String>,
    /// The codes of these reasons, for `plumb explain CODE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// The number of commits that wait behind it.
    #[serde(default)]
    pub behind: usize,
}

/// A host, in the shape of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostObject {
    /// `plumb.dev/v1alpha1`.
    pub api_version: Cow<'static, str>,
    /// `Host`.
    pub kind: Cow<'static, str>,
    /// Name and labels.
    pub metadata: Metadata,
    /// The host's status.
    pub status: HostStatus,
}

impl HostObject {
    /// Creates a host with its labels and status.
    pub fn new(labels: Arc<BTreeMap<String, String>>, status: HostStatus) -> Self {
        Self {
            api_version: Cow::Borrowed("plumb.dev/v1alpha1"),
            kind: Cow::Borrowed("Host"),
            metadata: Metadata {
                name: status.host.clone(),
                labels,
            },
            status,
        }
    }
}

/// Name and labels of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: HostName,
    /// The labels of the manifest.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub labels: Arc<BTreeMap<String, String>>,
}

fn is_empty(labels: &BTreeMap<String, String>) -> bool {
    labels.is_empty()
}

/// A commit of the branch with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// The commit.
    pub commit: String,
    /// The verdict on it.
    pub verdict: CommitVerdict,
    /// The time of the controller's verdict.
    pub time: Timestamp,
    /// The first line of the commit's message; set only for accepted commits that hosts were driven to, and
    /// for the first commit that isn't accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The reasons why it isn't accepted, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The number of hosts that run it.
    #[serde(default)]
    pub hosts: u32,
}

/// A record of something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// The time of the record.
    pub time: Timestamp,
    /// The kind: a normal record or a warning.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The host that it is about; `None` for the source and the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The reason in one CamelCase word.
    pub reason: ConditionReason,
    /// The reason in a sentence for people.
    pub message: String,
    /// The revision that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The severity of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Nobody needs to act.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// A firing alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// The alert's labels.
    pub labels: BTreeMap<String, String>,
    /// The alert's summary.
    pub summary: String,
    /// The start of the alert.
    pub since: Timestamp,
}

/// The rollout of the change that a revision made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// True if failed hosts halted it.
    pub halted: bool,
    /// The hosts that have it as their target and haven't reached it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_their_way: Vec<HostName>,
    /// The failed hosts, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<HostName, String>,
}

/// The queue of hosts, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueView {
    /// Hosts that are due and wait for a free slot.
    pub due: usize,
    /// Hosts that wait, due or not.
    pub waiting: usize,
    /// Hosts with a run in progress.
    pub running: usize,
    /// The time since the oldest due host became due.
    pub oldest: std::time::Duration,
}
