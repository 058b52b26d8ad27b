//! Telling others: events, alerts, Alertmanagers.

use plumb_api::HostName;
use plumb_core::alerting::{Facts, HostFacts, firing};
use plumb_core::ports::{AlertError, Table, Write};
use tokio::time::Instant;

use super::{AGAIN, Driver, NOW_AND_THEN};
use crate::alerts::Posted;
use crate::desired::Accepted;
use crate::event::{Event, EventKind};
use crate::persist::put_alert;

impl Driver {
    pub(super) fn event(
        &mut self,
        host: Option<&HostName>,
        kind: EventKind,
        reason: &str,
        message: String,
        revision: Option<String>,
    ) {
        let name = host.map(HostName::as_str).unwrap_or_default();
        match kind {
            EventKind::Normal => tracing::info!(host = name, reason, "{message}"),
            EventKind::Warning => tracing::warn!(host = name, reason, "{message}"),
        }
        let event = Event {
            time: self.now(),
            kind,
            host: host.cloned(),
            reason: reason.to_owned(),
            message,
            revision,
        };
        let writes = self.shared.write().events.push(event);
        self.keeper.write(writes);
    }

    /// Works out which alerts fire, keeps the book, and sends what has to be sent.
    pub(super) fn alerts(&mut self) {
        let now = self.now();
        let (moved, alerts, told) = {
            let mut world = self.shared.write();
            let world = &mut *world;
            let facts = Facts {
                fleet: world.record.fleet.as_deref(),
                hosts: world
                    .hosts
                    .values()
                    .map(|record| HostFacts {
                        status: &record.status,
                        labels: &record.labels,
                    })
                    .collect(),
                held: world.source.held.as_ref().map(|(held, _)| held.clone()),
                rollout: Some(&world.rollout).filter(|r| r.is_halted(world.limits)),
            };
            // Before anything was judged it isn't known that nothing is held: what fired goes on.
            if world.source.conditions.iter().next().is_none()
                || world.source.accepted.is_none()
                    && world.source.held.is_none()
                    && world.record.floor.is_some()
            {
                drop(facts);
                let alerts = world.book.alerts(&self.settings.generator_url, now);
                (plumb_core::alerting::Moved::default(), alerts, Vec::new())
            } else {
                let all = firing(&facts, &self.settings.alerting, now);
                drop(facts);
                let moved = world.book.update(all, now);
                let mut told = Vec::new();
                let mut writes = Vec::new();
                for key in moved
                    .began
                    .iter()
                    .chain(&moved.resolved)
                    .chain(&moved.changed)
                {
                    writes.extend(world.book.get(key).and_then(|entry| put_alert(key, entry)));
                }
                for (keys, reason, word) in [
                    (&moved.began, "AlertFires", "fires"),
                    (&moved.resolved, "AlertResolved", "is resolved"),
                ] {
                    for entry in keys.iter().filter_map(|key| world.book.get(key)) {
                        let name = entry.labels.get("alertname").cloned().unwrap_or_default();
                        let host = entry.labels.get("host").and_then(|host| host.parse().ok());
                        let summary = entry.annotations.get("summary").cloned();
                        told.push((
                            host,
                            reason,
                            format!("{name} {word}: {}", summary.unwrap_or_default()),
                        ));
                    }
                }
                writes.extend(
                    moved
                        .dropped
                        .iter()
                        .map(|key| Write::Delete(Table::Alerts, key.clone())),
                );
                self.keeper.write(writes);
                let alerts = world.book.alerts(&self.settings.generator_url, now);
                (moved, alerts, told)
            }
        };
        for (host, reason, message) in told {
            let host: Option<HostName> = host;
            let kind = if reason == "AlertFires" {
                EventKind::Warning
            } else {
                EventKind::Normal
            };
            self.event(host.as_ref(), kind, reason, message, None);
        }
        let at = Instant::now();
        if moved.is_news() || at >= self.resend_at {
            self.posters.tell(alerts);
            self.resend_at = at + AGAIN;
        }
        self.alerts_at = (at + NOW_AND_THEN).min(self.resend_at);
    }

    /// What came of a post: counted, and told when it begins or ends to fail.
    pub(super) fn posted(&mut self, posted: &Posted) {
        let result = match &posted.result {
            Ok(()) => "success",
            Err(AlertError::Unreachable(_)) => "error",
            Err(AlertError::Refused { .. }) => "refused",
        };
        self.shared
            .write()
            .metrics
            .count("plumb_alert_posts_total", "result", result);
        match &posted.result {
            Ok(()) => {
                if self.sinks_failing.remove(&posted.sink) {
                    let message = format!("{} takes alerts again", posted.sink);
                    self.event(
                        None,
                        EventKind::Normal,
                        "AlertmanagerRecovered",
                        message,
                        None,
                    );
                }
            }
            Err(error) => {
                if self.sinks_failing.insert(posted.sink.clone()) {
                    let message = format!("{} {error}", posted.sink);
                    self.event(
                        None,
                        EventKind::Warning,
                        "AlertmanagerFailing",
                        message,
                        None,
                    );
                }
            }
        }
    }

    /// Follows the Alertmanagers that the fleet names.
    pub(super) fn follow_alertmanagers(&mut self, accepted: &Accepted) {
        let mut wrong = Vec::new();
        let make = self.parts.make_sink.clone();
        self.posters
            .follow(accepted.alertmanagers(), &self.parts.sinks, |address| {
                make(address)
                    .map_err(|error| wrong.push(format!("{address}: {error}")))
                    .ok()
            });
        for message in wrong {
            self.event(
                None,
                EventKind::Warning,
                "AlertmanagerInvalid",
                message,
                None,
            );
        }
    }
}
