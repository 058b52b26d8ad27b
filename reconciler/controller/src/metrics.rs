//! What is counted and measured, by the names that Prometheus sees.
//!
//! No host on histograms, never a commit, a path, an error's text or a user as a label.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// The upper bounds of durations, in seconds.
pub const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// Labels of a series.
pub(crate) type SeriesLabels = Vec<(&'static str, String)>;

/// One series and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The metric.
    pub name: &'static str,
    /// Its labels.
    pub labels: BTreeMap<&'static str, String>,
    /// The value.
    pub value: f64,
}

/// One series of durations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The metric.
    pub name: &'static str,
    /// Its labels.
    pub labels: BTreeMap<&'static str, String>,
    /// How many were at most each of [`BOUNDS`], not added up.
    pub buckets: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MetricsSnapshot {
    /// What only grows.
    pub counters: Vec<Sample>,
    /// What goes up and down.
    pub gauges: Vec<Sample>,
    /// Durations.
    pub histograms: Vec<Histogram>,
}

#[derive(Debug, Clone, Default)]
struct Durations {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// Counters and durations since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: BTreeMap<&'static str, BTreeMap<SeriesLabels, u64>>,
    durations: BTreeMap<&'static str, BTreeMap<SeriesLabels, Durations>>,
}

impl Metrics {
    /// Counters that are there from the start, so that a first increase is seen as one.
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let zero: &[(&'static str, &'static str, &[&str])] = &[
            ("plumb_source_fetch_total", "result", &["success", "error"]),
            (
                "plumb_commit_verifications_total",
                "result",
                &["accept", "pending", "pendingAlarm", "reject"],
            ),
            (
                "plumb_reconciles_total",
                "result",
                &["success", "partial", "refused", "error", "panic"],
            ),
            (
                "plumb_alert_posts_total",
                "result",
                &["success", "error", "refused"],
            ),
        ];
        for (name, label, values) in zero {
            for value in *values {
                metrics.add(name, vec![(label, (*value).to_owned())], 0);
            }
        }
        metrics
    }

    pub(crate) fn add(&mut self, name: &'static str, labels: SeriesLabels, by: u64) {
        *self
            .counters
            .entry(name)
            .or_default()
            .entry(labels)
            .or_default() += by;
    }

    pub(crate) fn count(&mut self, name: &'static str, label: &'static str, value: &str) {
        self.add(name, vec![(label, value.to_owned())], 1);
    }

    pub(crate) fn took(&mut self, name: &'static str, labels: SeriesLabels, time: Duration) {
        let durations = self
            .durations
            .entry(name)
            .or_default()
            .entry(labels)
            .or_default();
        let seconds = time.as_secs_f64();
        if let Some(place) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            durations.buckets[place] += 1;
        }
        durations.count += 1;
        durations.sum += seconds;
    }

    pub(crate) fn snapshot(&self, gauges: Vec<Sample>) -> MetricsSnapshot {
        let counters = self.counters.iter().flat_map(|(name, series)| {
            series
                .iter()
                .map(|(labels, value)| sample(name, labels, *value))
        });
        let histograms = self.durations.iter().flat_map(|(name, series)| {
            series.iter().map(|(labels, durations)| Histogram {
                name,
                labels: labels.iter().cloned().collect(),
                buckets: durations.buckets.to_vec(),
                count: durations.count,
                sum: durations.sum,
            })
        });
        MetricsSnapshot {
            counters: counters.collect(),
            gauges,
            histograms: histograms.collect(),
        }
    }
}

/// A series with a whole number.
#[allow(clippy::cast_precision_loss)] // counts don't come near 2^53
pub(crate) fn sample(name: &'static str, labels: &[(&'static str, String)], value: u64) -> Sample {
    Sample {
        name,
        labels: labels.iter().cloned().collect(),
        value: value as f64,
    }
}
