use std::fmt::Write as _;

use clap::{Args, Subcommand};
use plumb_api::HostName;
use plumb_core::message::Message;
use plumb_core::status::{Condition, ConditionStatus, ConditionType, Conditions};
use serde::Serialize;

use super::source;
use crate::cli::controller_address::ControllerAddress;
use crate::http::{Event, EventKind, HostObject, HostStatus};
use crate::output::{Paint, Palette, Shell, Table, age, named};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Show everything that the controller knows of a host
///
/// `plumb describe host NAME` shows a host's conditions with their reasons, its target, its differences
/// and its newest events.
#[derive(Debug, Args)]
pub(super) struct Describe {
    #[command(subcommand)]
    what: DescribeTarget,
}

#[derive(Debug, Subcommand)]
enum DescribeTarget {
    /// A host
    Host {
        /// Its name
        name: HostName,
        #[command(flatten)]
        controller: ControllerAddress,
    },
    /// The repository
    Source {
        #[command(flatten)]
        controller: ControllerAddress,
    },
}

#[derive(Serialize)]
struct HostDetails {
    #[serde(flatten)]
    host: HostObject,
    events: Vec<Event>,
}

impl Describe {
    pub(super) fn run(self, shell: &Shell) -> Result<Exit, Failure> {
        let (name, controller) = match self.what {
            DescribeTarget::Host { name, controller } => (name, controller),
            DescribeTarget::Source { controller } => return source::describe(&controller, shell),
        };
        let client = controller.client()?;
        let (fleet, events) =
            block_on(async { Ok((client.fleet().await?, client.events(Some(&name)).await?)) })?;
        let now = fleet.now;
        let Some(host) = fleet.host(&name) else {
            return Err(Failure::new(format!("the fleet has no host {name}"))
                .hint("run `plumb get hosts` to list the hosts; a host appears when the commit with its manifest is accepted"));
        };
        let whole = HostDetails {
            host: HostObject::clone(host),
            events,
        };
        shell.emit(&whole, |palette| text(&whole, now, palette))?;
        Ok(Exit::OK)
    }
}

fn text(whole: &HostDetails, now: jiff::Timestamp, palette: Palette) -> String {
    let status = &whole.host.status;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let name = palette.paint(Paint::Bold, format_args!("{name:<12}"));
        let _ = writeln!(out, "{name} {value}");
    };
    line("Name", whole.host.metadata.name.as_str());
    let labels = &whole.host.metadata.labels;
    let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    line("Labels", &labels.join(", "));
    line("Revision", status.revision.as_deref().unwrap_or("none yet"));
    if let Some(target) = &status.target {
        line(
            "Target",
            &format!("{} (state {})", target.revision, target.digest),
        );
    }
    line("Resources", &status.resources.to_string());
    let ago = |at: Option<jiff::Timestamp>| {
        at.map_or_else(
            || "never".to_owned(),
            |at| format!("{at} ({} ago)", age(at, now)),
        )
    };
    line("Last seen", &ago(status.last_seen));
    line("Last success", &ago(status.last_success));
    if status.failures > 0 {
        line("Failures", &format!("{} in a row", status.failures));
    }
    if !status.differing.is_empty() {
        line("Differing", &status.differing.join(", "));
    }
    if let Some(next) = status.next_run.filter(|next| *next > now) {
        line("Next run", &format!("{next} (in {})", age(now, next)));
    }
    out.push('\n');
    let _ = writeln!(out, "{}", conditions(&status.conditions, now, palette));
    details(&mut out, &status.conditions, palette);
    out.push_str(&resources(status, palette, now));
    let _ = write!(out, "{}", newest(&whole.events, now, palette));
    out
}

/// Renders conditions with their reasons as a table.
pub(super) fn conditions(conditions: &Conditions, now: jiff::Timestamp, palette: Palette) -> Table {
    let mut table = Table::new(
        ["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"],
        palette,
    );
    for condition in conditions.iter() {
        let word = match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        table.row([
            format!("{:?}", condition.kind),
            word.to_owned(),
            age(condition.last_transition_time, now),
            condition.reason.to_string(),
            condition.message.headline().to_owned(),
        ]);
    }
    table
}

