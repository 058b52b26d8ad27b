//! Renders the plans of hosts on one screen. Lines that hosts have in common are shown once. A line shows a
//! change with its cause, certainty and consequences. The last lines show totals, among them those of
//! dangerous changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::HostName;
use plumb_api::plan::{Cause, Certainty, Op};
use plumb_core::plan::{Planned, Trouble};
use plumb_core::ports::HostError;
use plumb_document::Diagnostic;

use super::rows::{Block, ChangeRow, Row};
use super::summary::{Summary, Totals, summarise};
use crate::output::count;
use crate::output::{Format, Paint, Palette, Table};

/// Maximum number of hosts that are named; the others are only counted.
const NAMED: usize = 8;

/// Maximum number of lines of a plan that is shown completely. A longer plan is shortened.
const SCREEN: usize = 40;

/// Maximum number of changes of one sort that a shortened plan shows one by one.
const FOLDED: usize = 3;

/// Maximum number of lines of a diff in a shortened plan.
const CUT: usize = 6;

pub(super) fn whole(
    planned: &BTreeMap<HostName, Planned>,
    failed: &BTreeMap<HostName, HostError>,
    held: &[(&HostName, &Vec<Diagnostic>)],
    warnings: &BTreeMap<String, Vec<&HostName>>,
    format: Format,
    palette: Palette,
) -> String {
    let summary = summarise(planned);
    let mut out = String::new();
    let detail = PlanDetail::of(&summary.blocks, format);
    for block in &summary.blocks {
        block_text(&mut out, block, detail, palette);
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
    for (warning, hosts) in warnings {
        let _ = writeln!(
            out,
            "{} {}: {warning}",
            palette.paint(Paint::Warn, "warning:"),
            names(hosts)
        );
    }
    if detail == PlanDetail::Screen {
        let _ = writeln!(out, "-o wide shows every line");
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
        let all = planned.values().flat_map(|planned| &planned.problems);
        all.filter(|one| one.trouble == trouble).count()
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

fn block_text(out: &mut String, block: &Block<'_>, detail: PlanDetail, palette: Palette) {
    let head = match block.hosts.as_slice() {
        [one] => palette.paint(Paint::Bold, one),
        many => format!(
            "{} {}",
            palette.paint(Paint::Bold, format_args!("{} hosts:", many.len())),
            names(many)
        ),
    };
    let _ = writeln!(out, "{head}");
    let (folded, rows) = match detail {
        PlanDetail::Whole => (Vec::new(), block.rows.iter().collect()),
        PlanDetail::Screen => folded(&block.rows),
    };
    // The fields and consequences are the last column, because their length varies most.
    let mut table = Table::new(["", "", "", "", ""], palette);
    let changes = rows.iter().filter_map(|row| match row {
        Row::Change(change) => Some(change),
        _ => None,
    });
    let alike = folded.iter().map(|group| (group[0], alike(group)));
    for (change, name) in alike.chain(changes.map(|change| (change, change.name.clone()))) {
        let (mark, paint) = mark(change.op);
        table.painted([
            (Some(paint), format!("  {mark} {}", word(change.op))),
            (None, name),
            (cause_paint(change.cause), cause(change.cause).to_owned()),
            (Some(Paint::Dim), certainty(change.certainty).to_owned()),
            (None, change.details.clone()),
        ]);
    }
    let changes = table.to_string();
    for row in &rows {
        if matches!(row, Row::Refused { .. }) {
            other_row(out, row, palette);
        }
    }
    for line in changes.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(out, "{line}");
    }
    for row in &rows {
        if !matches!(row, Row::Refused { .. } | Row::Change(_)) {
            other_row(out, row, palette);
        }
    }
    for row in rows {
        let (name, diff) = match row {
            Row::Change(change) => (&change.name, &change.diff),
            Row::Drift { name, diff, .. } => (name, diff),
            _ => continue,
        };
        if !diff.is_empty() {
            let _ = writeln!(out, "  {name}: - on the host, + in git");
            lines(out, &detail.shown(diff), palette);
        }
    }
    out.push('\n');
}

/// Writes a row that isn't a change.
fn other_row(out: &mut String, row: &Row, palette: Palette) {
    let hint = |out: &mut String, indent: &str, hint: Option<&str>| {
        if let Some(hint) = hint {
            let _ = writeln!(
                out,
                "{indent}{} {hint}",
                palette.paint(Paint::Hint, "hint:")
            );
        }
    };
    match row {
        Row::Change(_) => {}
        Row::Refused { why, hint: way } => {
            let _ = writeln!(out, "  {} {why}", palette.paint(Paint::Error, "refused:"));
            hint(out, "  ", *way);
        }
        Row::Drift {
            name, fields, mode, ..
        } => {
            let _ = writeln!(
                out,
                "  {} {name}  {fields} (not corrected, drift mode: {mode})",
                palette.paint(Paint::Warn, "! drifted")
            );
        }
        Row::Problem {
            trouble,
            name,
            why,
            hint: way,
        } => {
            let word = match trouble {
                Trouble::Unobserved => "! can't look",
                Trouble::Refused => "! refused",
            };
            let word = palette.paint(Paint::Error, word);
            let _ = writeln!(out, "  {word} {name}  {why}");
            hint(out, "      ", way.as_deref());
        }
        Row::Blocked { name, on } => {
            let word = palette.paint(Paint::Warn, "! blocked");
            let _ = writeln!(out, "  {word} {name}  waits for {on}");
        }
    }
}

/// Splits rows into groups of many similar changes without details, and all other rows. Changes are similar
/// if type, operation, cause and certainty are the same.
fn folded(rows: &[Row]) -> (Vec<Vec<&ChangeRow>>, Vec<&Row>) {
    let mut sorts: BTreeMap<String, Vec<&ChangeRow>> = BTreeMap::new();
    let sort = |change: &ChangeRow| {
        let plain = change.details.is_empty() && change.diff.is_empty();
        let sort = (change.op, change.kind, change.cause, change.certainty);
        plain.then(|| format!("{sort:?}"))
    };
    for row in rows {
        if let Row::Change(change) = row
            && let Some(sort) = sort(change)
        {
            sorts.entry(sort).or_default().push(change);
        }
    }
    sorts.retain(|_, changes| changes.len() > FOLDED);
    let rest = rows.iter().filter(|row| match row {
        Row::Change(change) => sort(change).is_none_or(|sort| !sorts.contains_key(&sort)),
        _ => true,
    });
    let rest = rest.collect();
    (sorts.into_values().collect(), rest)
}

/// Names the first three of many similar changes, and counts the others.
fn alike(changes: &[&ChangeRow]) -> String {
    let named: Vec<_> = changes
        .iter()
        .take(3)
        .map(|one| one.name.as_str())
        .collect();
    format!(
        "{} and {} more",
        named.join(", "),
        changes.len() - named.len()
    )
}

/// The amount of detail in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlanDetail {
    /// Everything.
    Whole,
    /// A shortened plan: similar changes are grouped, and diffs are cut.
    Screen,
}

impl PlanDetail {
    /// Returns `Whole` if the user requested it or the plan fits on a screen.
    fn of(blocks: &[Block<'_>], format: Format) -> Self {
        let height = |row: &Row| match row {
            Row::Change(change) => 1 + change.diff.lines().count(),
            Row::Drift { diff, .. } => 1 + diff.lines().count(),
            _ => 2,
        };
        let block = |block: &Block<'_>| 2 + block.rows.iter().map(height).sum::<usize>();
        let lines: usize = blocks.iter().map(block).sum();
        if format == Format::Wide || lines <= SCREEN {
            Self::Whole
        } else {
            Self::Screen
        }
    }

    /// Returns a diff, cut if the plan is shortened.
    fn shown(self, diff: &str) -> Cow<'_, str> {
        let lines: Vec<&str> = diff.lines().collect();
        if self == Self::Whole || lines.len() <= CUT + 1 {
            return diff.into();
        }
        let more = lines.len() - CUT;
        format!("{}\n… {more} more lines", lines[..CUT].join("\n")).into()
    }
}

/// Writes the lines of a unified diff, indented.
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
        let none = BTreeMap::new();
        let text = whole(
            &planned,
            &failed,
            &[],
            &none,
            Format::Table,
            Palette::plain(),
        );
        text.lines().last().unwrap_or_default().to_owned()
    }

    fn change(address: String, diff: &str) -> Row {
        Row::Change(ChangeRow {
            op: if diff.is_empty() {
                Op::Create
            } else {
                Op::Update
            },
            kind: "file",
            name: address,
            cause: Cause::Intent,
            certainty: Certainty::Exact,
            details: String::new(),
            diff: diff.to_owned(),
        })
    }

    #[test]
    fn a_long_plan_fits_on_a_screen_unless_all_is_asked_for() {
        let host: HostName = "web-1".parse().unwrap();
        let mut rows: Vec<_> = (0..60)
            .map(|n| change(format!("file:/srv/{n}"), ""))
            .collect();
        rows.push(change("file:/etc/hosts".to_owned(), &"+x\n".repeat(30)));
        let block = Block {
            hosts: vec![&host],
            rows,
        };
        let shown = |format| {
            let mut out = String::new();
            let detail = PlanDetail::of(std::slice::from_ref(&block), format);
            block_text(&mut out, &block, detail, Palette::plain());
            out
        };
        let screen = shown(Format::Table);
        assert!(screen.lines().count() < 15, "{screen}");
        assert!(
            screen.contains("file:/srv/0, file:/srv/1, file:/srv/2 and 57 more"),
            "{screen}"
        );
        assert!(screen.contains("… 24 more lines"), "{screen}");
        assert_eq!(shown(Format::Wide).matches("+x").count(), 30);
        assert_eq!(shown(Format::Wide).matches("file:/srv/").count(), 60);
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
