//! The queue of hosts that wait for a run: each host has at most one entry and one run, the earliest time
//! wins, and the number of runs is limited.
//!
//! A host that is scheduled during its run is parked until that run ends, and then runs exactly once more. It
//! never blocks other hosts. Time is an argument: the queue never sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use plumb_api::HostName;

/// The reason why a host is scheduled. Entries of one host with different reasons are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A person requested the run.
    Manual,
    /// Its target changed.
    Target,
    /// A run that failed or had to wait is repeated.
    Retry,
    /// Its periodic run is due.
    Resync,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Target => "target",
            Self::Retry => "retry",
            Self::Resync => "resync",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct QueueEntry {
    at: Timestamp,
    trigger: Trigger,
}

impl QueueEntry {
    /// Merges two entries of a host: the earlier time, and the trigger that comes first in [`Trigger`].
    fn merged(self, other: Self) -> Self {
        Self {
            at: self.at.min(other.at),
            trigger: self.trigger.min(other.trigger),
        }
    }
}

/// Hosts with the times at which they run.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: BTreeMap<HostName, QueueEntry>,
    /// The waiting hosts whose time isn't after `time`, earliest first.
    due: BTreeSet<(Timestamp, HostName)>,
    /// The waiting hosts whose time is after `time`, earliest first.
    later: BTreeSet<(Timestamp, HostName)>,
    /// The latest `now` that [`take`](Self::take) was given.
    time: Timestamp,
    running: BTreeSet<HostName>,
    parked: BTreeMap<HostName, QueueEntry>,
    limit: usize,
}

