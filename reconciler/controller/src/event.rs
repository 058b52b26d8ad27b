//! What happened: a bounded ring, kept in the store.

use std::collections::VecDeque;

use jiff::Timestamp;
use plumb_api::HostName;
use plumb_core::ports::{Table, Write};
use serde::{Deserialize, Serialize};

/// As many events are kept.
const KEPT: usize = 2000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// Whether somebody should look at it.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The host that it concerns; the source or the controller when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What, in one CamelCase word.
    pub reason: String,
    /// What, in a sentence.
    pub message: String,
    /// The revision that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Whether somebody should look at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// The newest events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    ring: VecDeque<(u64, Event)>,
    next: u64,
}

fn key(number: u64) -> String {
    format!("{number:020}")
}

impl Events {
    /// Events as they were kept, by key.
    pub(crate) fn load(records: Vec<(String, Event)>) -> Self {
        let ring: VecDeque<_> = records
            .into_iter()
            .filter_map(|(key, event)| Some((key.parse().ok()?, event)))
            .collect();
        let next = ring.back().map_or(0, |(number, _)| number + 1);
        Self { ring, next }
    }

    /// Adds one; what is to be written for it.
    pub(crate) fn push(&mut self, event: Event) -> Vec<Write> {
        let mut writes = Vec::new();
        if let Ok(bytes) = serde_json::to_vec(&event) {
            writes.push(Write::Put(Table::Events, key(self.next), bytes));
        }
        self.ring.push_back((self.next, event));
        self.next += 1;
        while self.ring.len() > KEPT {
            if let Some((number, _)) = self.ring.pop_front() {
                writes.push(Write::Delete(Table::Events, key(number)));
            }
        }
        writes
    }

    /// The newest `limit` of a host, or of all, oldest first.
    pub(crate) fn newest(&self, host: Option<&HostName>, limit: usize) -> Vec<Event> {
        let mut all: Vec<_> = self
            .ring
            .iter()
            .rev()
            .map(|(_, event)| event)
            .filter(|event| host.is_none() || event.host.as_ref() == host)
            .take(limit)
            .cloned()
            .collect();
        all.reverse();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_goes_on_after_a_restart() {
        let event = |message: String| Event {
            time: Timestamp::UNIX_EPOCH,
            kind: EventKind::Normal,
            host: None,
            reason: "Test".to_owned(),
            message,
            revision: None,
        };
        let mut events = Events::default();
        let mut kept = std::collections::BTreeMap::new();
        let mut write = |writes: Vec<Write>| {
            for write in writes {
                match write {
                    Write::Put(_, key, bytes) => {
                        kept.insert(key, bytes);
                    }
                    Write::Delete(_, key) => {
                        kept.remove(&key);
                    }
                }
            }
        };
        for n in 0..KEPT + 10 {
            write(events.push(event(n.to_string())));
        }
        assert_eq!(events.newest(None, 1)[0].message, (KEPT + 9).to_string());
        let mut events = Events::load(
            kept.iter()
                .map(|(key, bytes)| (key.clone(), serde_json::from_slice(bytes).unwrap()))
                .collect(),
        );
        assert_eq!(events.newest(None, KEPT * 2).len(), KEPT);
        assert_eq!(events.newest(None, KEPT)[0].message, "10");
        assert_eq!(events.push(event("next".to_owned())).len(), 2);
        assert_eq!(events.newest(None, 2)[1].message, "next");
    }
}
