//! Alerts: evaluates the rules, sends alerts and handles the answers of the Alertmanagers.

use std::time::Duration;

use jiff::Timestamp;
use plumb_api::{AlertmanagerUrl, HostName};

use super::effect::Effect;
use super::persist::put_alert;
use super::{Step, later};
use crate::alerting::{AlertChanges, AlertName, AlertScope, Firing, HostSnapshot, Outlook, Rules};
use crate::ports::{AlertError, Posted, Table, Write};
use crate::reason::ConditionReason;
use crate::status::ConditionType;
use crate::view::{AlertView, EventKind};

/// Delay between a change and the evaluation of alerts. A change that is undone within this time raises no
/// alert.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Interval at which active alerts are sent again.
const RESEND_INTERVAL: Duration = Duration::from_mins(1);

impl Step<'_> {
    /// Schedules the evaluation of an object's alerts.
    pub(super) fn alerts_changed(&mut self, scope: AlertScope) {
        self.state.unsettled_alerts.insert(scope);
        let at = later(self.now, DEBOUNCE);
        let alerts_at = &mut self.state.alerts_at;
        *alerts_at = Some(alerts_at.map_or(at, |before| before.min(at)));
    }

    /// Sets the next time at which a host's alerts must be evaluated even if no event arrives.
    fn set_deadline(&mut self, name: &HostName, at: Option<Timestamp>) {
        let Some(host) = self.state.hosts.get_mut(name) else {
            return;
        };
        let before = std::mem::replace(&mut host.alert_at, at);
        self.forget_deadline(name, before);
        if let Some(at) = at {
            self.state.alert_deadlines.insert((at, name.clone()));
        }
    }

    pub(super) fn forget_deadline(&mut self, name: &HostName, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.state.alert_deadlines.remove(&(at, name.clone()));
        }
    }

    /// Returns the next time at which alerts are evaluated or sent.
    pub(super) fn next_alert_time(&self) -> Option<Timestamp> {
        let state = &*self.state;
        let deadline = state.alert_deadlines.first().map(|(at, _)| *at);
        let resend = Some(state.resend_at).filter(|_| !state.active_alerts.is_empty());
        [state.alerts_at, deadline, state.source_alert_at, resend]
            .into_iter()
            .flatten()
            .min()
    }

    /// Evaluates the alerts of objects that changed or whose deadline has come, and sends them if any began
    /// or was resolved.
    pub(super) fn alerts_if_due(&mut self) {
        if self.next_alert_time().is_none_or(|at| at > self.now) {
            return;
        }
        let state = &mut *self.state;
        state.alerts_at = None;
        let mut scopes = std::mem::take(&mut state.unsettled_alerts);
        while let Some((at, host)) = state.alert_deadlines.first().cloned() {
            if at > self.now {
                break;
            }
            state.alert_deadlines.pop_first();
            scopes.insert(AlertScope::Host(host));
        }
        if state.source_alert_at.is_some_and(|at| at <= self.now) {
            scopes.insert(AlertScope::Source);
        }
        let mut changes = AlertChanges::default();
        for scope in scopes {
            let outlook = self.outlook(&scope);
            match &scope {
                AlertScope::Host(host) => self.set_deadline(host, outlook.next),
                AlertScope::Source => self.state.source_alert_at = outlook.next,
                AlertScope::Rollouts => {}
            }
            let active = &mut self.state.active_alerts;
            changes.extend(active.update(&scope, outlook.firing, self.now));
        }
        if !changes.is_empty() {
            let firing = self.state.active_alerts.firing();
            self.state.firing = firing.map(AlertView::from).collect();
        }
        changes.dropped = self.state.active_alerts.expire(self.now);
        if changes.is_news() || self.now >= self.state.resend_at {
            let url = &self.state.settings.generator_url;
            let alerts = self.state.active_alerts.to_send(url, self.now);
            let now = self.now;
            self.effects.push(Effect::PostAlerts { alerts, now });
            self.state.resend_at = later(self.now, RESEND_INTERVAL);
        }
        self.persist_alerts(&changes);
        self.record_alerts(&changes);
    }

    /// Returns the current alerts of an object.
    fn outlook(&self, scope: &AlertScope) -> Outlook {
        let state = &*self.state;
        let rules = Rules {
            fleet: state.source.record.fleet.as_deref(),
            settings: &state.settings.alerting,
            now: self.now,
        };
        match scope {
            AlertScope::Host(name) => match state.hosts.get(name) {
                Some(host) => rules.of_host(HostSnapshot {
                    status: &host.object.status,
                    labels: &host.object.metadata.labels,
                }),
                None => Outlook::default(),
            },
            AlertScope::Source => {
                let source = &state.source;
                let unloadable = source
                    .unloadable
                    .as_ref()
                    .map(|(commit, _)| commit.as_str());
                let mut outlook =
                    rules.of_fetch(source.conditions.get(ConditionType::Ready), unloadable);
                if source.verified {
                    let fault = source.root_fault.as_ref();
                    let fault = fault.map(|fault| fault.alert.as_str());
                    outlook.extend(rules.of_source(source.held.as_ref(), fault));
                } else {
                    // Until the branch is verified after a restart, alerts that fired before keep firing.
                    let firing = state.active_alerts.firing();
                    let stay = firing.filter(|alert| {
                        let name = alert.labels.get("alertname").map(String::as_str);
                        AlertScope::of(&alert.labels) == AlertScope::Source
                            && name != Some(AlertName::SourceFailing.as_str())
                    });
                    outlook.firing.extend(stay.map(|alert| Firing {
                        labels: alert.labels.clone(),
                        annotations: alert.annotations.clone(),
                    }));
                }
                outlook
            }
            AlertScope::Rollouts => {
                // A halt that no other host waits for is told by the alert of the failed host alone.
                let waiting = state.blocking_rollouts();
                let rollouts = state.rollouts.iter();
                rules.of_rollouts(rollouts.filter(|r| waiting.contains(&r.id())))
            }
        }
    }

    fn persist_alerts(&mut self, changes: &AlertChanges) {
        let active = &self.state.active_alerts;
        let touched = changes.began.iter().chain(&changes.resolved);
        let touched = touched.chain(&changes.changed);
        let puts = touched.filter_map(|key| put_alert(key, active.get(key)?));
        self.writes.extend(puts);
        let dropped = changes.dropped.iter();
        let deletes = dropped.map(|key| Write::Delete(Table::Alerts, key.clone()));
        self.writes.extend(deletes);
    }

    fn record_alerts(&mut self, changes: &AlertChanges) {
        let began = changes.began.iter().map(|key| (key, EventKind::Warning));
        let resolved = changes.resolved.iter();
        let resolved = resolved.map(|key| (key, EventKind::Normal));
        let mut records = Vec::new();
        for (key, kind) in began.chain(resolved) {
            let Some(alert) = self.state.active_alerts.get(key) else {
                continue;
            };
            let text = |name: &str| alert.labels.get(name).map_or("", String::as_str);
            let summary = alert.annotations.get("summary").map_or("", String::as_str);
            let name = text("alertname");
            let host = text("host").parse::<HostName>().ok();
            let (reason, message) = match kind {
                EventKind::Warning => (
                    ConditionReason::AlertFires,
                    format!("{name} fires: {summary}"),
                ),
                EventKind::Normal => (
                    ConditionReason::AlertResolved,
                    format!("{name} resolved: {summary}"),
                ),
            };
            records.push((host, kind, reason, message));
        }
        for (host, kind, reason, message) in records {
            self.record(host.as_ref(), kind, reason, message, None);
        }
    }

    /// Counts the answer of an Alertmanager, and adds a record when the Alertmanager begins or ceases to fail.
    pub(super) fn alerts_posted(
        &mut self,
        sink: AlertmanagerUrl,
        result: Result<Posted, AlertError>,
    ) {
        self.counters().posted(result.as_ref().err());
        match result {
            Ok(posted) => {
                if let Some(offset) = posted.clock_offset {
                    self.sink_clock(&sink, offset);
                }
                if self.state.sinks_failing.remove(&sink) {
                    let message = format!("{sink} accepts alerts again");
                    let reason = ConditionReason::AlertmanagerRecovered;
                    self.record(None, EventKind::Normal, reason, message, None);
                }
            }
            Err(error) => {
                let message = format!("{sink} {error}");
                if self.state.sinks_failing.insert(sink) {
                    self.warn(None, ConditionReason::AlertmanagerFailing, message, None);
                }
            }
        }
    }
}
