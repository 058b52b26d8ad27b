//! Who is looked at next: one entry per key, earliest wins, one run per key, bounded concurrency.
//!
//! A key that is asked for while it runs waits aside and runs exactly once more; it never blocks
//! another one. At the limit, keys go on being merged.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio::time::{Instant, sleep_until};

/// Why a key is to run; never part of its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trigger {
    /// A person asked.
    Manual,
    /// What it is to be driven to moved.
    Target,
    /// A failed or waiting run is tried again.
    Retry,
    /// It is its turn to be looked at.
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
struct Entry {
    at: Instant,
    trigger: Trigger,
}

impl Entry {
    /// The earlier of two, and the stronger of their reasons.
    fn merged(self, other: Self) -> Self {
        Self {
            at: self.at.min(other.at),
            trigger: self.trigger.min(other.trigger),
        }
    }
}

/// A queue of keys with times. Not shared: whoever drives the loop owns it.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    waiting: BTreeMap<K, Entry>,
    by_time: BTreeSet<(Instant, K)>,
    running: BTreeSet<K>,
    again: BTreeMap<K, Entry>,
    limit: usize,
}

impl<K: Ord + Clone> Queue<K> {
    /// A queue of which at most `limit` keys run at the same time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            by_time: BTreeSet::new(),
            running: BTreeSet::new(),
            again: BTreeMap::new(),
            limit: limit.max(1),
        }
    }

    /// Asks for a key at a time. If it is asked for already, the earlier time counts.
    pub(crate) fn add(&mut self, key: K, at: Instant, trigger: Trigger) {
        let entry = Entry { at, trigger };
        if self.running.contains(&key) {
            self.again
                .entry(key)
                .and_modify(|old| *old = old.merged(entry))
                .or_insert(entry);
            return;
        }
        let entry = match self.waiting.get(&key) {
            Some(old) => {
                self.by_time.remove(&(old.at, key.clone()));
                old.merged(entry)
            }
            None => entry,
        };
        self.by_time.insert((entry.at, key.clone()));
        self.waiting.insert(key, entry);
    }

    /// Waits for a key whose time has come and a free place, and takes it. Losing the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) -> (K, Trigger) {
        loop {
            let full = self.running.len() >= self.limit;
            let Some((at, _)) = self.by_time.first().filter(|_| !full) else {
                return std::future::pending().await;
            };
            if *at > Instant::now() {
                sleep_until(*at).await;
            }
            let Some((_, key)) = self.by_time.pop_first() else {
                continue;
            };
            let Some(entry) = self.waiting.remove(&key) else {
                continue;
            };
            self.running.insert(key.clone());
            return (key, entry.trigger);
        }
    }

    /// A key's run is over. If it was asked for meanwhile, it waits for that time now.
    pub(crate) fn finish(&mut self, key: &K) {
        if !self.running.remove(key) {
            return;
        }
        if let Some(entry) = self.again.remove(key) {
            self.add(key.clone(), entry.at, entry.trigger);
        }
    }

    /// Forgets a key; a run of it goes on and isn't repeated.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.waiting.remove(key) {
            self.by_time.remove(&(entry.at, key.clone()));
        }
        self.again.remove(key);
    }

    /// Whether a key runs now.
    pub(crate) fn is_running(&self, key: &K) -> bool {
        self.running.contains(key)
    }

    /// How many run now.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// How many keys' time has come.
    pub(crate) fn due(&self) -> usize {
        let now = Instant::now();
        self.by_time.iter().take_while(|(at, _)| *at <= now).count()
    }

    /// How many keys wait, due or not.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the first key's time comes, or came.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// When a key's time comes.
    pub(crate) fn at(&self, key: &K) -> Option<Instant> {
        self.waiting.get(key).map(|entry| entry.at)
    }
}
