//! Conditions: the state of a host for people and programs, by Kubernetes' conventions.
//!
//! A map by type, never a phase; an absent condition is unknown; the transition time moves only
//! when the status does.

use jiff::Timestamp;
use plumb_api::{Address, Digest, HostName};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::reason::ConditionReason;

/// A condition's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The host is as its target says, or the source is fetched and accepted.
    Ready,
    /// The host answered at the last attempt.
    Reachable,
    /// The host runs the newest accepted revision.
    Synced,
    /// The host drifted from its target. True is bad.
    Drifted,
    /// Work is in progress. Present while true.
    Reconciling,
    /// Retrying won't help; somebody must change something. Present while true.
    Stalled,
    /// A person requested a pause. Present while true.
    Suspended,
    /// Every commit up to the branch's head is accepted.
    SourceVerified,
    /// The host needs a reboot.
    RebootRequired,
    /// The clock of the host, or of an Alertmanager, differs from the controller's. Present while true.
    ClockSkewed,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition doesn't hold.
    False,
    /// Unknown.
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
    /// The reason for people: a sentence, and the lines that belong to it.
    #[serde(flatten)]
    pub message: Message,
    /// The revision that the status is about.
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
    /// Returns the place of a condition, or the one where it belongs.
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

    /// Sets a condition; the transition time is kept unless the status changes. Returns true if the status
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

/// The target of a host: a revision, and the digest of the desired state that it has for the host. Drift is
/// corrected to this target, never to the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The commit, in hexadecimal.
    pub revision: String,
    /// The desired state's digest.
    pub digest: Digest,
}

/// Resources that fail for one cause: one of them, or hundreds that fail alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFailure {
    /// The first twenty addresses.
    pub resources: Vec<String>,
    /// The number of resources.
    pub count: u32,
    /// The reason in one CamelCase word that programs may rely on.
    pub reason: ConditionReason,
    /// The cause for the first resource, with the last words of the program that failed, and the way out.
    #[serde(flatten)]
    pub message: Message,
}

/// Resources whose change waits for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceWait {
    /// The first twenty addresses.
    pub resources: Vec<String>,
    /// The number of resources.
    pub count: u32,
    /// The resource that they wait for.
    pub on: String,
}

/// A resource that nothing desires any more and that can't be given back. It is tried again at each resync
/// and counts as no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedGiveBack {
    /// The resource.
    pub resource: Address,
    /// The reason in one CamelCase word that programs may rely on.
    pub reason: ConditionReason,
    /// The cause, with the last words of the program that failed, and the way out.
    #[serde(flatten)]
    pub message: Message,
    /// The time of the first try.
    pub since: Timestamp,
}

/// A host's status, as `plumb get hosts -o json` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The host.
    pub host: HostName,
    /// The last revision that the host reached completely and confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The host's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The desired state that its agent holds: the base of the next delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Digest>,
    /// The sequence of the ledger at the last contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_sequence: Option<u64>,
    /// The host's conditions.
    #[serde(default)]
    pub conditions: Conditions,
    /// The host's clock minus the controller's at the last contact, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<i64>,
    /// The last successful contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// The last run that ended with the host as desired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Failures in a row; each counts only after its backoff has elapsed.
    #[serde(default)]
    pub failures: u32,
    /// The number of resources of the target.
    #[serde(default)]
    pub resources: u32,
    /// The first twenty differing addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<String>,
    /// The resources that fail, by cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<ResourceFailure>,
    /// The resources that wait, by what they wait for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<ResourceWait>,
    /// Resources that nothing desires any more and that can't be given back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub give_backs: Vec<FailedGiveBack>,
    /// The time of the next run, unless something calls for an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
}

impl HostStatus {
    /// Creates the status of a host that nothing is known of yet.
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
