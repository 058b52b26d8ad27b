//! Conditions: the state of a host for people and programs, by Kubernetes' conventions.
//!
//! A host has at most one condition of each type, and no overall phase. An absent condition means unknown. The
//! transition time changes only when the status changes.

use jiff::Timestamp;
use plumb_api::{Address, Digest, HostName};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::reason::ConditionReason;

/// A condition's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// For a host: it matches its target. For the source: the last poll could fetch the branch and load the
    /// accepted revision.
    Ready,
    /// The host answered at the last attempt.
    Reachable,
    /// The host runs the newest accepted revision.
    Synced,
    /// The host drifted from its target. True is bad.
    Drifted,
    /// Plumb is working on the host. Present only while true.
    Reconciling,
    /// A retry won't help: a person must change something. Present only while true.
    Stalled,
    /// The host's manifest suspends it. Present only while true.
    Suspended,
    /// Every commit up to the branch's head is accepted.
    SourceVerified,
    /// Something on the host takes effect only at a reboot. Present only while true.
    RebootRequired,
    /// The clock of the host, or of an Alertmanager, differs from the controller's. Present only while true.
    ClockSkewed,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition doesn't hold.
    False,
    /// It isn't known whether the condition holds.
    Unknown,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The condition's type.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// The status.
    pub status: ConditionStatus,
    /// The reason in one CamelCase word that programs may rely on.
    pub reason: ConditionReason,
    /// The reason for people, with details and a hint.
    #[serde(flatten)]
    pub message: Message,
    /// The revision of the host's target; `None` for conditions of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<String>,
    /// The time of the last change of `status`.
    pub last_transition_time: Timestamp,
}

/// Conditions, one of each type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Condition>", into = "Vec<Condition>")]
pub struct Conditions(Vec<Condition>);

impl From<Vec<Condition>> for Conditions {
    fn from(all: Vec<Condition>) -> Self {
        let mut conditions = Self::default();
        for condition in all {
            conditions.put(condition);
        }
        conditions.0.shrink_to_fit();
        conditions
    }
}

impl From<Conditions> for Vec<Condition> {
    fn from(all: Conditions) -> Self {
        all.0
    }
}

impl Conditions {
    /// Returns the index of a condition, or as an error the index at which to insert it.
    fn place(&self, kind: ConditionType) -> Result<usize, usize> {
        self.0
            .binary_search_by_key(&kind, |condition| condition.kind)
    }

    fn put(&mut self, new: Condition) {
        match self.place(new.kind) {
            Ok(old) => self.0[old] = new,
            Err(free) => self.0.insert(free, new),
        }
    }

    /// Sets a condition. Keeps the old transition time unless the status changes. Returns true if the status
    /// changed.
    pub fn set(&mut self, new: Condition) -> bool {
        let old = self.get(new.kind);
        let moved = old.is_none_or(|old| old.status != new.status);
        let since = match old {
            Some(old) if !moved => old.last_transition_time,
            _ => new.last_transition_time,
        };
        self.put(Condition {
            last_transition_time: since,
            ..new
        });
        moved
    }

    /// Removes a condition, which makes it unknown.
    pub fn remove(&mut self, kind: ConditionType) -> Option<Condition> {
        self.place(kind).ok().map(|at| self.0.remove(at))
    }

    /// Returns a condition.
    pub fn get(&self, kind: ConditionType) -> Option<&Condition> {
        self.place(kind).ok().map(|at| &self.0[at])
    }

    /// True if a condition is known to hold.
    pub fn is_true(&self, kind: ConditionType) -> bool {
        self.get(kind)
            .is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// Iterates over all conditions, in the order of their types.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }
}

/// The target of a host: a revision, and the digest of the host's desired state in that revision. Plumb
/// corrects drift back to this target, even if the branch has newer commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The commit, in hexadecimal.
    pub revision: String,
    /// The desired state's digest.
    pub digest: Digest,
}

/// Resources that fail for the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFailure {
    /// Addresses of at most twenty of these resources.
    pub resources: Vec<String>,
    /// The total number of these resources.
    pub count: u32,
    /// The reason in one CamelCase word that programs may rely on.
    pub reason: ConditionReason,
    /// The cause for the first resource, with the last output of the program that failed, and a hint.
    #[serde(flatten)]
    pub message: Message,
}

/// Resources whose changes wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceWait {
    /// Addresses of at most twenty of these resources.
    pub resources: Vec<String>,
    /// The total number of these resources.
    pub count: u32,
    /// The resource that they wait for, or the words "the next run".
    pub on: String,
}

/// A resource that is no longer desired and that Plumb couldn't remove, or whose original it couldn't restore.
/// Plumb tries again at each resync, and doesn't count this as a failure of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedGiveBack {
    /// The resource.
    pub resource: Address,
    /// The reason in one CamelCase word that programs may rely on.
    pub reason: ConditionReason,
    /// The cause, with the last output of the program that failed, and a hint.
    #[serde(flatten)]
    pub message: Message,
    /// The time of the first failed attempt.
    pub since: Timestamp,
}

/// A host's status, as `plumb get hosts -o json` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The host.
    pub host: HostName,
    /// The newest revision whose desired state the host has reached completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The host's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Digest of the desired state that the agent has stored. The controller sends the next state as a delta
    /// from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Digest>,
    /// Sequence number of the host's ledger at the last contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_sequence: Option<u64>,
    /// The host's conditions.
    #[serde(default)]
    pub conditions: Conditions,
    /// The host's clock minus the controller's at the last contact, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<i64>,
    /// Time of the last successful contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Time of the last run after which the host matched its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Number of failed runs in a row. A run that fails before its backoff has elapsed doesn't count.
    #[serde(default)]
    pub failures: u32,
    /// Number of resources in the target.
    #[serde(default)]
    pub resources: u32,
    /// Addresses of resources that differ from the target, at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<String>,
    /// Resources that fail, grouped by cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<ResourceFailure>,
    /// Resources whose changes wait, grouped by what they wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<ResourceWait>,
    /// Resources that are no longer desired and that Plumb couldn't remove or restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub give_backs: Vec<FailedGiveBack>,
    /// Time of the next run, unless an event triggers an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
}

impl HostStatus {
    /// Creates the status of a host about which nothing is known yet.
    pub fn new(host: HostName) -> Self {
        Self {
            host,
            revision: None,
            target: None,
            held: None,
            ledger_sequence: None,
            clock_offset: None,
            conditions: Conditions::default(),
            last_seen: None,
            last_success: None,
            failures: 0,
            resources: 0,
            differing: Vec::new(),
            failing: Vec::new(),
            waiting: Vec::new(),
            give_backs: Vec::new(),
            next_run: None,
        }
    }
}
