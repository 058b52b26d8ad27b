//! The API's model: everything that a controller tells of itself, as data that travels.

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

/// A fleet at one moment, as `/api/v1/fleet` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    /// The fleet's name; none before anything was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The controller's version.
    pub version: String,
    /// How often the controller has started.
    #[serde(default)]
    pub epoch: u64,
    /// The moment.
    pub now: Timestamp,
    /// The repository.
    pub source: SourceView,
    /// The hosts, by name.
    #[serde(with = "shared")]
    pub hosts: Vec<Arc<HostObject>>,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// Alerts that fire.
    pub alerts: Vec<AlertView>,
    /// How the newest revision spreads.
    pub rollout: RolloutView,
    /// True if something accepted is loaded.
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
    /// The host with this name.
    pub fn host(&self, name: &HostName) -> Option<&Arc<HostObject>> {
        let at = self
            .hosts
            .binary_search_by(|host| host.metadata.name.cmp(name));
        at.ok().map(|at| &self.hosts[at])
    }
}

/// Hosts are shared between views; they travel as plain objects.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::HostObject;

    pub(super) fn serialize<S: Serializer>(
        hosts: &[Arc<HostObject>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(hosts.iter().map(AsRef::as_ref))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<HostObject>>, D::Error> {
        let hosts = Vec::<HostObject>::deserialize(deserializer)?;
        Ok(hosts.into_iter().map(Arc::new).collect())
    }
}

/// The repository as the controller sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Address and branch in one text, as metrics label it.
    #[serde(skip)]
    pub description: String,
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
    /// The first commit that isn't accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// The last fetch that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fetch: Option<Timestamp>,
    /// When the last finished poll began, whatever its result: what was pushed before that moment is
    /// verified, or the condition `Ready` says why it couldn't be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_look: Option<Timestamp>,
    /// Fingerprints of the keys that the controller's configuration takes authority away from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// Fingerprints of the keys that signed `revoke/` tags took authority away from, wherever these are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_by_tags: Vec<String>,
    /// `Ready` and `SourceVerified`.
    #[serde(default)]
    pub conditions: Conditions,
}

/// The verdict on a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommitVerdict {
    /// It is accepted.
    Accept,
    /// It waits for approvals.
    Pending,
    /// It waits, and somebody should look at once.
    PendingAlarm,
    /// It can never be accepted.
    Reject,
}

impl CommitVerdict {
    /// The verdict as programs see it.
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

/// A commit that isn't accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// The commit.
    pub commit: String,
    /// Its verdict.
    pub verdict: CommitVerdict,
    /// Why, a sentence each.
    pub reasons: Vec<String>,
    /// The codes of these reasons, for `plumb explain CODE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// How many commits wait behind it.
    #[serde(default)]
    pub behind: usize,
}

/// A host, in Kubernetes' shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostObject {
    /// `plumb.dev/v1alpha1`.
    pub api_version: Cow<'static, str>,
    /// `Host`.
    pub kind: Cow<'static, str>,
    /// Name and labels.
    pub metadata: Metadata,
    /// Its status.
    pub status: HostStatus,
}

impl HostObject {
    /// A host with its labels and status.
    pub fn new(labels: BTreeMap<String, String>, status: HostStatus) -> Self {
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
    /// The labels of its manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A commit of the branch with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// The commit.
    pub commit: String,
    /// Its verdict.
    pub verdict: CommitVerdict,
    /// When the controller came to that verdict.
    pub time: Timestamp,
    /// The first line of its message; only of accepted commits that hosts were driven to, and of the
    /// first that isn't accepted.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// When.
    pub time: Timestamp,
    /// Whether somebody should look at it.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The host that it is about; none for the source and the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What happened, in one CamelCase word.
    pub reason: ConditionReason,
    /// What happened, in a sentence.
    pub message: String,
    /// The revision that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Whether somebody should look at a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its summary.
    pub summary: String,
    /// When it began.
    pub since: Timestamp,
}

/// How a revision spreads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// True if it stopped because hosts failed.
    pub halted: bool,
    /// Hosts on their way to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_their_way: Vec<HostName>,
    /// Hosts that failed, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<HostName, String>,
}

/// The queue of hosts, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueView {
    /// Hosts whose time has come and that wait for a free slot.
    pub due: usize,
    /// Hosts that wait, due or not.
    pub waiting: usize,
    /// Hosts that runs work on.
    pub running: usize,
    /// How long the first has been due.
    pub oldest: std::time::Duration,
}
