//! A newly accepted revision: who is in it, who left, and what is wanted of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::{Digest, HostName};
use plumb_core::desired::{HostIntent, HostResult, Lifecycle, Suspension};
use plumb_core::ports::{Table, Write};
use plumb_core::status::{ConditionStatus, ConditionType, HostStatus};
use tokio::time::Instant;

use super::{Driver, Old};
use crate::conditions::{Setter, Turn};
use crate::desired::Accepted;
use crate::event::EventKind;
use crate::persist::{HostRecord, put_host, put_rollout, put_source, put_target};
use crate::queue::Trigger;

/// Whether a host is driven.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// It is.
    Driven,
    /// It is paused; until when, if that is known.
    Suspended(Suspension),
    /// It isn't, in one word and in a sentence.
    Left(&'static str, &'static str),
}

/// How a host stands by its manifest.
pub(super) fn standing(intent: &HostIntent, now: Timestamp) -> Standing {
    let suspended = intent
        .suspend
        .as_ref()
        .filter(|pause| pause.until.is_none_or(|until| until > now));
    match (intent.lifecycle, suspended) {
        (Lifecycle::Dormant, _) => Standing::Left("Dormant", "its manifest says `state: dormant`"),
        (Lifecycle::Unmanaged, _) => {
            Standing::Left("Unmanaged", "its manifest says `state: unmanaged`")
        }
        (_, Some(pause)) => Standing::Suspended(pause.clone()),
        (Lifecycle::Active | Lifecycle::Retired, None) => Standing::Driven,
    }
}

impl Driver {
    /// Takes a revision over as what hosts are to be driven to.
    pub(super) async fn adopt(&mut self, accepted: Arc<Accepted>) {
        let first = self.head.is_none();
        let previous = self.head.replace(accepted.clone());
        if let Some(previous) = previous {
            self.older
                .insert(previous.commit().to_owned(), Old::Here(previous));
        }
        self.rename(&accepted);
        self.introduce(&accepted);
        for host in accepted.hosts().keys() {
            self.meet(host);
        }
        self.release(&accepted);
        self.lead(&accepted);
        self.collect();
        self.write_all();
        let wrong = accepted
            .diagnostics()
            .iter()
            .filter(|d| d.severity == plumb_document::Severity::Error)
            .count();
        if wrong > 0 {
            let message =
                format!("{wrong} errors in the manifests hold hosts; `plumb check` shows them");
            let revision = Some(accepted.commit().to_owned());
            self.event(
                None,
                EventKind::Warning,
                "ManifestsInvalid",
                message,
                revision,
            );
        }
        if first {
            tracing::info!(
                revision = accepted.commit(),
                hosts = accepted.hosts().len(),
                "driving"
            );
        }
        self.follow_alertmanagers(&accepted);
        self.spread().await;
        self.soon();
    }

    /// A host that has another name now keeps what was known of it.
    fn rename(&mut self, accepted: &Accepted) {
        for (name, result) in accepted.hosts() {
            let HostResult::Ready(intent) = result else {
                continue;
            };
            let mut world = self.shared.write();
            if world.hosts.contains_key(name) {
                continue;
            }
            let old = intent
                .formerly
                .iter()
                .find(|old| world.hosts.contains_key(*old) && !accepted.hosts().contains_key(*old));
            if let Some(old) = old.cloned()
                && let Some(mut record) = world.hosts.remove(&old)
            {
                record.status.host = name.clone();
                world.rollout.leave_out(&old);
                let mut writes = vec![
                    Write::Delete(Table::Hosts, old.to_string()),
                    Write::Delete(Table::Targets, old.to_string()),
                ];
                writes.extend(put_host(&record));
                writes.extend(
                    record
                        .status
                        .target
                        .as_ref()
                        .and_then(|target| put_target(name, target)),
                );
                world.hosts.insert(name.clone(), record);
                self.keeper.write(writes);
                self.queue.remove(&old);
                self.backoffs.remove(&old);
            }
        }
    }

