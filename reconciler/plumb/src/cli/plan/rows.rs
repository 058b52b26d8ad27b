//! Groups the lines of plans by hosts: lines that several hosts have in common are shown once.

use std::collections::BTreeMap;

use plumb_api::HostName;
use plumb_api::plan::{Cause, Certainty, Change, FieldChange, Op};
use plumb_core::plan::{Planned, Trouble};
use serde_json::Value;

/// A line of a plan. Two lines are equal if they look the same to a reader, so preconditions are left out.
#[derive(Debug, Clone)]
pub(super) enum Row {
    /// Nothing may be changed on the host.
    Refused {
        why: String,
        hint: Option<&'static str>,
    },
    /// A change.
    Change(ChangeRow),
    /// Drift that is left as found.
    Drift {
        name: String,
        fields: String,
        mode: String,
        diff: String,
    },
    /// A resource that can't be observed or whose change the host refuses.
    Problem {
        trouble: Trouble,
        name: String,
        why: String,
        hint: Option<String>,
    },
    /// A change that a problem blocks.
    Blocked { name: String, on: String },
}

/// A change, as a plan shows it.
#[derive(Debug, Clone)]
pub(super) struct ChangeRow {
    pub(super) op: Op,
    /// The resource's type.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) cause: Cause,
    pub(super) certainty: Certainty,
    /// The changed fields and the consequences.
    pub(super) details: String,
    /// The lines in which the resource's content differs.
    pub(super) diff: String,
}

/// Lines that all of these hosts have in common.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// The hosts, by name.
    pub(super) hosts: Vec<&'a HostName>,
    /// The lines, in the order of the plan.
    pub(super) rows: Vec<Row>,
}

/// Groups the lines that hosts have in common. The group with the most hosts comes first.
pub(super) fn blocks<'a>(
    plans: impl Iterator<Item = (&'a HostName, &'a Planned)>,
) -> Vec<Block<'a>> {
    let mut by_row: BTreeMap<String, (usize, Row, Vec<&'a HostName>)> = BTreeMap::new();
    for (host, planned) in plans {
        for row in rows(planned) {
            let next = by_row.len();
            let key = format!("{row:?}");
            let (_, _, hosts) = by_row.entry(key).or_insert((next, row, Vec::new()));
            if hosts.last() != Some(&host) {
                hosts.push(host);
            }
        }
    }
    let mut rows: Vec<_> = by_row.into_values().collect();
    rows.sort_by_key(|(order, _, _)| *order);
    let mut by_hosts: BTreeMap<Vec<&'a HostName>, Vec<Row>> = BTreeMap::new();
    for (_, row, hosts) in rows {
        by_hosts.entry(hosts).or_default().push(row);
    }
    let mut blocks: Vec<_> = by_hosts
        .into_iter()
        .map(|(hosts, rows)| Block { hosts, rows })
        .collect();
    blocks.sort_by(|a, b| {
        let larger = b.hosts.len().cmp(&a.hosts.len());
        larger.then_with(|| a.hosts.cmp(&b.hosts))
    });
    blocks
}

/// Returns the lines of a host's plan.
fn rows(planned: &Planned) -> Vec<Row> {
    let diff = |address| {
        let diff = planned.diffs.get(address);
        diff.map_or_else(String::new, ToString::to_string)
    };
    let refused = planned.refusal.as_ref().map(|refusal| Row::Refused {
        why: refusal.to_string(),
        hint: refusal.hint(),
    });
    let changes = planned.plan.changes.iter().map(|change| {
        Row::Change(ChangeRow {
            op: change.op,
            kind: change.address.kind().as_str(),
            name: planned.name(&change.address),
            cause: change.cause,
            certainty: change.certainty,
            details: details(change),
            diff: diff(&change.address),
        })
    });
    let drift = planned.held_drift.iter().map(|held| Row::Drift {
        name: planned.name(&held.address),
        fields: fields(&held.fields),
        mode: serde_json::to_value(held.mode)
            .ok()
            .and_then(|mode| mode.as_str().map(str::to_owned))
            .unwrap_or_default(),
        diff: diff(&held.address),
    });
    let problems = planned.problems.iter().map(|troubled| Row::Problem {
        trouble: troubled.trouble,
        name: planned.name(&troubled.address),
        why: troubled.error.to_string(),
        hint: troubled.error.hint.clone(),
    });
    let blocked = planned.blocked.iter().map(|blocked| Row::Blocked {
        name: planned.name(&blocked.address),
        on: blocked.on.to_string(),
    });
    let rows = refused.into_iter().chain(changes).chain(drift);
    rows.chain(problems).chain(blocked).collect()
}

/// Lists the fields that change, and the change's consequences.
fn details(change: &Change) -> String {
    let mut parts = Vec::new();
    if matches!(change.op, Op::Update | Op::Replace) {
        parts.push(fields(&change.fields));
    }
    parts.extend(change.consequences.iter().map(ToString::to_string));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn fields(changes: &[FieldChange]) -> String {
    let all: Vec<_> = changes
        .iter()
        .map(
            |change| match (brief(change.from.as_ref()), brief(change.to.as_ref())) {
                (Some(from), Some(to)) => format!("{}: {from} → {to}", change.field),
                _ => change.field.clone(),
            },
        )
        .collect();
    all.join(", ")
}

/// Renders a value that fits into a line. Returns `None` for lists, mappings and long texts, which would only
/// be noise.
fn brief(value: Option<&Value>) -> Option<String> {
    let text = match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(_) | Value::Number(_)) => value.map(ToString::to_string)?,
        Some(Value::Array(_) | Value::Object(_)) => return None,
    };
    (text.chars().count() <= 40 && !text.contains('\n')).then_some(text)
}