impl Queue {
    /// Creates a queue that lets at most `limit` hosts run at the same time.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            later: BTreeSet::new(),
            time: Timestamp::MIN,
            running: BTreeSet::new(),
            parked: BTreeMap::new(),
            limit: limit.max(1),
        }
    }

    /// Schedules a host. If it is already queued, the earlier time wins. If it is running, it is queued when
    /// the run ends.
    pub(super) fn add(&mut self, host: &HostName, at: Timestamp, trigger: Trigger) {
        let entry = QueueEntry { at, trigger };
        if self.running.contains(host) {
            let parked = self.parked.entry(host.clone()).or_insert(entry);
            *parked = parked.merged(entry);
            return;
        }
        let entry = match self.waiting.get(host).copied() {
            Some(old) => {
                self.times(old.at).remove(&(old.at, host.clone()));
                old.merged(entry)
            }
            None => entry,
        };
        self.times(entry.at).insert((entry.at, host.clone()));
        self.waiting.insert(host.clone(), entry);
    }

    /// Removes the earliest due host from the queue and marks it as running, if there is a free slot.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<(HostName, Trigger)> {
        self.advance(now);
        if self.is_full() {
            return None;
        }
        let (_, host) = self.due.pop_first()?;
        let entry = self.waiting.remove(&host)?;
        self.running.insert(host.clone());
        Some((host, entry.trigger))
    }

    /// Returns the time from which [`take`](Self::take) returns a host; `None` if nothing waits or no slot is
    /// free.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.oldest().filter(|_| !self.is_full())
    }

    fn is_full(&self) -> bool {
        self.running.len() >= self.limit
    }

    /// Returns the set (`due` or `later`) that contains entries of this time.
    fn times(&mut self, at: Timestamp) -> &mut BTreeSet<(Timestamp, HostName)> {
        if at <= self.time {
            &mut self.due
        } else {
            &mut self.later
        }
    }

    /// Moves entries that are due now from `later` to `due`. Each entry moves at most once, so that counting
    /// the due entries costs nothing.
    fn advance(&mut self, now: Timestamp) {
        self.time = self.time.max(now);
        while self.later.first().is_some_and(|(at, _)| *at <= self.time) {
            self.due.extend(self.later.pop_first());
        }
    }

    /// Frees the slot of a host. If the host was scheduled during its run, it is queued for that time.
    pub(super) fn finish(&mut self, host: &HostName) {
        if !self.running.remove(host) {
            return;
        }
        if let Some(entry) = self.parked.remove(host) {
            self.add(host, entry.at, entry.trigger);
        }
    }

    /// Removes a host; a run in progress goes on and isn't repeated.
    pub(super) fn remove(&mut self, host: &HostName) {
        if let Some(entry) = self.waiting.remove(host) {
            self.times(entry.at).remove(&(entry.at, host.clone()));
        }
        self.parked.remove(host);
    }

    /// Renames a host, even during its run.
    pub(super) fn rename(&mut self, old: &HostName, new: &HostName) {
        let entry = self.waiting.get(old).or(self.parked.get(old)).copied();
        self.remove(old);
        if self.running.remove(old) {
            self.running.insert(new.clone());
        }
        if let Some(entry) = entry {
            self.add(new, entry.at, entry.trigger);
        }
    }

    /// True if a host is queued or runs.
    pub(super) fn holds(&self, host: &HostName) -> bool {
        self.waiting.contains_key(host) || self.running.contains(host)
    }

    /// Returns the number of running hosts.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Returns the number of due hosts.
    pub(super) fn due(&self, now: Timestamp) -> usize {
        let later = self.later.iter().take_while(|(at, _)| *at <= now);
        self.due.len() + later.count()
    }

    /// Returns the number of waiting hosts, due or not.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the time of the earliest waiting entry.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let first = self.due.first().or(self.later.first());
        first.map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn taken(queue: &mut Queue, seconds: i64) -> Option<(String, Trigger)> {
        let (host, trigger) = queue.take(at(seconds))?;
        Some((host.to_string(), trigger))
    }

    #[test]
    fn earliest_time_wins_and_a_host_is_queued_once() {
        let mut queue = Queue::new(8);
        queue.add(&host("a"), at(60), Trigger::Resync);
        queue.add(&host("a"), at(5), Trigger::Retry);
        queue.add(&host("a"), at(90), Trigger::Manual);
        assert_eq!((queue.waiting(), queue.oldest()), (1, Some(at(5))));
        assert_eq!(taken(&mut queue, 4), None);
        assert_eq!(
            taken(&mut queue, 5),
            Some(("a".to_owned(), Trigger::Manual))
        );
        queue.finish(&host("a"));
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_running_host_runs_exactly_once_more_and_blocks_nobody() {
        let mut queue = Queue::new(8);
        queue.add(&host("a"), at(0), Trigger::Resync);
        assert!(taken(&mut queue, 0).is_some());
        for _ in 0..5 {
            queue.add(&host("a"), at(0), Trigger::Manual);
        }
        queue.add(&host("b"), at(0), Trigger::Resync);
        assert_eq!(taken(&mut queue, 0).unwrap().0, "b");
        assert_eq!(taken(&mut queue, 0), None, "one run per host");
        queue.finish(&host("a"));
        assert_eq!(
            taken(&mut queue, 0),
            Some(("a".to_owned(), Trigger::Manual))
        );
        queue.finish(&host("a"));
        assert_eq!(taken(&mut queue, 0), None, "once more, not five times");
    }

    #[test]
    fn concurrency_is_bounded_while_entries_go_on_merging() {
        let mut queue = Queue::new(2);
        for name in ["a", "b", "c"] {
            queue.add(&host(name), at(0), Trigger::Target);
        }
        assert!(taken(&mut queue, 0).is_some() && taken(&mut queue, 0).is_some());
        assert_eq!((taken(&mut queue, 0), queue.next_time()), (None, None));
        queue.add(&host("c"), at(0), Trigger::Manual);
        assert_eq!(
            (queue.waiting(), queue.running(), queue.due(at(0))),
            (1, 2, 1)
        );
        queue.finish(&host("b"));
        assert_eq!(
            taken(&mut queue, 0),
            Some(("c".to_owned(), Trigger::Manual))
        );
    }

    #[test]
    fn a_removed_host_does_not_come_back() {
        let mut queue = Queue::new(1);
        queue.add(&host("a"), at(0), Trigger::Resync);
        queue.remove(&host("a"));
        assert_eq!(taken(&mut queue, 0), None);
        queue.add(&host("a"), at(0), Trigger::Resync);
        assert!(taken(&mut queue, 0).is_some() && queue.holds(&host("a")));
        queue.add(&host("a"), at(0), Trigger::Resync);
        queue.remove(&host("a"));
        queue.finish(&host("a"));
        assert_eq!(taken(&mut queue, 0), None);
    }

    #[test]
    fn a_renamed_host_keeps_its_slot_and_its_time() {
        let mut queue = Queue::new(1);
        queue.add(&host("old"), at(0), Trigger::Resync);
        assert!(taken(&mut queue, 0).is_some());
        queue.add(&host("old"), at(7), Trigger::Manual);
        queue.rename(&host("old"), &host("new"));
        assert_eq!(
            taken(&mut queue, 9),
            None,
            "its run goes on under the new name"
        );
        queue.finish(&host("new"));
        assert_eq!(
            taken(&mut queue, 7),
            Some(("new".to_owned(), Trigger::Manual))
        );
    }
}
