//! The changes that a host needs, and the reasons for them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::name::Address;

/// One field in which a host differs from its desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's name, as in the manifest.
    pub field: String,
    /// The host's value, or `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// The desired value, or `None` if the field is to have no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl FieldChange {
    /// Creates a change between two texts.
    pub fn new(field: &str, from: &str, to: &str) -> Self {
        Self {
            field: field.to_owned(),
            from: Some(from.into()),
            to: Some(to.into()),
        }
    }

    /// Creates a change between two values.
    pub fn of<T: Serialize>(field: &str, from: Option<&T>, to: Option<&T>) -> Self {
        let value = |value: Option<&T>| value.and_then(|value| serde_json::to_value(value).ok());
        Self {
            field: field.to_owned(),
            from: value(from),
            to: value(to),
        }
    }
}

/// The operation on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Op {
    /// The resource doesn't exist and is created.
    Create,
    /// The resource exists and is changed in place.
    Update,
    /// The resource must be removed and created again.
    Replace,
    /// The resource is removed, or its original is restored if there is one.
    Delete,
    /// Something runs: a restart, a reload, a command.
    Run,
}

/// The cause of a change: git, the host, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The desired state changed since the host last confirmed it.
    Intent,
    /// The host differs from the state that it last confirmed.
    Drift,
    /// Both changed the same field.
    Conflict,
}

/// The certainty of a planned change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// The change follows from the observed state.
    Exact,
    /// The change follows from an earlier change of the same plan.
    Predicted,
    /// The change can't be known beforehand (a command without a guard).
    Opaque,
}

/// An effect of a change beyond its own fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Consequence {
    /// This unit is restarted.
    Restarts(String),
    /// This unit is reloaded.
    Reloads(String),
    /// This unit is stopped.
    Stops(String),
    /// This command or check runs.
    Runs(String),
    /// This resource is removed.
    Removes(String),
    /// The original of this resource is restored.
    GivesBack(String),
    /// The change destroys this, although the manifest doesn't mention it.
    Loses(String),
    /// The machine restarts.
    Reboots,
    /// Sessions over this may be cut.
    SessionsAtRisk(String),
}

impl Consequence {
    /// True if the consequence interrupts something that runs. The change then counts against the budget
    /// `disrupted`.
    pub fn disrupts(&self) -> bool {
        matches!(
            self,
            Self::Restarts(_) | Self::Stops(_) | Self::Reboots | Self::SessionsAtRisk(_)
        )
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restarts(unit) => write!(f, "restarts {unit}"),
            Self::Reloads(unit) => write!(f, "reloads {unit}"),
            Self::Stops(unit) => write!(f, "stops {unit}"),
            Self::Runs(what) => write!(f, "runs {what}"),
            Self::Removes(what) => write!(f, "removes {what}"),
            Self::GivesBack(what) => write!(f, "gives back {what}"),
            Self::Loses(what) => write!(f, "loses {what}"),
            Self::Reboots => f.write_str("reboots"),
            Self::SessionsAtRisk(what) => write!(f, "may cut sessions over {what}"),
        }
    }
}

/// A change's index in its plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub u32);

/// One change of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The index in the plan.
    pub id: ChangeId,
    /// The resource. Its new spec is in the desired state whose digest is the plan's target. A resource
    /// without a spec there is pruned.
    pub address: Address,
    /// The operation.
    pub op: Op,
    /// The cause.
    pub cause: Cause,
    /// The certainty.
    pub certainty: Certainty,
    /// The fields that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The effects beyond the fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<Consequence>,
    /// The digest of the observed state. The agent observes again and rejects the change if the digest
    /// differs. `None` if an earlier change of the plan decides the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<Digest>,
    /// The changes that must have succeeded before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ChangeId>,
}

/// All changes of one run on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The digest of the desired state.
    pub target: Digest,
    /// The changes. Each is listed after the changes that it depends on.
    pub changes: Vec<Change>,
    /// Resources that are as desired, and that the agent is to record as confirmed in its ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirm: Vec<Address>,
    /// Resources that are no longer desired and need no change, and that the agent is to drop from its
    /// ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<Address>,
}

impl Plan {
    /// True if the plan changes nothing on the host. It may still change the ledger.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// True if the agent has nothing to do, not even in the ledger.
    pub fn is_settled(&self) -> bool {
        self.changes.is_empty() && self.confirm.is_empty() && self.forget.is_empty()
    }
}
