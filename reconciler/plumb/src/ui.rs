//! The page: the fleet on one screen, worst hosts first. Plain HTML without scripts; the template engine
//! escapes everything.

use std::fmt;

use askama::Template;
use jiff::Timestamp;
use plumb_core::status::{Condition, ConditionStatus, ConditionType};

use crate::http::{AlertState, Event, EventKind, Fleet, HostObject, HostStatus};
use crate::output::{age, count, named, natural, short};

/// The page's data.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    fleet: &'a Fleet,
    hosts: Vec<HostRow<'a>>,
    conditions: Vec<ConditionRow<'a>>,
    events: Vec<EventRow<'a>>,
    ready: usize,
}

/// A rating, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tone {
    Bad,
    Warn,
    Good,
}

/// Writes the class of the page's style sheet.
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
    labels: String,
    tone: Tone,
    word: &'static str,
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
    message: &'a str,
    hint: &'a str,
}

/// A condition, as the page shows it.
struct ConditionRow<'a> {
    kind: String,
    tone: Tone,
    condition: &'a Condition,
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
    /// Prepares the page of a fleet, with its newest events.
    pub(crate) fn new(fleet: &'a Fleet, events: &'a [Event]) -> Self {
        let mut hosts: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| row(host, fleet.now))
            .collect();
        hosts.sort_by_cached_key(|row| (row.tone, natural(&row.name)));
        Self {
            ready: hosts.iter().filter(|row| row.tone == Tone::Good).count(),
            hosts,
            conditions: fleet
                .source
                .conditions
                .iter()
                .map(|condition| shown(condition, fleet.now))
                .collect(),
            events: events
                .iter()
                .rev()
                .take(30)
                .map(|event| EventRow {
                    tone: match event.kind {
                        EventKind::Normal => Tone::Good,
                        EventKind::Warning => Tone::Warn,
                    },
                    age: age(event.time, fleet.now),
                    host: event
                        .host
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    event,
                })
                .collect(),
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
}

/// Rates a condition as good, bad or in between. Some types are bad if they are true, others if they are
/// false.
fn tone(condition: &Condition) -> Tone {
    let bad_when_true = match condition.kind {
        ConditionType::Drifted
        | ConditionType::Stalled
        | ConditionType::Suspended
        | ConditionType::RebootRequired
        | ConditionType::ClockSkewed => true,
        ConditionType::Reconciling => return Tone::Warn,
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
        tone: tone(condition),
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
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    HostRow {
        name: host.metadata.name.to_string(),
        labels: labels.join(" "),
        tone,
        word,
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
        message: &one.message,
        hint: one.hint.as_deref().unwrap_or_default(),
    });
    let waiting = status.waiting.iter().map(|one| Trouble {
        tone: Tone::Warn,
        word: "waits for",
        resources: named(&one.resources, one.count),
        message: &one.on,
        hint: "",
    });
    let give_backs = status.give_backs.iter().map(|one| Trouble {
        tone: Tone::Warn,
        word: "not given back",
        resources: one.resource.to_string(),
        message: &one.message,
        hint: one.hint.as_deref().unwrap_or_default(),
    });
    failing.chain(waiting).chain(give_backs).collect()
}
