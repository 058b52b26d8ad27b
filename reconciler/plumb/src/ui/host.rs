//! The page of one host: its conditions, every failure, its resources with their states, and its events.

use std::collections::BTreeMap;

use askama::Template;

use super::{EventRow, HostRow, Tone, event_rows, row};
use crate::http::{Event, Fleet, HostObject, HostStatus};

/// The data of a host's page.
#[derive(Template)]
#[template(path = "host.html")]
pub(crate) struct HostPage<'a> {
    fleet: &'a Fleet,
    row: HostRow<'a>,
    resources: Vec<ResourceRow>,
    events: Vec<EventRow<'a>>,
}

/// A resource of a host, as its page shows it.
struct ResourceRow {
    address: String,
    /// The composite that this resource is a part of, as `from ADDRESS`; empty if there is none.
    origin: String,
    tone: Tone,
    word: &'static str,
}

impl<'a> HostPage<'a> {
    /// Prepares the page of a host, with its newest events.
    pub(crate) fn new(fleet: &'a Fleet, host: &'a HostObject, events: &'a [Event]) -> Self {
        Self {
            row: row(host, fleet.now),
            resources: resources(fleet, host),
            events: event_rows(events, fleet.now, 50),
            fleet,
        }
    }
}

/// Returns the resources of a host in the newest accepted revision. Resources that aren't as desired come
/// first.
fn resources(fleet: &Fleet, host: &HostObject) -> Vec<ResourceRow> {
    let troubled = troubled(&host.status);
    let Some(revision) = &fleet.loaded else {
        return Vec::new();
    };
    let mut rows: Vec<_> = revision
        .resources(&host.metadata.name)
        .map(|(address, origin)| {
            let address = address.to_string();
            let (tone, word) = troubled
                .get(&address)
                .copied()
                .unwrap_or_else(|| calm(&host.status));
            ResourceRow {
                tone,
                word,
                address,
                origin: origin.map_or_else(String::new, |origin| format!("from {origin}")),
            }
        })
        .collect();
    rows.sort_by_key(|row| row.tone);
    rows
}

/// Returns the state of a resource that the host's status doesn't name.
fn calm(status: &HostStatus) -> (Tone, &'static str) {
    match status.last_success {
        Some(_) => (Tone::Good, "in sync"),
        None => (Tone::Warn, "not seen yet"),
    }
}

/// Returns the states of the resources that the host's status names, because they differ, fail or wait.
fn troubled(status: &HostStatus) -> BTreeMap<String, (Tone, &'static str)> {
    let mut all = BTreeMap::new();
    for address in &status.differing {
        all.insert(plain(address), (Tone::Warn, "differs"));
    }
    for wait in &status.waiting {
        for name in &wait.resources {
            all.insert(plain(name), (Tone::Warn, "waits"));
        }
    }
    for failure in &status.failing {
        for name in &failure.resources {
            all.insert(plain(name), (Tone::Bad, "fails"));
        }
    }
    all
}

/// Returns the address in a name such as `file:/etc/a (from timer:b)`.
fn plain(name: &str) -> String {
    name.split(" (from ").next().unwrap_or_default().to_owned()
}