    /// What is known of the revision itself.
    fn introduce(&mut self, accepted: &Accepted) {
        let mut world = self.shared.write();
        let world = &mut *world;
        world.source.accepted = Some(accepted.commit().to_owned());
        world.record.fleet = Some(accepted.fleet().to_string());
        world.limits.failures = accepted.halt_failures();
        let summary = accepted.revision().subject().to_owned();
        let commit = accepted.commit();
        if let Some(view) = world
            .record
            .revisions
            .iter_mut()
            .find(|r| r.commit == commit)
        {
            view.summary = summary;
        } else {
            world.record.revisions.insert(
                0,
                crate::view::RevisionView {
                    commit: commit.to_owned(),
                    verdict: "accept".to_owned(),
                    time: self.parts.clock.now(),
                    summary,
                    reasons: Vec::new(),
                },
            );
        }
        self.keeper.write(put_source(&world.record));
    }

    /// Meets a host of the newest revision: its record, how it stands, and whether it is looked at.
    pub(super) fn meet(&mut self, host: &HostName) {
        let Some(head) = self.head.clone() else {
            return;
        };
        let Some(result) = head.hosts().get(host) else {
            return;
        };
        let now = self.now();
        let mut world = self.shared.write();
        let world = &mut *world;
        let turn = Turn::of(&world.rollout, world.limits);
        let record = world
            .hosts
            .entry(host.clone())
            .or_insert_with(|| HostRecord {
                status: HostStatus::new(host.clone()),
                labels: BTreeMap::new(),
                drift_runs: 0,
            });
        // Somebody changed something: what waits for that is tried at once, not at its next turn.
        let stalled = record.status.conditions.is_true(ConditionType::Stalled);
        let mut setter = Setter { record, now };
        let wanted = head.goal(host);
        let mut look = None;
        match result {
            HostResult::Held(diagnostics) => {
                let message = diagnostics.first().map_or_else(
                    || "its manifests can't be used".to_owned(),
                    |d| format!("{}: {}", d.span, d.message),
                );
                let (kind, status) = (ConditionType::Synced, ConditionStatus::False);
                setter.set(kind, status, "ManifestInvalid", message.clone());
                if setter.record.status.target.is_none() {
                    setter.stalled("ManifestInvalid", &message);
                } else {
                    setter.begun();
                    look = Some(Instant::now());
                }
            }
            HostResult::Ready(intent) => {
                setter.record.labels.clone_from(&intent.labels);
                let target = setter.record.status.target.clone();
                match target {
                    // The same thing is wanted: the newer revision is what it has.
                    Some(mut target) if Some(target.digest) == wanted => {
                        let reached = setter.record.status.revision.as_deref()
                            == Some(target.revision.as_str());
                        if target.revision != head.commit() {
                            head.commit().clone_into(&mut target.revision);
                            self.keeper.write(put_target(host, &target));
                        }
                        if reached {
                            setter.record.status.revision = Some(target.revision.clone());
                        }
                        setter.record.status.target = Some(target);
                    }
                    _ => {}
                }
                setter.synced(head.commit(), wanted, &turn);
                match standing(intent, now) {
                    Standing::Driven => {
                        setter.remove(ConditionType::Suspended);
                        setter.begun();
                        look = Some(Instant::now());
                    }
                    Standing::Suspended(pause) => {
                        let message = match pause.until {
                            Some(until) => format!("{} (until {until})", pause.reason),
                            None => pause.reason.clone(),
                        };
                        let (kind, status) = (ConditionType::Suspended, ConditionStatus::True);
                        setter.set(kind, status, "Suspended", message);
                        setter.left("Suspended", "it is paused by its manifest");
                        world.rollout.leave_out(host);
                        self.queue.remove(host);
                        look = pause.until.map(|until| {
                            let rest = until.duration_since(now);
                            Instant::now() + rest.try_into().unwrap_or_default()
                        });
                    }
                    Standing::Left(reason, message) => {
                        setter.remove(ConditionType::Suspended);
                        setter.remove(ConditionType::Synced);
                        setter.left(reason, message);
                        world.rollout.leave_out(host);
                        self.queue.remove(host);
                    }
                }
            }
        }
        // A host that is looked at regularly anyway isn't looked at for each commit.
        let known = self.queue.at(host).is_some() || self.queue.is_running(host);
        let suspended = world.hosts[host]
            .status
            .conditions
            .is_true(ConditionType::Suspended);
        if stalled {
            self.backoffs.remove(host);
        }
        if let Some(at) = look.filter(|_| !known || suspended || stalled) {
            self.queue.add(host.clone(), at, Trigger::Resync);
        }
    }

