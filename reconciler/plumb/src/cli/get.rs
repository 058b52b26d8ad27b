use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use plumb_core::status::{Condition, ConditionStatus, ConditionType, Conditions};
use plumb_core::view::CommitVerdict;

use super::source;
use crate::cli::controller_address::ControllerAddress;
use crate::cli::selection::{Selection, select};
use crate::http::{Fleet, Held, HostObject, Items, Revision, Source};
use crate::output::{Format, Paint, Palette, Shell, Table, age, cut, natural, short};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;
use crate::verdict::hint::{Hint, HintContext, Position, hint};

/// List hosts, revisions, sources or alerts
///
/// `plumb get hosts` lists hosts with their conditions; `plumb get revisions` lists the branch's newest
/// commits with their verdicts. `-o wide` shows more columns and cuts nothing.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(subcommand)]
    what: GetTarget,
}

#[derive(Debug, Subcommand)]
enum GetTarget {
    /// List hosts with their conditions
    ///
    /// READY says if a host matches its target, SYNCED if that target is the newest accepted revision.
    /// `-o wide` shows the whole reason and the way out, `-o json` every condition.
    #[command(visible_alias = "host")]
    Hosts {
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// List the branch's newest commits with their verdicts
    ///
    /// For a commit that isn't accepted it shows what is missing, and for the first of them a hint. In
    /// a clone, `plumb explain COMMIT` shows who could give what is missing. `-o wide` shows author, date
    /// and signers too.
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

impl Get {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        match self.what {
            GetTarget::Hosts {
                selection,
                controller,
            } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let mut hosts: Vec<_> = select(&selection, &fleet.hosts)?
                    .into_iter()
                    .cloned()
                    .collect();
                hosts.sort_by_key(|host| natural(host.metadata.name.as_str()));
                shell.emit(
                    &Items {
                        items: hosts.clone(),
                    },
                    |palette| hosts_table(&hosts, &fleet, shell.format, palette),
                )?;
            }
            GetTarget::Revisions { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                shell.emit(
                    &Items {
                        items: fleet.revisions.clone(),
                    },
                    |palette| revisions_table(&fleet.revisions, &fleet, shell.format, palette),
                )?;
            }
            GetTarget::Sources { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let sources = Items {
                    items: vec![fleet.source.clone()],
                };
                shell.emit(&sources, |palette| {
                    source::table(&fleet, shell.format, palette)
                })?;
            }
            GetTarget::Alerts { controller } => {
                let client = controller.client()?;
                let fleet = block_on(async { client.fleet().await })?;
                let alerts = Items {
                    items: fleet.alerts.to_vec(),
                };
                shell.emit(&alerts, |palette| {
                    alerts_table(&fleet, shell.format, palette)
                })?;
            }
        }
        Ok(Exit::OK)
    }
}

fn alerts_table(fleet: &Fleet, format: Format, palette: Palette) -> String {
    if fleet.alerts.is_empty() {
        return "no alert fires\n".to_owned();
    }
    let headings = ["ALERT", "SEVERITY", "HOST", "SINCE", "SUMMARY", "LABELS"];
    let mut table = Table::new(headings, palette).columns_in(format, 5);
    for alert in fleet.alerts.iter() {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        let paint = (label("severity") == "critical").then_some(Paint::Error);
        table.painted([
            (paint, label("alertname")),
            (None, label("severity")),
            (None, label("host")),
            (None, age(alert.since, fleet.now)),
            (None, alert.summary.clone()),
            (None, other_labels(&alert.labels)),
        ]);
    }
    table.to_string()
}

/// Lists the labels of an alert that have no column.
fn other_labels(labels: &BTreeMap<String, String>) -> String {
    let own = ["alertname", "severity", "host"];
    let others = labels
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()));
    let all: Vec<_> = others
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    all.join(",")
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

fn hosts_table(hosts: &[HostObject], fleet: &Fleet, format: Format, palette: Palette) -> String {
    let headings = [
        "NAME",
        "READY",
        "SYNCED",
        "REACHABLE",
        "DRIFTED",
        "REVISION",
        "SEEN",
        "WHY",
        "RESOURCES",
        "LABELS",
        "WAY OUT",
    ];
    let mut table = Table::new(headings, palette).columns_in(format, 8);
    for host in hosts {
        let seen = host
            .status
            .last_seen
            .map_or_else(|| "never".to_owned(), |at| age(at, fleet.now));
        let labels = host.metadata.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let way_out = worst(&host.status.conditions).and_then(|worst| worst.message.hint());
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
            (None, why(host, format)),
            (None, host.status.resources.to_string()),
            (None, labels.join(",")),
            (None, way_out.unwrap_or_default().to_owned()),
        ]);
    }
    let mut text = table.to_string();
    if hosts.is_empty() {
        text.push_str("no hosts\n");
    }
    text
}

/// Returns the headline of the most serious condition. In a table it is cut to 72 characters.
fn why(host: &HostObject, format: Format) -> String {
    let message = worst(&host.status.conditions).map_or("", |worst| worst.message.headline());
    match format {
        Format::Wide => message.to_owned(),
        _ => cut(message, 72),
    }
}

/// Returns the most serious condition that isn't as it should be.
pub(super) fn worst(conditions: &Conditions) -> Option<&Condition> {
    let bad = |kind, bad| conditions.get(kind).filter(|c| c.status == bad);
    bad(ConditionType::Suspended, ConditionStatus::True)
        .or_else(|| bad(ConditionType::Reachable, ConditionStatus::False))
        .or_else(|| bad(ConditionType::Stalled, ConditionStatus::True))
        .or_else(|| bad(ConditionType::Drifted, ConditionStatus::True))
        .or_else(|| bad(ConditionType::Ready, ConditionStatus::False))
        .or_else(|| bad(ConditionType::Synced, ConditionStatus::False))
}

fn revisions_table(
    revisions: &[Revision],
    fleet: &Fleet,
    format: Format,
    palette: Palette,
) -> String {
    let headings = [
        "COMMIT",
        "VERDICT",
        "AGE",
        "HOSTS",
        "SUMMARY",
        "AUTHOR",
        "SIGNERS",
        "COMMITTED",
    ];
    let mut table = Table::new(headings, palette).columns_in(format, 5);
    for revision in revisions {
        let paint = match revision.verdict {
            CommitVerdict::Accept => Paint::Good,
            CommitVerdict::Pending => Paint::Warn,
            CommitVerdict::PendingAlarm | CommitVerdict::Reject => Paint::Error,
        };
        let commit = match format {
            Format::Wide => revision.commit.as_str(),
            _ => short(&revision.commit),
        };
        let header = &revision.header;
        let committed = header.committed.map(|at| at.to_string());
        table.painted([
            (None, commit.to_owned()),
            (Some(paint), revision.verdict.to_string()),
            (None, age(revision.time, fleet.now)),
            (None, revision.hosts.to_string()),
            (None, header.summary.clone()),
            (None, header.author.clone()),
            (None, header.signers.join(", ")),
            (None, committed.unwrap_or_default()),
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
                "    run `plumb explain {}` in a clone to see who could give what is missing",
                short(&held.commit)
            ));
        }
    }
    text
}

/// Appends the source's failed conditions and the revoked keys. If a commit blocks the branch, its reasons
/// are shown with the commit, so `SourceVerified` is left out.
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
        let rest = [condition.message.detail(), condition.message.hint()];
        for line in rest.into_iter().flatten().flat_map(str::lines) {
            let _ = writeln!(text, "    {line}");
        }
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

/// Returns the hint for the commit that blocks the branch.
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
