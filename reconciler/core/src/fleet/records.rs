//! The log of records (events for people), as a ring buffer.

use std::collections::VecDeque;
use std::sync::Arc;

use plumb_api::HostName;

use super::Step;
use super::effect::Effect;
use crate::message::Message;
use crate::ports::{Table, Write};
use crate::reason::ConditionReason;
use crate::view::{EventKind, EventRecord};

/// Maximum number of records in the ring.
const KEPT: usize = 2000;

/// Maximum number of records in a segment.
const SEGMENT: usize = 64;

type Segment = Vec<(u64, Arc<EventRecord>)>;

/// The newest records, in segments. Views share the segments by reference; a record that is added while a view
/// exists copies at most one segment.
#[derive(Debug, Clone, Default)]
pub struct RecordLog {
    segments: VecDeque<Arc<Segment>>,
    /// The number of records at the front of the first segment that are no longer part of the ring.
    left: usize,
    len: usize,
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
    /// Creates the log from stored records in the order of their keys.
    pub(super) fn load(records: Vec<(String, EventRecord)>) -> Self {
        let mut log = Self::default();
        for (key, record) in records {
            if let Ok(number) = key.parse() {
                log.append(number, record);
            }
        }
        log
    }

    fn append(&mut self, number: u64, record: EventRecord) {
        let full = |segment: &Arc<Segment>| segment.len() >= SEGMENT;
        if self.segments.back().is_none_or(full) {
            self.segments.push_back(Arc::default());
        }
        if let Some(segment) = self.segments.back_mut() {
            Arc::make_mut(segment).push((number, Arc::new(record)));
        }
        self.len += 1;
        self.next = number + 1;
    }

    /// Drops the oldest record; returns its number.
    fn drop_oldest(&mut self) -> Option<u64> {
        let (number, _) = self.iter().next()?;
        let number = *number;
        self.left += 1;
        self.len -= 1;
        if self.segments.front().is_some_and(|s| s.len() <= self.left) {
            self.segments.pop_front();
            self.left = 0;
        }
        Some(number)
    }

    /// Iterates over the records with their numbers, oldest first.
    fn iter(&self) -> impl Iterator<Item = &(u64, Arc<EventRecord>)> {
        let all = self.segments.iter().flat_map(|segment| segment.iter());
        all.skip(self.left)
    }

    /// Adds a record; returns the writes that store it.
    fn push(&mut self, record: EventRecord) -> Vec<Write> {
        let mut writes: Vec<_> = put(self.next, &record).into_iter().collect();
        self.append(self.next, record);
        while self.len > KEPT {
            let dropped = self.drop_oldest();
            writes.extend(dropped.map(|number| Write::Delete(Table::Events, key(number))));
        }
        writes
    }

    /// Returns the writes that store all records.
    pub(super) fn puts(&self) -> impl Iterator<Item = Write> {
        self.iter()
            .filter_map(|(number, record)| put(*number, record))
    }

    /// Returns the newest `limit` records, oldest first: those about `host`, or all records if `host` is
    /// `None`.
    pub fn newest(&self, host: Option<&HostName>, limit: usize) -> Vec<EventRecord> {
        let segments = self.segments.iter().rev();
        let records = segments.flat_map(|segment| segment.iter().rev());
        let records = records.take(self.len).map(|(_, record)| record.as_ref());
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
    /// Adds a record of an event, for people.
    pub(super) fn record(
        &mut self,
        host: Option<&HostName>,
        kind: EventKind,
        reason: ConditionReason,
        message: impl Into<Message>,
        revision: Option<String>,
    ) {
        let record = EventRecord {
            time: self.now,
            kind,
            host: host.cloned(),
            reason,
            message: message.into(),
            revision,
        };
        let writes = Arc::make_mut(&mut self.state.records).push(record.clone());
        self.writes.extend(writes);
        self.effects.push(Effect::Record(record));
    }

    /// Adds a record of a warning.
    pub(super) fn warn(
        &mut self,
        host: Option<&HostName>,
        reason: ConditionReason,
        message: impl Into<Message>,
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
            message: message.into(),
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
        assert_eq!(
            log.newest(None, 1)[0].message.headline(),
            (KEPT + 9).to_string()
        );
        let mut log = RecordLog::load(
            stored
                .iter()
                .map(|(key, bytes)| (key.clone(), serde_json::from_slice(bytes).unwrap()))
                .collect(),
        );
        assert_eq!(log.newest(None, KEPT * 2).len(), KEPT);
        assert_eq!(log.newest(None, KEPT)[0].message.headline(), "10");
        assert_eq!(log.push(record("next".to_owned())).len(), 2);
        assert_eq!(log.newest(None, 2)[1].message.headline(), "next");
    }
}
