//! Prometheus' view of the fleet: names and labels as `docs/metrics.md` lists them. Timestamps, not
//! ages; never a commit (but one per repository), a path, an error's text or a user as a label.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;

use plumb_core::status::{ConditionStatus, ConditionType};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::view::{Fleet, HostObject};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

/// The states that hosts are counted by; each host is in one.
const STATES: [&str; 6] = [
    "ready",
    "reconciling",
    "drifted",
    "unreachable",
    "stalled",
    "suspended",
];

/// All metrics as OpenMetrics text.
pub(super) fn render(fleet: &Fleet) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("plumb");
    gauge(
        &mut registry,
        "build_info",
        "The version that runs",
        [(vec![("version", fleet.version.clone())], 1.0)],
    );
    source(&mut registry, fleet);
    hosts(&mut registry, fleet);
    counters(
        &mut registry,
        "reconciles",
        "Runs on hosts by result",
        "result",
        &["success", "failure"],
        &fleet.counters.reconciles,
    );
    counters(
        &mut registry,
        "alert_posts",
        "Posts to Alertmanagers by result",
        "result",
        &["success", "failure"],
        &fleet.counters.alert_posts,
    );
    gauge(
        &mut registry,
        "queue_depth",
        "Hosts that wait for their turn",
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        [(vec![], fleet.counters.queued as f64)],
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn source(registry: &mut Registry, fleet: &Fleet) {
    let repo = || ("repo", fleet.source.url.clone());
    counters(
        registry,
        "source_fetch",
        "Fetches of the repository by result",
        "result",
        &["success", "failure"],
        &fleet.counters.fetches,
    );
    counters(
        registry,
        "commit_verifications",
        "Judged commits by verdict",
        "result",
        &["accept", "pending", "pendingAlarm", "reject"],
        &fleet.counters.verifications,
    );
    if let Some(at) = fleet.source.last_fetch {
        gauge(
            registry,
            "source_last_success_timestamp_seconds",
            "When the repository was last fetched",
            [(vec![repo()], seconds(at))],
        );
    }
    if let Some(revision) = &fleet.source.accepted {
        gauge(
            registry,
            "source_revision_info",
            "The newest accepted commit",
            [(vec![repo(), ("revision", revision.clone())], 1.0)],
        );
    }
    gauge(
        registry,
        "source_held",
        "Whether a commit of the branch isn't accepted",
        [(vec![repo()], truth(fleet.source.held.is_some()))],
    );
}

fn hosts(registry: &mut Registry, fleet: &Fleet) {
    let mut states: BTreeMap<&str, u32> = STATES.into_iter().map(|state| (state, 0)).collect();
    for host in &fleet.hosts {
        *states.entry(state(host)).or_default() += 1;
    }
    gauge(
        registry,
        "hosts",
        "Hosts by state",
        states
            .into_iter()
            .map(|(state, count)| (vec![("state", state.to_owned())], f64::from(count))),
    );
    let name = |host: &HostObject| vec![("host", host.metadata.name.to_string())];
    for (metric, help, kind) in [
        (
            "host_ready",
            "Whether the host is as its target says",
            ConditionType::Ready,
        ),
        (
            "host_drifted",
            "Whether the host moved away from its target",
            ConditionType::Drifted,
        ),
        (
            "host_reachable",
            "Whether the host could be talked to at the last attempt",
            ConditionType::Reachable,
        ),
        (
            "host_suspended",
            "Whether a person asked for a pause",
            ConditionType::Suspended,
        ),
        (
            "host_reboot_required",
            "Whether the machine wants a reboot",
            ConditionType::RebootRequired,
        ),
    ] {
        // What isn't known yet has no sample: an absent one isn't false.
        let absent_is_false = matches!(
            kind,
            ConditionType::Drifted | ConditionType::Suspended | ConditionType::RebootRequired
        );
        gauge(
            registry,
            metric,
            help,
            fleet.hosts.iter().filter_map(|host| {
                match host.status.conditions.get(kind).map(|c| c.status) {
                    Some(ConditionStatus::Unknown) => None,
                    None if !absent_is_false => None,
                    status => Some((name(host), truth(status == Some(ConditionStatus::True)))),
                }
            }),
        );
    }
    gauge(
        registry,
        "host_last_success_timestamp_seconds",
        "When the host was last found or made as desired",
        fleet
            .hosts
            .iter()
            .filter_map(|host| Some((name(host), seconds(host.status.last_success?)))),
    );
    gauge(
        registry,
        "host_resources",
        "Resources that are desired on the host",
        fleet
            .hosts
            .iter()
            .map(|host| (name(host), f64::from(host.status.resources))),
    );
}

/// The one state that a host is counted under: the worst that is true.
fn state(host: &HostObject) -> &'static str {
    let conditions = &host.status.conditions;
    let is = |kind| conditions.get(kind).map(|condition| condition.status);
    if is(ConditionType::Suspended) == Some(ConditionStatus::True) {
        "suspended"
    } else if is(ConditionType::Reachable) == Some(ConditionStatus::False) {
        "unreachable"
    } else if is(ConditionType::Stalled) == Some(ConditionStatus::True) {
        "stalled"
    } else if is(ConditionType::Drifted) == Some(ConditionStatus::True) {
        "drifted"
    } else if is(ConditionType::Ready) == Some(ConditionStatus::True) {
        "ready"
    } else {
        "reconciling"
    }
}

fn gauge(
    registry: &mut Registry,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) {
    let family = Gauges::default();
    for (labels, value) in samples {
        family.get_or_create(&labels).set(value);
    }
    registry.register(name, help, family);
}

/// A counter by one label; the known values are there from the beginning, so that a first failure
/// is an increase and not a new series.
fn counters(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    known: &[&str],
    counts: &BTreeMap<String, u64>,
) {
    let family = Counters::default();
    for value in known {
        drop(family.get_or_create(&vec![(label, (*value).to_owned())]));
    }
    for (value, count) in counts {
        family
            .get_or_create(&vec![(label, value.clone())])
            .inc_by(*count);
    }
    registry.register(name, help, family);
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[allow(clippy::cast_precision_loss)] // milliseconds of this era fit
fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::tests::fleet;

    #[test]
    fn the_documented_names_are_there() {
        let text = render(&fleet()).unwrap();
        for line in [
            "plumb_build_info{version=",
            "plumb_hosts{state=\"ready\"} 1",
            "plumb_hosts{state=\"unreachable\"} 1",
            "plumb_host_reachable{host=\"linda\"} 1",
            "plumb_host_reachable{host=\"cloud\"} 0",
            "plumb_commit_verifications_total{result=\"reject\"} 0",
            "plumb_source_fetch_total{result=\"success\"} 3",
            "plumb_source_held{repo=",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn every_metric_is_in_the_docs() {
        let docs = include_str!("../../../../docs/metrics.md");
        let text = render(&fleet()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            assert!(docs.contains(&format!("`{name}")), "{name} isn't in docs/metrics.md");
        }
    }
}
