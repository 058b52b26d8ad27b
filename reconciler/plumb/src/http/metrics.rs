//! Renders the controller's metrics as `OpenMetrics` text. `docs/metrics.md` lists the names.

use std::collections::BTreeMap;
use std::fmt;

use plumb_core::fleet::{BOUNDS, Histogram, MetricsSnapshot, Sample};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

type MetricLabels = Vec<(&'static str, String)>;

/// The help text of each metric.
const HELP: &[(&str, &str)] = &[
    ("plumb_build_info", "Version of the running controller"),
    (
        "plumb_source_fetch_total",
        "Fetches of the repository, by result",
    ),
    ("plumb_source_fetch_duration_seconds", "Duration of fetches"),
    (
        "plumb_source_last_success_timestamp_seconds",
        "Time of the last successful fetch",
    ),
    ("plumb_source_revision_info", "Newest accepted commit"),
    (
        "plumb_commit_verifications_total",
        "Commits judged, by verdict",
    ),
    ("plumb_hosts", "Hosts, by state"),
    (
        "plumb_host_drifted",
        "1 if the host differs from its target",
    ),
    (
        "plumb_host_reachable",
        "1 if the last attempt reached the host",
    ),
    ("plumb_host_suspended", "1 if the host is suspended"),
    ("plumb_host_reboot_required", "1 if the host needs a reboot"),
    (
        "plumb_host_clock_offset_seconds",
        "The host's clock minus the controller's at the last contact",
    ),
    (
        "plumb_alertmanager_clock_offset_seconds",
        "The Alertmanager's clock minus the controller's, by its last answer",
    ),
    (
        "plumb_host_last_success_timestamp_seconds",
        "Time at which the host was last confirmed to match its target",
    ),
    (
        "plumb_host_resources",
        "Desired resources of the host, by state",
    ),
    ("plumb_reconciles_total", "Runs on hosts, by result"),
    (
        "plumb_reconcile_duration_seconds",
        "Duration of runs on hosts, by phase",
    ),
    (
        "plumb_resource_operations_total",
        "Changes of resources, by type, action and result",
    ),
    (
        "plumb_ssh_errors_total",
        "Failed connections to hosts, by reason",
    ),
    (
        "plumb_queue_depth",
        "Hosts that are due and wait in the queue",
    ),
    (
        "plumb_queue_oldest_seconds",
        "Time that the first host in the queue has waited",
    ),
    (
        "plumb_alert_posts_total",
        "Posts to Alertmanagers, by result",
    ),
];

/// Renders all metrics as `OpenMetrics` text.
pub(super) fn render(snapshot: MetricsSnapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(snapshot)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The content type of the rendered text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Snapshot(MetricsSnapshot);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, samples) in by_name(&self.0.counters, |sample| sample.name) {
            let base = name.strip_suffix("_total").unwrap_or(name);
            let mut metric =
                encoder.encode_descriptor(base, help(name), None, MetricType::Counter)?;
            for sample in samples {
                let labels = labels(&sample.labels);
                series(&mut metric, &labels, |metric| {
                    metric
                        .encode_counter(&sample.value, None::<Exemplar<MetricLabels, f64>>.as_ref())
                })?;
            }
        }
        for (name, samples) in by_name(&self.0.gauges, |sample: &Sample| sample.name) {
            let mut metric =
                encoder.encode_descriptor(name, help(name), None, MetricType::Gauge)?;
            for sample in samples {
                let labels = labels(&sample.labels);
                series(&mut metric, &labels, |metric| {
                    metric.encode_gauge(&sample.value)
                })?;
            }
        }
        for (name, histograms) in
            by_name(&self.0.histograms, |histogram: &Histogram| histogram.name)
        {
            let mut metric =
                encoder.encode_descriptor(name, help(name), None, MetricType::Histogram)?;
            for histogram in histograms {
                let labels = labels(&histogram.labels);
                let buckets = buckets(histogram);
                series(&mut metric, &labels, |metric| {
                    metric.encode_histogram::<MetricLabels>(
                        histogram.sum,
                        histogram.count,
                        &buckets,
                        None,
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// Groups series by the name of their metric, as the text format requires.
fn by_name<T>(all: &[T], name: impl Fn(&T) -> &'static str) -> BTreeMap<&'static str, Vec<&T>> {
    let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in all {
        grouped.entry(name(one)).or_default().push(one);
    }
    grouped
}

fn series(
    metric: &mut MetricEncoder<'_>,
    labels: &MetricLabels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), fmt::Error>,
) -> Result<(), fmt::Error> {
    if labels.is_empty() {
        encode(metric)
    } else {
        encode(&mut metric.encode_family(labels)?)
    }
}

fn labels(labels: &BTreeMap<&'static str, String>) -> MetricLabels {
    labels
        .iter()
        .map(|(key, value)| (*key, value.clone()))
        .collect()
}

/// Returns the upper bound and the count of each bucket. The last bucket has no upper bound. The encoder
/// makes the counts cumulative.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let below: u64 = histogram.buckets.iter().sum();
    let bounded = BOUNDS.into_iter().zip(histogram.buckets.iter().copied());
    bounded
        .chain([(f64::INFINITY, histogram.count.saturating_sub(below))])
        .collect()
}

fn help(name: &str) -> &'static str {
    HELP.iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, help)| help)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::http) fn snapshot() -> MetricsSnapshot {
        let sample = |name, labels: &[(&'static str, &str)], value| Sample {
            name,
            labels: labels
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
            value,
        };
        let mut buckets = vec![0; BOUNDS.len()];
        buckets[1] = 2;
        MetricsSnapshot {
            counters: vec![sample(
                "plumb_source_fetch_total",
                &[("result", "success")],
                3.0,
            )],
            gauges: vec![
                sample("plumb_queue_depth", &[], 0.0),
                sample("plumb_host_drifted", &[("host", "a\"b\\c\nd")], 1.0),
            ],
            histograms: vec![Histogram {
                name: "plumb_reconcile_duration_seconds",
                labels: [("phase", "observe".to_owned())].into(),
                buckets,
                count: 3,
                sum: 1000.5,
            }],
        }
    }

    #[test]
    fn the_text_is_openmetrics() {
        let text = render(snapshot()).unwrap();
        for line in [
            "# TYPE plumb_source_fetch counter",
            "plumb_source_fetch_total{result=\"success\"} 3",
            "plumb_queue_depth 0",
            "plumb_host_drifted{host=\"a\\\"b\\\\c\\nd\"} 1",
            "plumb_reconcile_duration_seconds_bucket{le=\"0.01\",phase=\"observe\"} 2",
            "plumb_reconcile_duration_seconds_bucket{le=\"+Inf\",phase=\"observe\"} 3",
            "plumb_reconcile_duration_seconds_count{phase=\"observe\"} 3",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn every_metric_is_in_the_docs() {
        let docs = include_str!("../../../../docs/metrics.md");
        for (name, _) in HELP {
            assert!(
                docs.contains(&format!("`{name}`")),
                "{name} isn't in docs/metrics.md"
            );
        }
    }
}
