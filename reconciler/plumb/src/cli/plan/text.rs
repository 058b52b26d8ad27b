//! Renders a plan on one screen: hosts with the same plan form one group, each line has the cause and the
//! certainty of a change and its consequences, and the totals by danger come last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::HostName;
use plumb_api::plan::{Cause, Certainty, Change, FieldChange, Op};
use plumb_core::plan::{Planned, Trouble};
use plumb_core::ports::HostError;
use plumb_document::Diagnostic;
use serde_json::Value;

use super::summary::{Group, Summary, Totals, summarise};
use crate::output::count;
use crate::output::{Paint, Palette, Table};

/// The largest number of hosts that are named; the rest is only counted.
const NAMED: usize = 6;

pub(super) fn whole(
    planned: &BTreeMap<HostName, Planned>,
    failed: &BTreeMap<HostName, HostError>,
    held: &[(&HostName, &Vec<Diagnostic>)],
    palette: Palette,
) -> String {
    let summary = summarise(planned);
    let mut out = String::new();
    for group in &summary.groups {
        group_text(&mut out, group, palette);
    }
    for (name, error) in failed {
        let _ = writeln!(
            out,
            "{} {}",
            palette.paint(Paint::Bold, name),
            palette.paint(Paint::Error, "wasn't observed")
        );
        let _ = writeln!(out, "  {error}");
        if let Some(hint) = error.hint() {
            let _ = writeln!(out, "  {} {hint}", palette.paint(Paint::Hint, "hint:"));
        }
        out.push('\n');
    }
    for (name, _) in held {
        let _ = writeln!(
            out,
            "{} {}: its manifests have errors\n",
            palette.paint(Paint::Bold, name),
            palette.paint(Paint::Error, "is held")
        );
    }
    if !summary.settled.is_empty() {
        let _ = writeln!(
            out,
            "{} {}",
            palette.paint(Paint::Good, "in sync:"),
            names(&summary.settled)
        );
    }
    let troubled = |trouble: Trouble| -> usize {
        let of = |group: &Group<'_>| {
            let all = group.planned.problems.iter();
            all.filter(|one| one.trouble == trouble).count() * group.hosts.len()
        };
        summary.groups.iter().map(of).sum()
    };
    let omissions = Omissions {
        failed: failed.len(),
        held: held.len(),
        problems: troubled(Trouble::Unobserved),
        refused: troubled(Trouble::Refused),
    };
    totals(&mut out, &summary, omissions, palette);
    out
}

/// Counts of hosts and resources that the plan leaves out.
#[derive(Clone, Copy)]
struct Omissions {
    /// Hosts that couldn't be observed.
    failed: usize,
    /// Hosts whose manifests have errors.
    held: usize,
    /// Resources that couldn't be observed.
    problems: usize,
    /// Resources whose change the host refuses.
    refused: usize,
}

impl Omissions {
    fn parts(self, palette: Palette) -> Vec<String> {
        let be = |number: usize| if number == 1 { "wasn't" } else { "weren't" };
        let mut parts = Vec::new();
        if self.failed > 0 {
            let hosts = count(self.failed, "host");
            parts.push(format!("{hosts} {} observed", be(self.failed)));
        }
        if self.held > 0 {
            parts.push(format!("{} held", count(self.held, "host")));
        }
        if self.problems > 0 {
            let resources = count(self.problems, "resource");
            parts.push(format!("{resources} {} observed", be(self.problems)));
        }
        if self.refused > 0 {
            let changes = count(self.refused, "change");
            parts.push(format!("{changes} refused by the host"));
        }
        parts
            .into_iter()
            .map(|part| palette.paint(Paint::Error, part))
            .collect()
    }
}

fn names(hosts: &[&HostName]) -> String {
    let named: Vec<_> = hosts.iter().take(NAMED).map(ToString::to_string).collect();
    match hosts.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn group_text(out: &mut String, group: &Group<'_>, palette: Palette) {
    let head = match group.hosts.as_slice() {
        [one] => palette.paint(Paint::Bold, one),
        many => format!(
            "{} {}",
            palette.paint(Paint::Bold, format_args!("{} hosts alike:", many.len())),
            names(many)
        ),
    };
    let _ = writeln!(out, "{head}");
    if let Some(refusal) = &group.planned.refusal {
        let _ = writeln!(
            out,
            "  {} {refusal}",
            palette.paint(Paint::Error, "refused:")
        );
        if let Some(hint) = refusal.hint() {
            let _ = writeln!(out, "  {} {hint}", palette.paint(Paint::Hint, "hint:"));
        }
    }
    // The fields and consequences are the last column, because their length varies most.
    let mut table = Table::new(["", "", "", "", ""], palette);
    for change in &group.planned.plan.changes {
        let (mark, paint) = mark(change.op);
        table.painted([
            (Some(paint), format!("  {mark} {}", word(change.op))),
            (None, group.planned.name(&change.address)),
            (cause_paint(change.cause), cause(change.cause).to_owned()),
            (Some(Paint::Dim), certainty(change.certainty).to_owned()),
            (None, details(change)),
        ]);
    }
    for line in table
        .to_string()
        .lines()
        .filter(|line| !line.trim().is_empty())
    {
        let _ = writeln!(out, "{line}");
    }
    for drift in &group.planned.held_drift {
        let _ = writeln!(
            out,
            "  {} {}  {} (not corrected, drift mode: {})",
            palette.paint(Paint::Warn, "! drifted"),
            group.planned.name(&drift.address),
            fields(&drift.fields),
            serde_json::to_value(drift.mode)
                .ok()
                .and_then(|mode| mode.as_str().map(str::to_owned))
                .unwrap_or_default()
        );
    }
    for (address, diff) in &group.planned.diffs {
        let _ = writeln!(out, "  {address}: - on the host, + in git");
        lines(out, &diff.to_string(), palette);
    }
    for troubled in &group.planned.problems {
        let word = match troubled.trouble {
            Trouble::Unobserved => "! can't look",
            Trouble::Refused => "! refused",
        };
        let _ = writeln!(
            out,
            "  {} {}  {}",
            palette.paint(Paint::Error, word),
            group.planned.name(&troubled.address),
            troubled.error
        );
        if let Some(hint) = &troubled.error.hint {
            let _ = writeln!(out, "      {} {hint}", palette.paint(Paint::Hint, "hint:"));
        }
    }
    for blocked in &group.planned.blocked {
        let _ = writeln!(
            out,
            "  {} {}  waits for {}",
            palette.paint(Paint::Warn, "! blocked"),
            blocked.address,
            blocked.on
        );
    }
    out.push('\n');
}

/// Writes the lines of a unified difference, indented.
pub(in crate::cli) fn lines(out: &mut String, diff: &str, palette: Palette) {
    for line in diff.lines() {
        let paint = match line.as_bytes().first() {
            Some(b'+') => Paint::Good,
            Some(b'-') => Paint::Error,
            _ => Paint::Dim,
        };
        let _ = writeln!(out, "      {}", palette.paint(paint, line));
    }
}

fn word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Replace => "replace",
        Op::Delete => "delete",
        Op::Run => "run",
    }
}