/// Writes the detail and the hint of each condition that has any. Equal messages are written once.
pub(super) fn details(out: &mut String, conditions: &Conditions, palette: Palette) {
    let mut told: Vec<&Message> = Vec::new();
    let is_drift = |condition: &&Condition| condition.kind == ConditionType::Drifted;
    // Show the drift under its own heading, which explains `-` and `+`.
    let drift_first = conditions.iter().filter(is_drift);
    for condition in drift_first.chain(conditions.iter()) {
        let message = &condition.message;
        if (message.detail().is_none() && message.hint().is_none()) || told.contains(&message) {
            continue;
        }
        told.push(message);
        let kind = palette.paint(Paint::Bold, format_args!("{:?}", condition.kind));
        if condition.kind == ConditionType::Drifted && message.detail().is_some() {
            let _ = writeln!(out, "{kind}: - on the host, + in git");
        } else {
            let _ = writeln!(out, "{kind}:");
        }
        if let Some(detail) = message.detail() {
            super::plan::lines(out, detail, palette);
        }
        if let Some(hint) = message.hint() {
            let _ = writeln!(out, "      {} {hint}", palette.paint(Paint::Hint, "hint:"));
        }
        out.push('\n');
    }
}

/// Renders the newest events as a table.
pub(super) fn newest(events: &[Event], now: jiff::Timestamp, palette: Palette) -> Table {
    let mut table = Table::new(["AGE", "EVENT", "MESSAGE"], palette);
    let skipped = events.len().saturating_sub(15);
    for event in events.iter().skip(skipped) {
        let paint = (event.kind == EventKind::Warning).then_some(Paint::Warn);
        table.painted([
            (None, age(event.time, now)),
            (paint, event.reason.to_string()),
            (None, event.message.headline().to_owned()),
        ]);
    }
    table
}

/// Shows every resource that fails, waits or can't be given back, each with its cause and a hint.
fn resources(status: &HostStatus, palette: Palette, now: jiff::Timestamp) -> String {
    let mut out = String::new();
    let mut detail = |title: &str, rows: Vec<(String, Vec<String>)>| {
        if rows.is_empty() {
            return;
        }
        let _ = writeln!(out, "{}", palette.paint(Paint::Bold, title));
        for (head, lines) in rows {
            let _ = writeln!(out, "  {head}");
            for line in lines.iter().flat_map(|text| text.lines()) {
                let _ = writeln!(out, "      {line}");
            }
        }
        out.push('\n');
    };
    let failing = status.failing.iter().map(|one| {
        let head = format!("{}  {}", named(&one.resources, one.count), one.reason);
        (head, vec![one.message.full_text()])
    });
    detail("FAILING", failing.collect());
    let waiting = status.waiting.iter().map(|one| {
        let head = format!("{}  for {}", named(&one.resources, one.count), one.on);
        (head, Vec::new())
    });
    detail("WAITING", waiting.collect());
    let host = &status.host;
    let give_backs = status.give_backs.iter().map(|one| {
        let head = format!(
            "{}  {}, since {}",
            one.resource,
            one.reason,
            age(one.since, now)
        );
        let way_out = format!(
            "tried again at each resync; `plumb forget {host} {}` drops it and leaves it as it is",
            one.resource
        );
        (head, vec![one.message.full_text(), way_out])
    });
    detail("NOT GIVEN BACK", give_backs.collect());
    out
}

#[cfg(test)]
mod tests {
    use plumb_core::reason::ConditionReason;

    use super::*;
    use crate::http::{FailedGiveBack, ResourceFailure, ResourceWait};

    #[test]
    fn shows_each_failure_with_its_cause_and_the_way_out() {
        let now: jiff::Timestamp = "2026-11-24T02:00:00Z".parse().unwrap();
        let mut status = HostStatus::new("h1".parse().unwrap());
        status.failing = vec![ResourceFailure {
            resources: vec!["user:carol".to_owned()],
            count: 1,
            reason: ConditionReason::NoSpace,
            message: Message::from("the home /srv/carol can't be made")
                .with_hint(Some("mount it for writing".to_owned())),
        }];
        status.waiting = vec![ResourceWait {
            resources: vec!["file:/srv/carol/x".to_owned()],
            count: 3,
            on: "user:carol".to_owned(),
        }];
        status.give_backs = vec![FailedGiveBack {
            resource: "service:gone".parse().unwrap(),
            reason: ConditionReason::NotFound,
            message: "systemd knows no unit gone.service".into(),
            since: "2026-11-24T01:55:00Z".parse().unwrap(),
        }];
        let shown = resources(&status, Palette::plain(), now);
        assert_eq!(
            shown,
            "FAILING\n  user:carol  NoSpace\n      the home /srv/carol can't be made\n      mount it for writing\n\nWAITING\n  file:/srv/carol/x and 2 more  for user:carol\n\nNOT GIVEN BACK\n  service:gone  NotFound, since 5m\n      systemd knows no unit gone.service\n      tried again at each resync; `plumb forget h1 service:gone` drops it and leaves it as it is\n\n"
        );
    }
}
