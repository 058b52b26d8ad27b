use clap::{Args, Subcommand};
use plumb_core::status::{Condition, ConditionStatus, ConditionType};
use plumb_core::view::CommitVerdict;
use serde::Serialize;

use super::{ControllerAddress, Selection, block_on, select, source};
use crate::http::{Fleet, Held, HostObject, Revision, Source};
use crate::output::{Paint, Palette, Shell, Table, age, short};
use crate::report::{Exit, Failure};
use crate::verdict::hint::{Hint, HintContext, Position, hint};

/// List what the controller knows
///
/// `plumb get hosts` shows each host's conditions; `plumb get revisions` the branch's newest commits
/// and what became of each.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Hosts with their conditions
    ///
    /// READY is whether a host is as its target says, SYNCED whether that target is the newest
    /// accepted revision. `-o json` has every condition with its reason and message.
    #[command(visible_alias = "host")]
    Hosts {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// The branch's newest commits and their verdicts
    ///
    /// A commit that isn't accepted is listed with what it lacks, and the first of them with a hint. In a
    /// clone, `plumb explain COMMIT` says who could give what is missing.
    #[command(visible_alias = "revision")]
    Revisions {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// The repository with its conditions
    ///
    /// READY is whether it was fetched and its accepted revision loaded, VERIFIED whether every commit up to
    /// the branch's head is accepted.
    #[command(visible_alias = "source")]
    Sources {
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// The alerts that fire
    #[command(visible_alias = "alert")]
    Alerts {
        #[command(flatten)]
        controller: ControllerAddress,
    },
}

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Get {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.what {
            What::Hosts {
                selection,
                controller,
            } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let hosts: Vec<_> = select(&selection, &fleet.hosts)?
                    .into_iter()
                    .cloned()
                    .collect();
                shell.emit(
                    &Items {
                        items: hosts.clone(),
                    },
                    |palette| hosts_table(&hosts, &fleet, palette),
                )?;
            }
            What::Revisions { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                shell.emit(
                    &Items {
                        items: fleet.revisions.clone(),
                    },
                    |palette| revisions_table(&fleet.revisions, &fleet, palette),
                )?;
            }
            What::Sources { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let sources = Items {
                    items: vec![fleet.source.clone()],
                };
                shell.emit(&sources, |palette| source::table(&fleet, palette))?;
            }
            What::Alerts { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let alerts = Items {
                    items: fleet.alerts.clone(),
                };
                shell.emit(&alerts, |palette| alerts_table(&fleet, palette))?;
            }
        }
        Ok(Exit::OK)
    }
}

fn alerts_table(fleet: &Fleet, palette: Palette) -> String {
    if fleet.alerts.is_empty() {
        return "no alert fires\n".to_owned();
    }
    let mut table = Table::new(["ALERT", "SEVERITY", "HOST", "SINCE", "SUMMARY"], palette);
    for alert in &fleet.alerts {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        let paint = (label("severity") == "critical").then_some(Paint::Error);
        table.painted([
            (paint, label("alertname")),
            (None, label("severity")),
            (None, label("host")),
            (None, age(alert.since, fleet.now)),
            (None, alert.summary.clone()),
        ]);
    }
    table.to_string()
}

/// Renders a condition's status as a cell, coloured if it is bad.
fn cell(host: &HostObject, kind: ConditionType) -> (Option<Paint>, String) {
    let good_when_true = !matches!(kind, ConditionType::Drifted);
    match host.status.conditions.get(kind).map(|c| c.status) {
        None | Some(ConditionStatus::Unknown) => (Some(Paint::Dim), "-".to_owned()),
        Some(ConditionStatus::True) => {
            ((!good_when_true).then_some(Paint::Warn), "True".to_owned())
        }
        Some(ConditionStatus::False) => {
            (good_when_true.then_some(Paint::Error), "False".to_owned())
        }
    }
}

fn hosts_table(hosts: &[HostObject], fleet: &Fleet, palette: Palette) -> String {
    let headings = [
        "NAME",
        "READY",
        "SYNCED",
        "REACHABLE",
        "DRIFTED",
        "REVISION",
        "SEEN",
        "WHY",
    ];
    let mut table = Table::new(headings, palette);
    for host in hosts {
        let seen = host
            .status
            .last_seen
            .map_or_else(|| "never".to_owned(), |at| age(at, fleet.now));
        table.painted([
            (None, host.metadata.name.to_string()),
            cell(host, ConditionType::Ready),
            cell(host, ConditionType::Synced),
            cell(host, ConditionType::Reachable),
            cell(host, ConditionType::Drifted),
            (
                None,
                host.status
                    .revision
                    .as_deref()
                    .map_or("-", short)
                    .to_owned(),
            ),
            (None, seen),
            (None, why(host)),
        ]);
    }
    let mut text = table.to_string();
    if hosts.is_empty() {
        text.push_str("no hosts\n");
    }
    text
}

