//! The data model of the HTTP API: a controller's state in serializable form.

mod hosts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::HostName;
use serde::{Deserialize, Serialize};

use crate::fleet::{Counters, FleetRevision, RecordLog};
use crate::message::Message;
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
    /// The controller's epoch, which grows at each start.
    #[serde(default)]
    pub epoch: u64,
    /// The time at which the view was created.
    pub now: Timestamp,
    /// The repository.
    pub source: SourceView,
    /// The hosts, by name.
    pub hosts: HostList,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// The firing alerts.
    pub alerts: Arc<[AlertView]>,
    /// All rollouts combined into one, under the newest revision.
    pub rollout: RolloutView,
    /// The rollouts, one per change. An ended rollout stays here until the next revision is activated.
    #[serde(default)]
    pub rollouts: Vec<RolloutView>,
    /// The newest loaded revision; the status page shows its resources.
    #[serde(skip)]
    pub loaded: Option<Arc<FleetRevision>>,
    /// The queue, for metrics.
    #[serde(skip)]
    pub queue: QueueView,
    /// The newest records, for `/api/v1/events`.
    #[serde(skip)]
    pub records: Arc<RecordLog>,
    /// The counters, for metrics.
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
    /// Time of the last successful fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fetch: Option<Timestamp>,
    /// Start of the last poll that finished, successfully or not. Every commit that was pushed before this
    /// time has a verdict, or a condition says why it has none.
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
    /// The commit waits for approvals, and a person should look at it at once.
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
    /// The number of later commits, which wait for this one.
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

/// The details by which people recognise a commit. Those of a commit that isn't accepted are unverified claims
/// of its author. Commits after an unaccepted one have no details.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitHeader {
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The author's name as written in the commit; it isn't verified.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// The commit time as written in the commit; it isn't verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Timestamp>,
    /// The identities whose signatures and approvals of the commit count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
}

impl CommitHeader {
    /// Fills the fields that are empty here from `older`.
    #[must_use]
    pub fn or(mut self, older: &Self) -> Self {
        if self.summary.is_empty() {
            self.summary.clone_from(&older.summary);
        }
        if self.author.is_empty() {
            self.author.clone_from(&older.author);
        }
        if self.signers.is_empty() {
            self.signers.clone_from(&older.signers);
        }
        self.committed = self.committed.or(older.committed);
        self
    }
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
    /// The commit's author, date, signers and first line.
    #[serde(flatten)]
    pub header: CommitHeader,
    /// The reasons why it isn't accepted, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The number of hosts that run the commit.
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
    /// The host that the record is about; `None` for the source and the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The reason in one CamelCase word.
    pub reason: ConditionReason,
    /// The reason for people, with details and a hint.
    #[serde(flatten)]
    pub message: Message,
    /// The revision that the record is about.
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
    /// The time at which the alert began.
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
    /// The hosts that have got the change as their target and haven't reached it yet.
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
    /// The time that has passed since the oldest due host became due.
    pub oldest: std::time::Duration,
}
