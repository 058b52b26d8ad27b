//! The JSON form of plans: `plumb plan -o json`.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use plumb_api::plan::{Cause, Certainty, Change, FieldChange, Op};
use plumb_api::{Address, AnyAddress, HostName};
use plumb_core::desired::{DesiredState, DriftMode};
use plumb_core::plan::{ContentDiff, Planned, Trouble};
use plumb_core::shown;
use serde::Serialize;

/// The plans of a fleet.
#[derive(Debug, Serialize)]
pub(super) struct FleetPlan {
    pub(super) revision: Option<String>,
    pub(super) hosts: BTreeMap<HostName, HostPlan>,
}

/// The plan of a host.
#[derive(Debug, Default, Serialize)]
pub(super) struct HostPlan {
    changes: Vec<JsonChange>,
    /// Drift that isn't corrected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<JsonDrift>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<JsonProblem>,
    /// Changes that a problem blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<JsonBlocked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<JsonRefusal>,
    /// Warnings, such as a fact of the host that differs from the manifest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct JsonChange {
    resource: Address,
    /// The composite that this resource is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<AnyAddress>,
    op: Op,
    cause: Cause,
    certainty: Certainty,
    /// The change of the resource, as a JSON Patch (RFC 6902).
    patch: Patch,
    consequences: Vec<String>,
    /// The lines in which the content differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<ContentDiff>,
}

#[derive(Debug, Serialize)]
struct JsonDrift {
    resource: Address,
    mode: DriftMode,
    /// The patch that would correct the drift.
    patch: Patch,
    /// The lines in which the content differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<ContentDiff>,
}

#[derive(Debug, Serialize)]
struct JsonProblem {
    resource: Address,
    trouble: Trouble,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct JsonBlocked {
    resource: Address,
    on: Address,
}

#[derive(Debug, Serialize)]
struct JsonRefusal {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl HostPlan {
    /// Builds the plan of a host from its current state to `goal`.
    pub(super) fn of(planned: &Planned, goal: &DesiredState) -> Self {
        let change = |change: &Change| JsonChange {
            resource: change.address.clone(),
            from: planned
                .origins
                .get(&change.address)
                .cloned()
                .map(AnyAddress::Composite),
            op: change.op,
            cause: change.cause,
            certainty: change.certainty,
            patch: patch(change, goal),
            consequences: change
                .consequences
                .iter()
                .map(ToString::to_string)
                .collect(),
            diff: planned.diffs.get(&change.address).cloned(),
        };
        let held = planned.held_drift.iter().map(|held| JsonDrift {
            resource: held.address.clone(),
            mode: held.mode,
            patch: Patch(held.fields.iter().map(operation).collect()),
            diff: planned.diffs.get(&held.address).cloned(),
        });
        let problems = planned.problems.iter().map(|troubled| JsonProblem {
            resource: troubled.address.clone(),
            trouble: troubled.trouble,
            message: troubled.error.message.clone(),
            hint: troubled.error.hint.clone(),
        });
        let blocked = planned.blocked.iter().map(|blocked| JsonBlocked {
            resource: blocked.address.clone(),
            on: blocked.on.clone(),
        });
        Self {
            warnings: Vec::new(),
            changes: planned.plan.changes.iter().map(change).collect(),
            held: held.collect(),
            problems: problems.collect(),
            blocked: blocked.collect(),
            refused: planned.refusal.as_ref().map(|refusal| JsonRefusal {
                reason: refusal.reason().as_str(),
                message: refusal.to_string(),
                hint: refusal.hint().map(str::to_owned),
            }),
        }
    }

    /// Builds the plan of a host that can't be planned for.
    pub(super) fn refused(reason: &'static str, message: String, hint: Option<String>) -> Self {
        Self {
            refused: Some(JsonRefusal {
                reason,
                message,
                hint,
            }),
            ..Self::default()
        }
    }
}

/// Renders a change as a JSON Patch. The patch creates or deletes the resource, or changes some of its
/// fields.
fn patch(change: &Change, goal: &DesiredState) -> Patch {
    let path = PointerBuf::root();
    let value = goal
        .get(&change.address)
        .map(shown::spec)
        .unwrap_or_default();
    Patch(match change.op {
        Op::Create => vec![PatchOperation::Add(AddOperation { path, value })],
        Op::Replace => vec![PatchOperation::Replace(ReplaceOperation { path, value })],
        Op::Delete => vec![PatchOperation::Remove(RemoveOperation { path })],
        Op::Run => Vec::new(),
        Op::Update => change.fields.iter().map(operation).collect(),
    })
}

fn operation(change: &FieldChange) -> PatchOperation {
    let path = PointerBuf::from_tokens([change.field.as_str()]);
    match (&change.from, change.to.clone()) {
        (None, Some(value)) => PatchOperation::Add(AddOperation { path, value }),
        (_, Some(value)) => PatchOperation::Replace(ReplaceOperation { path, value }),
        (_, None) => PatchOperation::Remove(RemoveOperation { path }),
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::plan::{ChangeId, Consequence};
    use serde_json::json;

    use super::*;

    fn change(address: &str, op: Op) -> Change {
        Change {
            id: ChangeId(0),
            address: address.parse().unwrap(),
            op,
            cause: Cause::Intent,
            certainty: Certainty::Exact,
            fields: Vec::new(),
            consequences: Vec::new(),
            precondition: None,
            after: Vec::new(),
        }
    }

    fn json_of(change: Change) -> serde_json::Value {
        let goal = DesiredState::new(BTreeMap::new());
        let planned = Planned {
            plan: plumb_api::plan::Plan {
                target: goal.digest(),
                changes: vec![change],
                confirm: Vec::new(),
                forget: Vec::new(),
            },
            refusal: None,
            held_drift: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            leaving: std::collections::BTreeSet::new(),
            origins: BTreeMap::new(),
            diffs: std::collections::BTreeMap::new(),
        };
        serde_json::to_value(HostPlan::of(&planned, &goal)).unwrap()
    }

    #[test]
    fn a_change_is_a_patch() {
        let mut update = change("file:/etc/a", Op::Update);
        update.fields.push(FieldChange {
            field: "mode".to_owned(),
            from: Some(json!("0644")),
            to: Some(json!("0600")),
        });
        assert_eq!(
            json_of(update),
            json!({"changes": [{
                "resource": "file:/etc/a", "op": "update", "cause": "intent", "certainty": "exact",
                "patch": [{"op": "replace", "path": "/mode", "value": "0600"}], "consequences": []
            }]})
        );
        let address = "file:/etc/b";
        let mut delete = change(address, Op::Delete);
        delete
            .consequences
            .push(Consequence::Removes(address.parse().unwrap()));
        let delete = json_of(delete);
        let delete = &delete["changes"][0];
        assert_eq!(delete["patch"], json!([{"op": "remove", "path": ""}]));
        assert_eq!(delete["consequences"], json!(["removes file:/etc/b"]));
        let create = json_of(change("link:/etc/c", Op::Create));
        assert_eq!(create["changes"][0]["patch"][0]["op"], "add");
    }

    #[test]
    fn a_host_that_cannot_be_planned_for_says_why() {
        let refused = HostPlan::refused("Unreachable", "no route".to_owned(), None);
        assert_eq!(
            serde_json::to_value(refused).unwrap(),
            json!({"changes": [], "refused": {"reason": "Unreachable", "message": "no route"}})
        );
    }
}
