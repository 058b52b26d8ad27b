//! The book of alerts: when each began, what was sent, and what is resolved.
//!
//! Alertmanager forgets everything when it restarts and holds an alert for firing only until its
//! end, so firing ones are sent again each minute and resolved ones for a quarter of an hour. When
//! *we* restart nothing is resolved: the book is persisted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use plumb_api::Digest;
use serde::{Deserialize, Serialize};

use super::{Firing, Labels};
use crate::alert::Alert;

/// How long a firing alert holds without being sent again.
const HOLDS: SignedDuration = SignedDuration::from_mins(4);

/// How long a resolved one is repeated.
const REPEATED: SignedDuration = SignedDuration::from_mins(15);

/// One alert's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its identity.
    pub labels: Labels,
    /// Everything that changes.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it was resolved; it fires while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}

/// All alerts that fire, and those resolved a short while ago.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book(BTreeMap<String, Entry>);

/// What moved in the book.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Keys that began.
    pub began: Vec<String>,
    /// Keys that are resolved.
    pub resolved: Vec<String>,
    /// Keys whose annotations moved.
    pub changed: Vec<String>,
    /// Keys that are no longer spoken of.
    pub dropped: Vec<String>,
}

impl Moved {
    /// Whether somebody should be told at once.
    pub fn is_news(&self) -> bool {
        !self.began.is_empty() || !self.resolved.is_empty()
    }

    /// Whether nothing moved.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an alert is kept under.
fn key(labels: &Labels) -> String {
    // Labels are texts, which always have a canonical form.
    Digest::of("alert", labels).map_or_else(|_| format!("{labels:?}"), |digest| digest.to_string())
}

impl Book {
    /// A book as it was kept.
    pub fn load(entries: impl IntoIterator<Item = (String, Entry)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// Brings the book to what fires now.
    pub fn update(&mut self, firing: Vec<Firing>, now: Timestamp) -> Moved {
        let mut moved = Moved::default();
        let firing: BTreeMap<_, _> = firing.into_iter().map(|f| (key(&f.labels), f)).collect();
        for (key, entry) in &mut self.0 {
            if entry.resolved_at.is_none() && !firing.contains_key(key) {
                entry.resolved_at = Some(now);
                moved.resolved.push(key.clone());
            }
        }
        for (key, firing) in firing {
            match self.0.get_mut(&key) {
                Some(entry) if entry.resolved_at.is_none() => {
                    if entry.annotations != firing.annotations {
                        entry.annotations = firing.annotations;
                        moved.changed.push(key);
                    }
                }
                _ => {
                    self.0.insert(
                        key.clone(),
                        Entry {
                            labels: firing.labels,
                            annotations: firing.annotations,
                            starts_at: now,
                            resolved_at: None,
                        },
                    );
                    moved.began.push(key);
                }
            }
        }
        let old = |entry: &Entry| {
            entry
                .resolved_at
                .is_some_and(|at| now.duration_since(at) > REPEATED)
        };
        moved.dropped = self
            .0
            .iter()
            .filter(|(_, entry)| old(entry))
            .map(|(key, _)| key.clone())
            .collect();
        self.0.retain(|_, entry| !old(entry));
        moved
    }

    /// Everything as it is sent now.
    pub fn alerts(&self, generator_url: &str, now: Timestamp) -> Vec<Alert> {
        self.0
            .values()
            .map(|entry| Alert {
                labels: entry.labels.clone(),
                annotations: entry.annotations.clone(),
                starts_at: entry.starts_at,
                ends_at: entry.resolved_at.unwrap_or(now + HOLDS),
                generator_url: generator_url.to_owned(),
            })
            .collect()
    }

    /// The alerts of these names that fire, as they are: for what can't be looked at now.
    pub fn unchanged(&self, names: &[&str]) -> Vec<Firing> {
        self.firing()
            .filter(|entry| {
                let name = entry.labels.get("alertname");
                name.is_some_and(|name| names.contains(&name.as_str()))
            })
            .map(|entry| Firing {
                labels: entry.labels.clone(),
                annotations: entry.annotations.clone(),
            })
            .collect()
    }

    /// A page.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    /// The alerts that fire.
    pub fn firing(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().filter(|entry| entry.resolved_at.is_none())
    }
}
