//! What will be done on a host, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::name::Address;

/// One field in which a host differs from what is desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field's name, as in the manifest.
    pub field: String,
    /// What the host has; none where it has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it is to have; none where it is to have nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl FieldChange {
    /// A change between two texts.
    pub fn new(field: &str, from: &str, to: &str) -> Self {
        Self {
            field: field.to_owned(),
            from: Some(from.into()),
            to: Some(to.into()),
        }
    }

    /// A change between two values.
    pub fn of<T: Serialize>(field: &str, from: Option<&T>, to: Option<&T>) -> Self {
        let value = |value: Option<&T>| value.and_then(|value| serde_json::to_value(value).ok());
        Self {
            field: field.to_owned(),
            from: value(from),
            to: value(to),
        }
    }
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Op {
    /// It isn't there and will be.
    Create,
    /// It is there and changes in place.
    Update,
    /// It must go and be made anew.
    Replace,
    /// It goes; or, where something was there before us, that comes back.
    Delete,
    /// Something runs: a restart, a reload.
    Run,
}

/// Who moved: git, the host, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// What is desired moved since it was last confirmed on the host.
    Intent,
    /// The host moved away from what was last confirmed.
    Drift,
    /// Both moved, the same field.
    Conflict,
}

/// How sure a planned change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// From what was observed.
    Exact,
    /// It follows from an earlier change of the same plan.
    Predicted,
    /// It can't be known beforehand (a command without a guard).
    Opaque,
}

/// What a change does beyond its own fields.
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
    /// This is removed.
    Removes(String),
    /// What was there before Plumb is given back.
    GivesBack(String),
    /// The machine restarts.
    Reboots,
    /// Sessions over this may be cut.
    SessionsAtRisk(String),
}

impl Consequence {
    /// Whether it interrupts something that runs: counted against the budget `disrupted`.
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
            Self::Reboots => f.write_str("reboots"),
            Self::SessionsAtRisk(what) => write!(f, "may cut sessions over {what}"),
        }
    }
}

/// A change's place in its plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub u32);

/// One change of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its place in the plan.
    pub id: ChangeId,
    /// What is changed. What it becomes is in the desired state that the plan's target names; a
    /// resource that isn't there is pruned.
    pub address: Address,
    /// What is done.
    pub op: Op,
    /// Who moved.
    pub cause: Cause,
    /// How sure it is.
    pub certainty: Certainty,
    /// The fields that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What it does beyond them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<Consequence>,
    /// The digest of what was observed; the agent observes again and refuses when it differs. None
    /// where an earlier change of the plan decides what will be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<Digest>,
    /// The changes that must have succeeded before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<ChangeId>,
}

/// Everything that one run does on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The digest of the desired state that it leads to.
    pub target: Digest,
    /// The changes, each behind those that it comes after.
    pub changes: Vec<Change>,
    /// Resources that already are as desired and that the ledger doesn't hold as confirmed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirm: Vec<Address>,
    /// Resources of the ledger that are no longer desired and already gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<Address>,
}

impl Plan {
    /// Whether nothing on the host changes (the ledger may).
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether there is nothing at all to tell the agent.
    pub fn is_settled(&self) -> bool {
        self.changes.is_empty() && self.confirm.is_empty() && self.forget.is_empty()
    }
}