fn mark(op: Op) -> (char, Paint) {
    match op {
        Op::Create => ('+', Paint::Good),
        Op::Update => ('~', Paint::Warn),
        Op::Replace => ('±', Paint::Warn),
        Op::Delete => ('-', Paint::Error),
        Op::Run => ('↻', Paint::Hint),
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Intent => "intent",
        Cause::Drift => "drift",
        Cause::Conflict => "conflict",
    }
}

fn cause_paint(cause: Cause) -> Option<Paint> {
    match cause {
        Cause::Intent => None,
        Cause::Drift => Some(Paint::Warn),
        Cause::Conflict => Some(Paint::Error),
    }
}

/// Names the certainty of a change.
fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::Predicted => "predicted",
        Certainty::Opaque => "opaque",
    }
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

fn totals(out: &mut String, summary: &Summary<'_>, omissions: Omissions, palette: Palette) {
    let Totals {
        hosts,
        create,
        update,
        replace,
        delete,
        run,
        drift,
        conflict,
        disrupted,
        reboots,
        sessions_at_risk,
        refused,
    } = summary.totals;
    let mut parts = Vec::new();
    for (number, word, paint) in [
        (create, "create", Paint::Good),
        (update, "update", Paint::Warn),
        (replace, "replace", Paint::Warn),
        (delete, "delete", Paint::Error),
        (run, "run", Paint::Hint),
    ] {
        if number > 0 {
            parts.push(palette.paint(paint, format_args!("{number} to {word}")));
        }
    }
    for (number, noun, paint) in [
        (drift, "correction of drift", Paint::Warn),
        (conflict, "conflict", Paint::Error),
        (disrupted, "disruption", Paint::Error),
        (reboots, "reboot", Paint::Error),
        (sessions_at_risk, "host with sessions at risk", Paint::Error),
        (refused, "refusal", Paint::Error),
    ] {
        if number > 0 {
            let plural = if number == 1 { "" } else { "s" };
            parts.push(palette.paint(paint, format_args!("{number} {noun}{plural}")));
        }
    }
    let omissions = omissions.parts(palette);
    let mut said = Vec::new();
    if !parts.is_empty() {
        let hosts = count(usize::try_from(hosts).unwrap_or(usize::MAX), "host");
        said.push(format!("{hosts}: {}", parts.join(", ")));
    } else if omissions.is_empty() {
        said.push("nothing to do".to_owned());
    } else if !summary.settled.is_empty() {
        let settled = count(summary.settled.len(), "host");
        said.push(format!("nothing to do on {settled}"));
    }
    said.extend(omissions);
    let _ = writeln!(out, "{}", said.join("; "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(planned: &[&str], failed: &[&str]) -> String {
        let planned = planned
            .iter()
            .map(|name| {
                let plan = plumb_api::plan::Plan {
                    target: plumb_api::Digest::of_bytes(b""),
                    changes: Vec::new(),
                    confirm: Vec::new(),
                    forget: Vec::new(),
                };
                let planned = Planned {
                    plan,
                    refusal: None,
                    held_drift: Vec::new(),
                    problems: Vec::new(),
                    blocked: Vec::new(),
                    leaving: std::collections::BTreeSet::new(),
                    origins: std::collections::BTreeMap::new(),
                    diffs: std::collections::BTreeMap::new(),
                };
                (name.parse().unwrap(), planned)
            })
            .collect();
        let failed = failed
            .iter()
            .map(|name| {
                let host: HostName = name.parse().unwrap();
                let error = HostError::Unreachable {
                    host: host.clone(),
                    reason: "no route to host".to_owned(),
                };
                (host, error)
            })
            .collect();
        let text = whole(&planned, &failed, &[], Palette::plain());
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn what_wasnt_looked_at_is_never_nothing_to_do() {
        assert_eq!(said(&["a", "b"], &[]), "nothing to do");
        assert_eq!(
            said(&["a", "b"], &["c"]),
            "nothing to do on 2 hosts; 1 host wasn't observed"
        );
        assert_eq!(said(&[], &["c", "d"]), "2 hosts weren't observed");
    }
}
