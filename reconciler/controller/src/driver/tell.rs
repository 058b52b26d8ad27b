//! Telling others: events, alerts, Alertmanagers.

use jiff::Timestamp;
use plumb_api::HostName;
use plumb_core::alerting::{Facts, HostFacts, Moved, OF_COMMITS, firing};
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
        let moved = self.keep_book(now);
        let at = Instant::now();
        if moved.is_news() || at >= self.resend_at {
            let world = self.shared.read();
            let alerts = world.book.alerts(&self.settings.generator_url, now);
            self.posters.tell(alerts);
            self.resend_at = at + AGAIN;
        }
        self.tell_of_alerts(&moved);
        self.alerts_at = (at + NOW_AND_THEN).min(self.resend_at);
    }

    fn keep_book(&mut self, now: Timestamp) -> Moved {
        let mut world = self.shared.write();
        let world = &mut *world;
        let hosts = world.hosts.values();
        let facts = Facts {
            fleet: world.record.fleet.as_deref(),
            hosts: hosts
                .map(|record| HostFacts {
                    status: &record.status,
                    labels: &record.labels,
                })
                .collect(),
            held: world.source.held.as_ref().map(|(held, _)| held.clone()),
            unfounded: world.source.unfounded.as_deref(),
            rollout: Some(&world.rollout).filter(|rollout| rollout.is_halted(world.limits)),
        };
        let mut all = firing(&facts, &self.settings.alerting, now);
        drop(facts);
        if !world.source.judged {
            all.extend(world.book.unchanged(&OF_COMMITS));
        }
        let moved = world.book.update(all, now);
        let touched = moved
            .began
            .iter()
            .chain(&moved.resolved)
            .chain(&moved.changed);
        let puts = touched.filter_map(|key| put_alert(key, world.book.get(key)?));
        let dropped = moved.dropped.iter();
        let deletes = dropped.map(|key| Write::Delete(Table::Alerts, key.clone()));
        self.keeper.write(puts.chain(deletes));
        moved
    }

    fn tell_of_alerts(&mut self, moved: &Moved) {
        let mut told = Vec::new();
        {
            let world = self.shared.read();
            for (keys, kind, reason, word) in [
                (&moved.began, EventKind::Warning, "AlertFires", "fires: "),
                (
                    &moved.resolved,
                    EventKind::Normal,
                    "AlertResolved",
                    "is resolved; it had said: ",
                ),
            ] {
                for entry in keys.iter().filter_map(|key| world.book.get(key)) {
                    let name = entry.labels.get("alertname").map_or("", String::as_str);
                    let summary = entry.annotations.get("summary").map_or("", String::as_str);
                    let host: Option<HostName> =
                        entry.labels.get("host").and_then(|host| host.parse().ok());
                    told.push((host, kind, reason, format!("{name} {word}{summary}")));
                }
            }
        }
        for (host, kind, reason, message) in told {
            self.event(host.as_ref(), kind, reason, message, None);
        }
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