    /// Hosts that git has no longer are left as they are and spoken of until they are forgotten.
    fn release(&mut self, accepted: &Accepted) {
        let now = self.now();
        let mut released = Vec::new();
        {
            let mut world = self.shared.write();
            let world = &mut *world;
            for (name, record) in &mut world.hosts {
                if accepted.hosts().contains_key(name) {
                    continue;
                }
                let mut setter = Setter { record, now };
                let old = setter.record.status.conditions.get(ConditionType::Synced);
                if old.is_none_or(|synced| synced.reason != "Released") {
                    released.push(name.clone());
                }
                let message = format!("git has it no longer; `plumb forget {name}` ends this");
                let (kind, status) = (ConditionType::Synced, ConditionStatus::False);
                setter.set(kind, status, "Released", message.clone());
                setter.remove(ConditionType::Suspended);
                setter.left("Released", &message);
                setter.unknown_since("Released", &message);
                world.rollout.leave_out(name);
                self.queue.remove(name);
                self.backoffs.remove(name);
            }
        }
        for name in released {
            let message = "git has it no longer: it is left as it is".to_owned();
            let revision = Some(accepted.commit().to_owned());
            self.event(
                Some(&name),
                EventKind::Warning,
                "Released",
                message,
                revision,
            );
        }
    }

    /// Who is to get something else than what they are driven to.
    fn lead(&mut self, accepted: &Accepted) {
        let now = self.now();
        let driven = |host: &HostName| {
            accepted
                .intent(host)
                .is_some_and(|intent| standing(intent, now) == Standing::Driven)
        };
        let wants: BTreeMap<HostName, Digest> = accepted
            .hosts()
            .keys()
            .filter(|host| driven(host))
            .filter_map(|host| Some((host.clone(), accepted.goal(host)?)))
            .collect();
        let mut world = self.shared.write();
        let world = &mut *world;
        world.rollout.lead_to(accepted.commit(), &wants);
        self.pending = wants
            .into_iter()
            .filter(|(host, wanted)| {
                let target = world.hosts.get(host).and_then(|r| r.status.target.as_ref());
                target.map(|target| target.digest) != Some(*wanted)
            })
            .map(|(host, _)| host)
            .collect();
        self.keeper.write(put_rollout(&world.rollout));
    }

    /// Lets go of states and revisions that no host is driven to any more.
    fn collect(&mut self) {
        let world = self.shared.read();
        let mut states = std::collections::BTreeSet::new();
        let mut revisions = std::collections::BTreeSet::new();
        for record in world.hosts.values() {
            states.extend(record.status.held);
            if let Some(target) = &record.status.target {
                states.insert(target.digest);
                revisions.insert(target.revision.clone());
            }
        }
        let gone: Vec<_> = self
            .states
            .keys()
            .filter(|digest| !states.contains(digest))
            .copied()
            .collect();
        for digest in &gone {
            self.states.remove(digest);
        }
        self.keeper.write(
            gone.into_iter()
                .map(|digest| Write::Delete(Table::States, digest.to_string())),
        );
        self.older
            .retain(|commit, old| matches!(old, Old::Loading) || revisions.contains(commit));
    }

    fn write_all(&mut self) {
        let world = self.shared.read();
        #[cfg(test)]
        for record in world.hosts.values() {
            let wrong = crate::conditions::violations(record);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
        self.keeper.write(world.hosts.values().filter_map(put_host));
    }
}
