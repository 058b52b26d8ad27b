//! The repository, as `get sources` and `describe source` show it.

use std::fmt::Write as _;

use plumb_core::status::{ConditionStatus, ConditionType};
use serde::Serialize;

use super::describe::{conditions, details, newest};
use crate::cli::controller_address::ControllerAddress;
use crate::http::{Event, Fleet, Source};
use crate::output::{Format, Paint, Palette, Shell, Table, age, cut, short};
use crate::report::{Exit, Failure};
use crate::runtime::block_on;

/// Renders the source in one line.
pub(super) fn table(fleet: &Fleet, format: Format, palette: Palette) -> String {
    let source = &fleet.source;
    let headings = [
        "SOURCE", "REF", "READY", "VERIFIED", "ACCEPTED", "FETCHED", "WHY", "HEAD", "WAY OUT",
    ];
    let mut table = Table::new(headings, palette).columns_in(format, 7);
    let cell = |kind| match source
        .conditions
        .get(kind)
        .map(|condition| condition.status)
    {
        Some(ConditionStatus::True) => (None, "True".to_owned()),
        Some(ConditionStatus::False) => (Some(Paint::Error), "False".to_owned()),
        None | Some(ConditionStatus::Unknown) => (Some(Paint::Dim), "-".to_owned()),
    };
    let bad = [ConditionType::Ready, ConditionType::SourceVerified]
        .into_iter()
        .filter_map(|kind| source.conditions.get(kind))
        .find(|condition| condition.status == ConditionStatus::False);
    table.painted([
        (None, source.url.clone()),
        (None, source.reference.clone()),
        cell(ConditionType::Ready),
        cell(ConditionType::SourceVerified),
        (
            None,
            source.accepted.as_deref().map_or("-", short).to_owned(),
        ),
        (
            None,
            source
                .last_fetch
                .map_or_else(|| "never".to_owned(), |at| age(at, fleet.now)),
        ),
        (
            None,
            bad.map(|condition| match format {
                Format::Wide => condition.message.headline().to_owned(),
                _ => cut(condition.message.headline(), 72),
            })
            .unwrap_or_default(),
        ),
        (None, source.head.as_deref().map_or("-", short).to_owned()),
        (
            None,
            bad.and_then(|condition| condition.message.hint())
                .unwrap_or_default()
                .to_owned(),
        ),
    ]);
    table.to_string()
}

#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    source: &'a Source,
    events: &'a [Event],
}

/// Prints all that is known of the source: its conditions, and the events that don't belong to a host.
pub(super) fn describe(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    let client = controller.client()?;
    let (fleet, mut events) =
        block_on(async { Ok((client.fleet().await?, client.events(None).await?)) })?;
    events.retain(|event| event.host.is_none());
    let described = Described {
        source: &fleet.source,
        events: &events,
    };
    shell.emit(&described, |palette| text(&fleet, &events, palette))?;
    Ok(Exit::OK)
}

fn text(fleet: &Fleet, events: &[Event], palette: Palette) -> String {
    let source = &fleet.source;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let name = palette.paint(Paint::Bold, format_args!("{name:<12}"));
        let _ = writeln!(out, "{name} {value}");
    };
    line("URL", &source.url);
    line("Ref", &source.reference);
    line("Head", source.head.as_deref().unwrap_or("not fetched yet"));
    line(
        "Accepted",
        source.accepted.as_deref().unwrap_or("nothing yet"),
    );
    if let Some(held) = &source.held {
        line("Held", &format!("{} ({})", held.commit, held.verdict));
    }
    let fetched = source
        .last_fetch
        .map(|at| format!("{at} ({} ago)", age(at, fleet.now)));
    line("Last fetch", fetched.as_deref().unwrap_or("never"));
    for (sink, offset) in &source.clock_offsets {
        line("Clock", &format!("{sink}: {offset:+} s"));
    }
    out.push('\n');
    let _ = writeln!(
        out,
        "{}",
        conditions(&source.conditions, fleet.now, palette)
    );
    details(&mut out, &source.conditions, palette);
    let _ = write!(out, "{}", newest(events, fleet.now, palette));
    out
}
