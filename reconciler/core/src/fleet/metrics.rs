//! Metrics, under the names that Prometheus sees.
//!
//! To limit the number of series, a host is never a label of a histogram, and paths, texts of errors and users
//! are never labels. Only `plumb_source_revision_info` has a commit as a label.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::plan::Op;
use serde::Serialize;

use super::Step;
use super::run::{Contact, RunEnd, RunReport};
use super::source::SourcePoll;
use crate::ports::AlertError;
use crate::reason::ConditionReason;
use crate::status::{ConditionStatus, ConditionType, Conditions};
use crate::view::{CommitVerdict, FleetView};

/// The upper bounds of duration buckets, in seconds.
pub const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// The labels of a series.
type SeriesLabels = Vec<(&'static str, String)>;

/// One series and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The name of the metric.
    pub name: &'static str,
    /// The labels.
    pub labels: BTreeMap<&'static str, String>,
    /// The value.
    pub value: f64,
}

/// One series of durations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The name of the metric.
    pub name: &'static str,
    /// The labels.
    pub labels: BTreeMap<&'static str, String>,
    /// The number of observations in each bucket of [`BOUNDS`]. The buckets aren't cumulative.
    pub buckets: Vec<u64>,
    /// The number of observations.
    pub count: u64,
    /// The sum of the observations, in seconds.
    pub sum: f64,
}

/// All metrics at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MetricsSnapshot {
    /// Values that only grow.
    pub counters: Vec<Sample>,
    /// Values that go up and down.
    pub gauges: Vec<Sample>,
    /// Histograms of durations.
    pub histograms: Vec<Histogram>,
}

#[derive(Debug, Clone, Default)]
struct Durations {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// Counters and durations since the start of the process.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    counters: BTreeMap<&'static str, BTreeMap<SeriesLabels, u64>>,
    durations: BTreeMap<&'static str, BTreeMap<SeriesLabels, Durations>>,
}

impl Counters {
    /// Creates all counters at zero, so that Prometheus sees the first increase.
    pub(super) fn new() -> Self {
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

    fn add(&mut self, name: &'static str, labels: SeriesLabels, by: u64) {
        *self
            .counters
            .entry(name)
            .or_default()
            .entry(labels)
            .or_default() += by;
    }

    fn count(&mut self, name: &'static str, label: &'static str, value: &str) {
        self.add(name, vec![(label, value.to_owned())], 1);
    }

    fn took(&mut self, name: &'static str, labels: SeriesLabels, time: Duration) {
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

    /// Counts a fetch of the source.
    pub(super) fn fetched(&mut self, repo: &str, poll: &SourcePoll) {
        let result = match &poll.fetched {
            Ok(_) => "success",
            Err(_) => "error",
        };
        let repo = ("repo", repo.to_owned());
        let labels = vec![repo.clone(), ("result", result.to_owned())];
        self.add("plumb_source_fetch_total", labels, 1);
        let name = "plumb_source_fetch_duration_seconds";
        self.took(name, vec![repo], poll.took);
    }

    /// Counts a new verdict.
    pub(super) fn verified(&mut self, verdict: CommitVerdict) {
        let name = "plumb_commit_verifications_total";
        self.count(name, "result", verdict.as_str());
    }

    /// Counts the answer of an Alertmanager.
    pub(super) fn posted(&mut self, error: Option<&AlertError>) {
        let result = match error {
            None => "success",
            Some(AlertError::Unreachable(_)) => "error",
            Some(AlertError::Refused { .. }) => "refused",
        };
        self.count("plumb_alert_posts_total", "result", result);
    }

    /// Counts a run.
    pub(super) fn run(&mut self, report: &RunReport) {
        let result = match &report.end {
            RunEnd::Failed(failure) if failure.reason == ConditionReason::Panicked => "panic",
            RunEnd::Settled | RunEnd::Looked => "success",
            RunEnd::Partly(_) => "partial",
            RunEnd::Refused(_)
            | RunEnd::Newer(_)
            | RunEnd::OffChain(_)
            | RunEnd::Rewound { .. } => "refused",
            RunEnd::Failed(_) => "error",
        };
        self.count("plumb_reconciles_total", "result", result);
        for (phase, took) in &report.phases {
            let labels = vec![("phase", phase.as_str().to_owned())];
            self.took("plumb_reconcile_duration_seconds", labels, *took);
        }
        for (change, outcome) in &report.outcomes {
            let action = match change.op {
                Op::Create => "create",
                Op::Update => "update",
                Op::Replace => "replace",
                Op::Delete => "delete",
                Op::Run => "run",
            };
            let labels = vec![
                ("kind", change.address.kind().as_str().to_owned()),
                ("action", action.to_owned()),
                ("result", outcome.as_str().to_owned()),
            ];
            self.add("plumb_resource_operations_total", labels, 1);
        }
        if let RunEnd::Failed(failure) = &report.end
            && failure.contact == Contact::Lost
        {
            let reason = failure.reason.as_str();
            self.count("plumb_ssh_errors_total", "reason", reason);
        }
    }

    fn snapshot(&self, gauges: Vec<Sample>) -> MetricsSnapshot {
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

/// Creates a series with a whole number.
#[allow(clippy::cast_precision_loss)] // counts don't come near 2^53
fn sample(name: &'static str, labels: &[(&'static str, String)], value: u64) -> Sample {
    Sample {
        name,
        labels: labels.iter().cloned().collect(),
        value: value as f64,
    }
}

/// The states that `plumb_hosts` counts.
const STATES: [&str; 6] = [
    "ready",
    "reconciling",
    "stalled",
    "suspended",
    "unreachable",
    "unknown",
];

/// Returns a host's state in one word, for counting.
fn state(conditions: &Conditions) -> &'static str {
    let unreachable = conditions
        .get(ConditionType::Reachable)
        .is_some_and(|condition| condition.status == ConditionStatus::False);
    if conditions.is_true(ConditionType::Suspended) {
        "suspended"
    } else if conditions.is_true(ConditionType::Stalled) {
        "stalled"
    } else if unreachable {
        "unreachable"
    } else if conditions.is_true(ConditionType::Ready) {
        "ready"
    } else if conditions.is_true(ConditionType::Reconciling) {
        "reconciling"
    } else {
        "unknown"
    }
}

#[allow(clippy::cast_precision_loss)] // a clock isn't off by 2^53 seconds
fn seconds(name: &'static str, labels: &[(&'static str, String)], value: i64) -> Sample {
    Sample {
        name,
        labels: labels.iter().cloned().collect(),
        value: value as f64,
    }
}

