//! Everything that the loop knows. The loop alone writes it; others read it through the handle.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use plumb_api::HostName;
use plumb_core::alerting::{Book, HeldCommit};
use plumb_core::rollout::{Limits, Rollout};
use plumb_core::status::{ConditionStatus, ConditionType, Conditions};
use plumb_trust::KeyName;

use crate::event::Events;
use crate::metrics::{Metrics, MetricsSnapshot, Sample, sample};
use crate::persist::{HostRecord, Identity, Kept, SourceRecord};
use crate::view::{AlertView, FleetView, HeldView, HostView, QueueView, RolloutView, SourceView};

/// What is known of the source beside what outlives the process.
#[derive(Debug, Default)]
pub(crate) struct SourceNow {
    /// Whether the branch was judged since the start: before, nothing is known of what is held.
    pub(crate) judged: bool,
    pub(crate) head: Option<String>,
    pub(crate) accepted: Option<String>,
    pub(crate) held: Option<(HeldCommit, HeldView)>,
    /// Why nothing can be judged, where that is so.
    pub(crate) unfounded: Option<String>,
    pub(crate) last_fetch: Option<Timestamp>,
    /// When the newest look was begun.
    pub(crate) look_begun: Option<Timestamp>,
    /// When the last look that has ended was begun.
    pub(crate) last_look: Option<Timestamp>,
    /// Keys that this machine's configuration takes authority away from; none before it was read.
    pub(crate) revoked: Option<Vec<String>>,
    /// Keys that `revoke/` tags took authority away from and take it from no more, of which it was told.
    pub(crate) unbacked: Vec<KeyName>,
    pub(crate) conditions: Conditions,
}

/// Everything that the loop knows.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) identity: Identity,
    pub(crate) record: SourceRecord,
    pub(crate) source: SourceNow,
    pub(crate) hosts: BTreeMap<HostName, HostRecord>,
    pub(crate) rollout: Rollout,
    pub(crate) limits: Limits,
    pub(crate) book: Book,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) queue: QueueView,
}

impl World {
    pub(crate) fn of(kept: Kept, version: String, description: String, limits: Limits) -> Self {
        Self {
            version,
            description,
            identity: kept.identity,
            record: kept.source,
            source: SourceNow::default(),
            hosts: kept.hosts,
            rollout: kept.rollout,
            limits,
            book: kept.book,
            events: kept.events,
            metrics: Metrics::new(),
            queue: QueueView::default(),
        }
    }

    pub(crate) fn source_view(&self) -> SourceView {
        SourceView {
            description: self.description.clone(),
            head: self.source.head.clone(),
            accepted: self
                .source
                .accepted
                .clone()
                .or_else(|| self.record.floor.map(|floor| floor.to_string())),
            held: self.source.held.as_ref().map(|(_, view)| view.clone()),
            last_fetch: self.source.last_fetch,
            last_look: self.source.last_look,
            revoked: self.source.revoked.clone().unwrap_or_default(),
            revoked_by_tags: self
                .record
                .revoked
                .iter()
                .map(ToString::to_string)
                .collect(),
            conditions: self.source.conditions.clone(),
        }
    }

    pub(crate) fn alerts(&self) -> Vec<AlertView> {
        self.book
            .firing()
            .map(|entry| AlertView {
                labels: entry.labels.clone(),
                annotations: entry.annotations.clone(),
                since: entry.starts_at,
            })
            .collect()
    }

    pub(crate) fn host_views(&self) -> Vec<HostView> {
        self.hosts.values().map(host_view).collect()
    }

    pub(crate) fn fleet_view(&self, now: Timestamp) -> FleetView {
        FleetView {
            name: self.record.fleet.clone(),
            version: self.version.clone(),
            controller: self.identity.id.to_string(),
            epoch: self.identity.epoch.0,
            now,
            source: self.source_view(),
            hosts: self.host_views(),
            revisions: self.record.revisions.clone(),
            rollout: RolloutView {
                revision: self.rollout.revision().map(str::to_owned),
                stage: self.rollout.stage(),
                halted: self.rollout.is_halted(self.limits),
                on_their_way: self.rollout.on_their_way().cloned().collect(),
                failed: self.rollout.failed().clone(),
            },
            alerts: self.alerts(),
            queue: self.queue,
        }
    }

    pub(crate) fn metrics_snapshot(&self) -> MetricsSnapshot {
        let mut gauges = vec![sample(
            "plumb_build_info",
            &[("version", self.version.clone())],
            1,
        )];
        let repo = || ("repo", self.description.clone());
        if let Some(accepted) = &self.source_view().accepted {
            let labels = [repo(), ("revision", accepted.clone())];
            gauges.push(sample("plumb_source_revision_info", &labels, 1));
        }
        if let Some(at) = self.source.last_fetch {
            let name = "plumb_source_last_success_timestamp_seconds";
            gauges.push(stamp(name, &[repo()], at));
        }
        self.host_gauges(&mut gauges);
        let queue = self.queue;
        gauges.push(sample("plumb_queue_depth", &[], queue.due as u64));
        gauges.push(Sample {
            name: "plumb_queue_oldest_seconds",
            labels: BTreeMap::new(),
            value: std::time::Duration::from_millis(queue.oldest_ms).as_secs_f64(),
        });
        self.metrics.snapshot(gauges)
    }

    fn host_gauges(&self, gauges: &mut Vec<Sample>) {
        let mut counts: BTreeMap<&'static str, u64> = STATES.iter().map(|s| (*s, 0)).collect();
        for record in self.hosts.values() {
            let status = &record.status;
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
            if let Some(at) = status.last_success {
                let name = "plumb_host_last_success_timestamp_seconds";
                gauges.push(stamp(name, &[host()], at));
            }
            let differing = status.differing.len() as u64;
            for (state, value) in [
                (
                    "insync",
                    u64::from(status.resources).saturating_sub(differing),
                ),
                ("differing", differing),
            ] {
                let labels = [host(), ("state", state.to_owned())];
                gauges.push(sample("plumb_host_resources", &labels, value));
            }
        }
        for (state, count) in counts {
            gauges.push(sample("plumb_hosts", &[("state", state.to_owned())], count));
        }
    }
}

const STATES: [&str; 6] = [
    "ready",
    "reconciling",
    "stalled",
    "suspended",
    "unreachable",
    "unknown",
];

/// A host in one word, for counting.
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

fn stamp(name: &'static str, labels: &[(&'static str, String)], at: Timestamp) -> Sample {
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    sample(name, labels, seconds)
}

pub(crate) fn host_view(record: &HostRecord) -> HostView {
    HostView {
        labels: record.labels.clone(),
        status: record.status.clone(),
    }
}

/// The world, shared. A panic of a reader or the writer leaves what is in it usable: each write is
/// whole in itself.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<RwLock<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(RwLock::new(world)))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, World> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the loop alone.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
