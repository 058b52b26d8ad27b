//! The records: a ring of bounded size.

use std::collections::VecDeque;
use std::sync::Arc;

use plumb_api::HostName;

use super::Step;
use super::effect::Effect;
use crate::ports::{Table, Write};
use crate::reason::ConditionReason;
use crate::view::{EventKind, EventRecord};

/// The number of records in the ring.
const KEPT: usize = 2000;

/// The newest records.
#[derive(Debug, Clone, Default)]
pub struct RecordLog {
    ring: VecDeque<(u64, Arc<EventRecord>)>,
    next: u64,
}

fn key(number: u64) -> String {
    format!("{number:020}")
}

fn put(number: u64, record: &EventRecord) -> Option<Write> {
    let bytes = serde_json::to_vec(record).ok()?;
    Some(Write::Put(Table::Events, key(number), bytes))
}

impl RecordLog {
    /// Creates the log from its stored records, by key.
    pub(super) fn load(records: Vec<(String, EventRecord)>) -> Self {
        let ring: VecDeque<_> = records
            .into_iter()
            .filter_map(|(key, record)| Some((key.parse().ok()?, Arc::new(record))))
            .collect();
        let next = ring.back().map_or(0, |(number, _)| number + 1);
        Self { ring, next }
    }

    /// Adds a record; returns the writes that store it.
    fn push(&mut self, record: EventRecord) -> Vec<Write> {
        let mut writes: Vec<_> = put(self.next, &record).into_iter().collect();
        self.ring.push_back((self.next, Arc::new(record)));
        self.next += 1;
        while self.ring.len() > KEPT {
            if let Some((number, _)) = self.ring.pop_front() {
                writes.push(Write::Delete(Table::Events, key(number)));
            }
        }
        writes
    }

    /// Returns the writes of all records.
    pub(super) fn puts(&self) -> impl Iterator<Item = Write> {
        let ring = self.ring.iter();
        ring.filter_map(|(number, record)| put(*number, record))
    }

    /// Returns the newest `limit` records of a host, or of all, oldest first.
    pub fn newest(&self, host: Option<&HostName>, limit: usize) -> Vec<EventRecord> {
        let records = self.ring.iter().rev().map(|(_, record)| record.as_ref());
        let mut all: Vec<_> = records
            .filter(|record| host.is_none() || record.host.as_ref() == host)
            .take(limit)
            .cloned()
            .collect();
        all.reverse();
        all
    }
}

impl Step<'_> {
    /// Records an event for people.
    pub(super) fn record(
        &mut self,
        host: Option<&HostName>,
        kind: EventKind,
        reason: ConditionReason,
        message: String,
        revision: Option<String>,
    ) {
        let record = EventRecord {
            time: self.now,
            kind,
            host: host.cloned(),
            reason,
            message,
            revision,
        };
        let writes = Arc::make_mut(&mut self.state.records).push(record.clone());
        self.writes.extend(writes);
        self.effects.push(Effect::Record(record));
    }

    /// Records a warning.
    pub(super) fn warn(
        &mut self,
        host: Option<&HostName>,
        reason: ConditionReason,
        message: String,
        revision: Option<String>,
    ) {
        self.record(host, EventKind::Warning, reason, message, revision);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_ring_is_bounded_and_goes_on_after_a_restart() {
        let record = |message: String| EventRecord {
            time: Timestamp::UNIX_EPOCH,
            kind: EventKind::Normal,
            host: None,
            reason: ConditionReason::Recovered,
            message,
            revision: None,
        };
        let mut log = RecordLog::default();
        let mut stored = BTreeMap::new();
        for n in 0..KEPT + 10 {
            for write in log.push(record(n.to_string())) {
                match write {
                    Write::Put(_, key, bytes) => {
                        stored.insert(key, bytes);
                    }
                    Write::Delete(_, key) => {
                        stored.remove(&key);
                    }
                }
            }
        }
        assert_eq!(log.newest(None, 1)[0].message, (KEPT + 9).to_string());
        let mut log = RecordLog::load(
            stored
                .iter()
                .map(|(key, bytes)| (key.clone(), serde_json::from_slice(bytes).unwrap()))
                .collect(),
        );
        assert_eq!(log.newest(None, KEPT * 2).len(), KEPT);
        assert_eq!(log.newest(None, KEPT)[0].message, "10");
        assert_eq!(log.push(record("next".to_owned())).len(), 2);
        assert_eq!(log.newest(None, 2)[1].message, "next");
    }
}
