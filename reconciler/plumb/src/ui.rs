//! The pages: the fleet on one screen, worst hosts first, and a page for each host. Plain HTML without scripts
//! and forms; the template engine escapes everything.

mod filter;
mod host;

use std::fmt;

use askama::Template;
use jiff::Timestamp;
use plumb_core::status::{Condition, ConditionStatus, ConditionType};

use self::filter::FilterLink;
use crate::http::{AlertState, Event, EventKind, Fleet, HostObject, HostStatus, Revision};
use crate::output::{age, count, named, natural, short};

pub(crate) use self::filter::HostFilter;
pub(crate) use self::host::HostPage;

/// The data of the fleet's page.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    fleet: &'a Fleet,
    /// The hosts that the filter chooses.
    hosts: Vec<HostRow<'a>>,
    links: Vec<FilterLink>,
    conditions: Vec<ConditionRow<'a>>,
    events: Vec<EventRow<'a>>,
    ready: usize,
    total: usize,
}

/// The rating of a host, a condition or an event; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tone {
    Bad,
    Warn,
    Good,
}

/// Writes the name of the rating's CSS class.
impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Good => "good",
        })
    }
}

/// A host, as a row of the page.
struct HostRow<'a> {
    name: String,
    labels: Vec<FilterLink>,
    tone: Tone,
    word: &'static str,
    commit: &'a str,
    revision: &'a str,
    seen: String,
    resources: u32,
    differing: String,
    troubles: Vec<Trouble<'a>>,
    conditions: Vec<ConditionRow<'a>>,
}

/// A resource that fails, waits or can't be given back, as the page shows it.
struct Trouble<'a> {
    tone: Tone,
    word: &'static str,
    resources: String,
    headline: &'a str,
    lines: Vec<Line<'a>>,
    hint: &'a str,
}

/// A line of a message's detail. Added and removed lines of a diff are coloured.
struct Line<'a> {
    tone: &'static str,
    text: &'a str,
}

/// A condition, as the page shows it.
struct ConditionRow<'a> {
    kind: String,
    status: &'static str,
    tone: Tone,
    condition: &'a Condition,
    lines: Vec<Line<'a>>,
    age: String,
}

/// An event, as the page shows it.
struct EventRow<'a> {
    tone: Tone,
    age: String,
    host: String,
    event: &'a Event,
}

impl<'a> Page<'a> {
    /// Prepares the page of a fleet, with the hosts that a filter chooses and the newest events.
    pub(crate) fn new(fleet: &'a Fleet, events: &'a [Event], filter: &HostFilter) -> Self {
        let mut hosts: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| row(host, fleet.now))
            .collect();
        hosts.sort_by_cached_key(|row| (row.tone, natural(&row.name)));
        let ready = hosts.iter().filter(|row| row.tone == Tone::Good).count();
        let (total, links) = (hosts.len(), filter.links(&hosts));
        hosts.retain(|row| filter.matches(row));
        Self {
            ready,
            total,
            links,
            hosts,
            conditions: fleet
                .source
                .conditions
                .iter()
                .map(|condition| shown(condition, fleet.now))
                .collect(),
            events: event_rows(events, fleet.now, 30),
            fleet,
        }
    }

    fn name(&self) -> &str {
        self.fleet.name.as_deref().unwrap_or("not yet known")
    }

    fn since(&self, alert: &AlertState) -> String {
        age(alert.since, self.fleet.now)
    }

    fn label(alert: &AlertState, key: &str) -> String {
        alert.labels.get(key).cloned().unwrap_or_default()
    }

    /// Formats a number of hosts or alerts with its noun.
    fn counted(number: usize, noun: &str) -> String {
        count(number, noun)
    }

    fn short(oid: &str) -> &str {
        short(oid)
    }

    fn hosts_known(&self) -> usize {
        self.total
    }

    fn hosts_on(revision: &Revision) -> usize {
        usize::try_from(revision.hosts).unwrap_or(usize::MAX)
    }

    /// Describes the origin of a commit: its author, its signers and its date.
    fn origin(revision: &Revision) -> String {
        let header = &revision.header;
        let mut parts = Vec::new();
        if !header.author.is_empty() {
            parts.push(format!("by {}", header.author));
        }
        if !header.signers.is_empty() {
            parts.push(format!("signed by {}", header.signers.join(", ")));
        }
        parts.extend(header.committed.map(|at| at.to_string()));
        parts.join(" · ")
    }
}

/// Returns the newest events, newest first.
fn event_rows(events: &[Event], now: Timestamp, limit: usize) -> Vec<EventRow<'_>> {
    let newest = events.iter().rev().take(limit);
    newest
        .map(|event| EventRow {
            tone: match event.kind {
                EventKind::Normal => Tone::Good,
                EventKind::Warning => Tone::Warn,
            },
            age: age(event.time, now),
            host: event
                .host
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            event,
        })
        .collect()
}

