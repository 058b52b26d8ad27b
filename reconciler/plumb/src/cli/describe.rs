use std::fmt::Write as _;

use clap::{Args, Subcommand};
use plumb_api::HostName;
use plumb_core::status::{ConditionStatus, Conditions};
use serde::Serialize;

use super::source;
use crate::cli::controller_address::ControllerAddress;
use crate::http::{Event, EventKind, HostObject};
use crate::output::{Paint, Palette, Shell, Table, age};
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
    out.push('\n');
    let _ = writeln!(out, "{}", conditions(&status.conditions, now, palette));
    for condition in status.conditions.iter() {
        if let Some(detail) = &condition.detail {
            let kind = palette.paint(Paint::Bold, format_args!("{:?}", condition.kind));
            let _ = writeln!(out, "{kind}: - on the host, + in git");
            super::plan::lines(&mut out, detail, palette);
            out.push('\n');
        }
    }
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
            condition.message.clone(),
        ]);
    }
    table
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
            (None, event.message.clone()),
        ]);
    }
    table
}
