//! The set of active alerts: those that fire, and those that were resolved recently.
//!
//! Alertmanager loses its alerts when it restarts, and treats an alert as firing only until the alert's end
//! time. So Plumb sends firing alerts again each minute, and resolved alerts for another 15 minutes. The set
//! is persisted, so that a restart of Plumb resolves no alert.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use plumb_api::Digest;
use serde::{Deserialize, Serialize};

use super::{AlertScope, Firing, Labels};
use crate::alert::{Alert, CLOCK_TOLERANCE};

/// Time for which Alertmanager treats an alert as firing if Plumb doesn't send it again.
const HOLDS: SignedDuration = SignedDuration::from_mins(4);

/// Time for which Plumb keeps sending a resolved alert.
const REPEATED: SignedDuration = SignedDuration::from_mins(15);

/// An alert that fires or was resolved recently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveAlert {
    /// The labels that identify the alert.
    pub labels: Labels,
    /// The texts, which may change.
    pub annotations: BTreeMap<String, String>,
    /// The time at which the alert began.
    pub starts_at: Timestamp,
    /// The time at which it was resolved; `None` while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
}

/// The firing alerts, and the recently resolved ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActiveAlerts {
    all: BTreeMap<String, ActiveAlert>,
    /// The keys of each object's alerts, so that updating one object doesn't read the alerts of the others.
    by_scope: BTreeMap<AlertScope, BTreeSet<String>>,
    /// Resolved alerts by the time of their resolution; the earliest is dropped first.
    resolved: BTreeSet<(Timestamp, String)>,
}

/// The keys of the alerts that changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertChanges {
    /// Alerts that began.
    pub began: Vec<String>,
    /// Alerts that are resolved.
    pub resolved: Vec<String>,
    /// Alerts whose annotations changed.
    pub changed: Vec<String>,
    /// Alerts that are no longer sent.
    pub dropped: Vec<String>,
}

impl AlertChanges {
    /// True if the changes should be sent at once.
    pub fn is_news(&self) -> bool {
        !self.began.is_empty() || !self.resolved.is_empty()
    }

    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the changes of another object.
    pub fn extend(&mut self, other: Self) {
        self.began.extend(other.began);
        self.resolved.extend(other.resolved);
        self.changed.extend(other.changed);
        self.dropped.extend(other.dropped);
    }
}

/// Returns the key under which an alert is stored.
fn key(labels: &Labels) -> String {
    // Labels are texts, which always have a canonical form.
    Digest::of("alert", labels).map_or_else(|_| format!("{labels:?}"), |digest| digest.to_string())
}

impl ActiveAlerts {
    /// Creates the set from its persisted records.
    pub fn load(alerts: impl IntoIterator<Item = (String, ActiveAlert)>) -> Self {
        let mut active = Self::default();
        for (key, alert) in alerts {
            active.insert(key, alert);
        }
        active
    }

    fn insert(&mut self, key: String, alert: ActiveAlert) {
        if let Some(old) = self.all.get(&key)
            && let Some(at) = old.resolved_at
        {
            self.resolved.remove(&(at, key.clone()));
        }
        if let Some(at) = alert.resolved_at {
            self.resolved.insert((at, key.clone()));
        }
        let scope = AlertScope::of(&alert.labels);
        self.by_scope.entry(scope).or_default().insert(key.clone());
        self.all.insert(key, alert);
    }

    /// Updates the alerts of one object: those in `firing` fire now, and its other alerts are resolved.
    pub fn update(
        &mut self,
        scope: &AlertScope,
        firing: Vec<Firing>,
        now: Timestamp,
    ) -> AlertChanges {
        let mut changes = AlertChanges::default();
        let firing: BTreeMap<_, _> = firing.into_iter().map(|f| (key(&f.labels), f)).collect();
        let known = self.by_scope.get(scope).into_iter().flatten();
        let ended: Vec<_> = known
            .filter(|key| !firing.contains_key(*key))
            .cloned()
            .collect();
        for key in ended {
            if let Some(alert) = self.all.get_mut(&key)
                && alert.resolved_at.is_none()
            {
                alert.starts_at = alert.starts_at.min(now);
                alert.resolved_at = Some(now);
                self.resolved.insert((now, key.clone()));
                changes.resolved.push(key);
            }
        }
        for (key, firing) in firing {
            match self.all.get_mut(&key) {
                Some(alert) if alert.resolved_at.is_none() => {
                    // If the controller's clock was ahead when the alert began, the start lies in the future.
                    let ahead = alert.starts_at > now;
                    alert.starts_at = alert.starts_at.min(now);
                    if ahead || alert.annotations != firing.annotations {
                        alert.annotations = firing.annotations;
                        changes.changed.push(key);
                    }
                }
                _ => {
                    let alert = ActiveAlert {
                        labels: firing.labels,
                        annotations: firing.annotations,
                        starts_at: now,
                        resolved_at: None,
                    };
                    self.insert(key.clone(), alert);
                    changes.began.push(key);
                }
            }
        }
        changes
    }

    /// Drops resolved alerts that have been sent for long enough; returns their keys.
    pub fn expire(&mut self, now: Timestamp) -> Vec<String> {
        let mut dropped = Vec::new();
        while let Some((at, key)) = self.resolved.first().cloned() {
            if now.duration_since(at) <= REPEATED {
                break;
            }
            self.resolved.remove(&(at, key.clone()));
            if let Some(alert) = self.all.remove(&key) {
                let scope = AlertScope::of(&alert.labels);
                if let Some(keys) = self.by_scope.get_mut(&scope) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.by_scope.remove(&scope);
                    }
                }
            }
            dropped.push(key);
        }
        dropped
    }

    /// Returns all alerts in Alertmanager's format.
    pub fn to_send(&self, generator_url: &str, now: Timestamp) -> Vec<Alert> {
        self.all
            .values()
            .map(|alert| {
                let starts_at = alert.starts_at.min(now);
                // An Alertmanager refuses an alert that ends before it begins.
                let ends_at = alert.resolved_at.map_or(now + HOLDS, |at| {
                    (at.min(now) - CLOCK_TOLERANCE).max(starts_at)
                });
                Alert {
                    labels: alert.labels.clone(),
                    annotations: alert.annotations.clone(),
                    starts_at,
                    ends_at,
                    generator_url: generator_url.to_owned(),
                }
            })
            .collect()
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the objects that have alerts.
    pub fn scopes(&self) -> impl Iterator<Item = &AlertScope> {
        self.by_scope.keys()
    }

    /// Returns all alerts by key, firing and resolved.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &ActiveAlert)> {
        self.all.iter()
    }

    /// Returns the alert with this key.
    pub fn get(&self, key: &str) -> Option<&ActiveAlert> {
        self.all.get(key)
    }

    /// Returns the firing alerts.
    pub fn firing(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.all
            .values()
            .filter(|alert| alert.resolved_at.is_none())
    }
}