fn stamp(name: &'static str, labels: &[(&'static str, String)], at: Timestamp) -> Sample {
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    sample(name, labels, seconds)
}

impl FleetView {
    /// Returns all metrics.
    pub fn metrics(&self) -> MetricsSnapshot {
        let version = [("version", self.version.clone())];
        let mut gauges = vec![sample("plumb_build_info", &version, 1)];
        let repo = || ("repo", self.source.description.clone());
        if let Some(accepted) = &self.source.accepted {
            let labels = [repo(), ("revision", accepted.clone())];
            gauges.push(sample("plumb_source_revision_info", &labels, 1));
        }
        if let Some(at) = self.source.last_fetch {
            let name = "plumb_source_last_success_timestamp_seconds";
            gauges.push(stamp(name, &[repo()], at));
        }
        for (sink, offset) in &self.source.clock_offsets {
            let labels = [("alertmanager", sink.clone())];
            gauges.push(seconds(
                "plumb_alertmanager_clock_offset_seconds",
                &labels,
                *offset,
            ));
        }
        self.host_gauges(&mut gauges);
        gauges.push(sample("plumb_queue_depth", &[], self.queue.due as u64));
        gauges.push(Sample {
            name: "plumb_queue_oldest_seconds",
            labels: BTreeMap::new(),
            value: self.queue.oldest.as_secs_f64(),
        });
        self.counters.snapshot(gauges)
    }

    fn host_gauges(&self, gauges: &mut Vec<Sample>) {
        let mut counts: BTreeMap<&'static str, u64> = STATES.iter().map(|s| (*s, 0)).collect();
        for host in self.hosts.iter() {
            let status = &host.status;
            let conditions = &status.conditions;
            let host = || ("host", status.host.to_string());
            *counts.entry(state(conditions)).or_default() += 1;
            for (name, kind) in [
                ("plumb_host_drifted", ConditionType::Drifted),
                ("plumb_host_reachable", ConditionType::Reachable),
                ("plumb_host_suspended", ConditionType::Suspended),
                ("plumb_host_reboot_required", ConditionType::RebootRequired),
            ] {
                let value = u64::from(conditions.is_true(kind));
                gauges.push(sample(name, &[host()], value));
            }
            if let Some(offset) = status.clock_offset {
                let name = "plumb_host_clock_offset_seconds";
                gauges.push(seconds(name, &[host()], offset));
            }
            if let Some(at) = status.last_success {
                let name = "plumb_host_last_success_timestamp_seconds";
                gauges.push(stamp(name, &[host()], at));
            }
            let differing = status.differing.len() as u64;
            let in_sync = u64::from(status.resources).saturating_sub(differing);
            for (state, value) in [("insync", in_sync), ("differing", differing)] {
                let labels = [host(), ("state", state.to_owned())];
                gauges.push(sample("plumb_host_resources", &labels, value));
            }
        }
        for (state, count) in counts {
            gauges.push(sample("plumb_hosts", &[("state", state.to_owned())], count));
        }
    }
}

impl Step<'_> {
    /// Returns the counters for an update.
    pub(super) fn counters(&mut self) -> &mut Counters {
        Arc::make_mut(&mut self.state.counters)
    }
}