/// Splits a message's detail into lines.
fn lines(detail: Option<&str>) -> Vec<Line<'_>> {
    let lines = detail.unwrap_or_default().lines();
    lines
        .map(|text| Line {
            tone: match text.as_bytes().first() {
                Some(b'+') => "good",
                Some(b'-') => "bad",
                _ => "dim",
            },
            text,
        })
        .collect()
}

/// Rates a condition as good, bad or in between. Some condition types are bad if they are true, others if
/// they are false.
fn tone(condition: &Condition) -> Tone {
    let bad_when_true = match condition.kind {
        ConditionType::Drifted
        | ConditionType::Stalled
        | ConditionType::Suspended
        | ConditionType::ClockSkewed => true,
        ConditionType::Reconciling | ConditionType::RebootRequired => return Tone::Warn,
        ConditionType::Ready
        | ConditionType::Reachable
        | ConditionType::Synced
        | ConditionType::SourceVerified => false,
    };
    match condition.status {
        ConditionStatus::Unknown => Tone::Warn,
        ConditionStatus::True if bad_when_true => Tone::Bad,
        ConditionStatus::False if !bad_when_true => Tone::Bad,
        ConditionStatus::True | ConditionStatus::False => Tone::Good,
    }
}

fn shown(condition: &Condition, now: Timestamp) -> ConditionRow<'_> {
    ConditionRow {
        kind: format!("{:?}", condition.kind),
        status: match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        },
        tone: tone(condition),
        lines: lines(condition.message.detail()),
        condition,
        age: age(condition.last_transition_time, now),
    }
}

fn row(host: &HostObject, now: Timestamp) -> HostRow<'_> {
    let conditions: Vec<_> = host
        .status
        .conditions
        .iter()
        .map(|condition| shown(condition, now))
        .collect();
    let is = |kind, status| {
        host.status
            .conditions
            .get(kind)
            .is_some_and(|c| c.status == status)
    };
    let (tone, word) = if is(ConditionType::Suspended, ConditionStatus::True) {
        (Tone::Warn, "suspended")
    } else if is(ConditionType::Reachable, ConditionStatus::False) {
        (Tone::Bad, "unreachable")
    } else if is(ConditionType::Stalled, ConditionStatus::True) {
        (Tone::Bad, "stalled")
    } else if is(ConditionType::Drifted, ConditionStatus::True) {
        (Tone::Bad, "drifted")
    } else if is(ConditionType::Ready, ConditionStatus::True) {
        (Tone::Good, "ready")
    } else if is(ConditionType::Ready, ConditionStatus::False) && host.status.failures > 0 {
        (Tone::Bad, "failing")
    } else {
        (Tone::Warn, "working")
    };
    let labels: Vec<_> = host
        .metadata
        .labels
        .iter()
        .map(|(key, value)| {
            let text = format!("{key}={value}");
            FilterLink {
                address: HostFilter::of_label(text.clone()).address(),
                text,
                chosen: false,
            }
        })
        .collect();
    HostRow {
        name: host.metadata.name.to_string(),
        labels,
        tone,
        word,
        commit: host.status.revision.as_deref().unwrap_or_default(),
        revision: host.status.revision.as_deref().map_or("—", short),
        seen: host
            .status
            .last_seen
            .map_or_else(|| "never".to_owned(), |at| age(at, now)),
        resources: host.status.resources,
        differing: host.status.differing.join(", "),
        troubles: troubles(&host.status),
        conditions,
    }
}

/// Returns every resource that fails, waits or can't be given back.
fn troubles(status: &HostStatus) -> Vec<Trouble<'_>> {
    let failing = status.failing.iter().map(|one| Trouble {
        tone: Tone::Bad,
        word: "fails",
        resources: named(&one.resources, one.count),
        headline: one.message.headline(),
        lines: lines(one.message.detail()),
        hint: one.message.hint().unwrap_or_default(),
    });
    let waiting = status.waiting.iter().map(|one| Trouble {
        tone: Tone::Warn,
        word: "waits for",
        resources: named(&one.resources, one.count),
        headline: &one.on,
        lines: Vec::new(),
        hint: "",
    });
    let give_backs = status.give_backs.iter().map(|one| Trouble {
        tone: Tone::Warn,
        word: "not given back",
        resources: one.resource.to_string(),
        headline: one.message.headline(),
        lines: lines(one.message.detail()),
        hint: one.message.hint().unwrap_or_default(),
    });
    failing.chain(waiting).chain(give_backs).collect()
}
