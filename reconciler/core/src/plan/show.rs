//! A plan for programs: `plumb plan -o json`.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use plumb_api::plan::{Cause, Certainty, Change, Op};
use plumb_api::{Address, HostName};
use serde::Serialize;

use super::Planned;
use crate::desired::{DesiredState, DriftMode};

/// The plans of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetPlan {
    /// The revision that they lead to.
    pub revision: Option<String>,
    /// Each host's.
    pub hosts: BTreeMap<HostName, HostPlan>,
}

/// The plan of a host.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPlan {
    /// What is done, in order.
    pub changes: Vec<ShownChange>,
    /// Drift that is left as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<ShownDrift>,
    /// What couldn't be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ShownProblem>,
    /// What waits for one of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<ShownBlocked>,
    /// Why nothing may be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<ShownRefusal>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownChange {
    /// `type:name`.
    pub resource: Address,
    /// What is done.
    pub op: Op,
    /// Who moved.
    pub cause: Cause,
    /// How sure it is.
    pub certainty: Certainty,
    /// RFC 6902, on the resource.
    pub patch: Patch,
    /// What it does beyond, a phrase each.
    pub consequences: Vec<String>,
}

/// Drift that is left as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownDrift {
    /// `type:name`.
    pub resource: Address,
    /// Why it is left.
    pub mode: DriftMode,
    /// What would put it right, RFC 6902.
    pub patch: Patch,
}

/// A resource that couldn't be looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownProblem {
    /// `type:name`.
    pub resource: Address,
    /// Why.
    pub message: String,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A resource whose change waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownBlocked {
    /// `type:name`.
    pub resource: Address,
    /// What it waits for.
    pub on: Address,
}

/// Why nothing may be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownRefusal {
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
    /// What can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A host's plan for programs; `goal` is what it leads to.
pub fn host(planned: &Planned, goal: &DesiredState) -> HostPlan {
    HostPlan {
        changes: planned
            .plan
            .changes
            .iter()
            .map(|change| ShownChange {
                resource: change.address.clone(),
                op: change.op,
                cause: change.cause,
                certainty: change.certainty,
                patch: patch(change, goal),
                consequences: change
                    .consequences
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            })
            .collect(),
        held: planned
            .held_drift
            .iter()
            .map(|held| ShownDrift {
                resource: held.address.clone(),
                mode: held.mode,
                patch: Patch(held.fields.iter().map(operation).collect()),
            })
            .collect(),
        problems: planned
            .problems
            .iter()
            .map(|troubled| ShownProblem {
                resource: troubled.address.clone(),
                message: troubled.error.message.clone(),
                hint: troubled.error.hint.clone(),
            })
            .collect(),
        blocked: planned
            .blocked
            .iter()
            .map(|blocked| ShownBlocked {
                resource: blocked.address.clone(),
                on: blocked.on.clone(),
            })
            .collect(),
        refused: planned.refusal.as_ref().map(|refusal| ShownRefusal {
            reason: refusal.reason().as_str(),
            message: refusal.to_string(),
            hint: refusal.hint().map(str::to_owned),
        }),
    }
}

/// A change as a JSON Patch on the resource: the whole of it comes, or goes, or fields of it move.
pub fn patch(change: &Change, goal: &DesiredState) -> Patch {
    let whole = PointerBuf::root;
    let spec = || {
        goal.get(&change.address)
            .and_then(|spec| spec.to_json().ok())
            .unwrap_or_default()
    };
    Patch(match change.op {
        Op::Create => vec![PatchOperation::Add(AddOperation {
            path: whole(),
            value: spec(),
        })],
        Op::Replace => vec![PatchOperation::Replace(ReplaceOperation {
            path: whole(),
            value: spec(),
        })],
        Op::Delete => vec![PatchOperation::Remove(RemoveOperation { path: whole() })],
        Op::Run => Vec::new(),
        Op::Update => change.fields.iter().map(operation).collect(),
    })
}

fn operation(change: &plumb_api::plan::FieldChange) -> PatchOperation {
    let path = PointerBuf::from_tokens([change.field.as_str()]);
    match (&change.from, &change.to) {
        (None, Some(value)) => PatchOperation::Add(AddOperation {
            path,
            value: value.clone(),
        }),
        (_, Some(value)) => PatchOperation::Replace(ReplaceOperation {
            path,
            value: value.clone(),
        }),
        (_, None) => PatchOperation::Remove(RemoveOperation { path }),
    }
}