/// Returns the first line of the most serious condition's message, at most 72 characters long.
fn why(host: &HostObject) -> String {
    let conditions = &host.status.conditions;
    let bad = |kind, bad| conditions.get(kind).filter(|c| c.status == bad);
    let worst = bad(ConditionType::Suspended, ConditionStatus::True)
        .or_else(|| bad(ConditionType::Reachable, ConditionStatus::False))
        .or_else(|| bad(ConditionType::Stalled, ConditionStatus::True))
        .or_else(|| bad(ConditionType::Drifted, ConditionStatus::True))
        .or_else(|| bad(ConditionType::Ready, ConditionStatus::False))
        .or_else(|| bad(ConditionType::Synced, ConditionStatus::False));
    worst.map_or_else(String::new, |condition| {
        let message = condition.message.lines().next().unwrap_or_default();
        if message.chars().count() > 72 {
            format!("{}…", message.chars().take(71).collect::<String>())
        } else {
            message.to_owned()
        }
    })
}

fn revisions_table(revisions: &[Revision], fleet: &Fleet, palette: Palette) -> String {
    let mut table = Table::new(["COMMIT", "VERDICT", "AGE", "HOSTS", "SUMMARY"], palette);
    for revision in revisions {
        let paint = match revision.verdict {
            CommitVerdict::Accept => Paint::Good,
            CommitVerdict::Pending => Paint::Warn,
            CommitVerdict::PendingAlarm | CommitVerdict::Reject => Paint::Error,
        };
        table.painted([
            (None, short(&revision.commit).to_owned()),
            (Some(paint), revision.verdict.to_string()),
            (None, age(revision.time, fleet.now)),
            (None, revision.hosts.to_string()),
            (None, revision.summary.clone()),
        ]);
    }
    let mut text = table.to_string();
    describe_source(&mut text, &fleet.source, palette);
    for revision in revisions.iter().filter(|r| !r.reasons.is_empty()) {
        text.push_str(&format!("\n{}\n", short(&revision.commit)));
        for reason in &revision.reasons {
            text.push_str(&format!("  {reason}\n"));
        }
        if let Some(held) = fleet
            .source
            .held
            .as_ref()
            .filter(|h| h.commit == revision.commit)
        {
            if let Some(hint) = hint_of(held, &fleet.source) {
                hint.describe(&mut text, palette);
            }
            text.push_str(&format!(
                "    in a clone, `plumb explain {}` says who could give what is missing\n",
                short(&held.commit)
            ));
        }
    }
    text
}

/// Appends the source's failed conditions and the revoked keys. A held commit's reasons are shown with the
/// commit, so `SourceVerified` is left out then.
fn describe_source(text: &mut String, source: &Source, palette: Palette) {
    use std::fmt::Write as _;
    let conditions: Vec<Condition> = source.conditions.clone().into();
    let bad = conditions.iter().filter(|condition| {
        let told = condition.kind == ConditionType::SourceVerified && source.held.is_some();
        condition.status == ConditionStatus::False && !told
    });
    for condition in bad {
        let _ = writeln!(
            text,
            "\n{} {}: {}",
            palette.paint(Paint::Error, format_args!("{:?} is False", condition.kind)),
            condition.reason,
            condition.message
        );
    }
    for (keys, by) in [
        (&source.revoked, "on the controller's machine"),
        (&source.revoked_by_tags, "by signed revoke/ tags"),
    ] {
        if !keys.is_empty() {
            let _ = writeln!(text, "\nrevoked {by}: {}", keys.join(", "));
        }
    }
}

/// Returns the hint for the commit that holds the branch.
fn hint_of(held: &Held, source: &Source) -> Option<Hint> {
    let reference = &source.reference;
    let context = HintContext {
        commit: held.commit.clone(),
        accepted: source
            .accepted
            .clone()
            .unwrap_or_else(|| "ACCEPTED".to_owned()),
        branch: reference
            .strip_prefix("refs/heads/")
            .unwrap_or(reference)
            .to_owned(),
        remote: "origin".to_owned(),
        position: if source.head.as_ref() == Some(&held.commit) {
            Position::Newest
        } else {
            Position::Below
        },
    };
    let codes = held.codes.iter().filter_map(|code| code.parse().ok());
    hint(codes, &context)
}
