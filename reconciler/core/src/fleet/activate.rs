//! Activates a newly accepted revision: renames, updates and releases hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumb_api::HostName;

use super::backoff::Backoff;
use super::effect::Effect;
use super::host::{HostMode, HostState, Progress, WantedState};
use super::persist::{Continuation, put_source, put_target};
use super::queue::Trigger;
use super::revision::mode;
use super::{FleetRevision, OldRevision, Step};
use crate::alerting::AlertScope;
use crate::desired::HostResult;
use crate::message::Message;
use crate::ports::{Table, Write};
use crate::reason::ConditionReason;
use crate::view::{CommitHeader, CommitVerdict, EventKind, RevisionView};

impl Step<'_> {
    /// Makes this revision the newest one, and updates the desired state of each host.
    pub(super) fn activate(&mut self, revision: &Arc<FleetRevision>) {
        if let Some(previous) = self.state.head.replace(revision.clone()) {
            let stay = revision.alertmanagers();
            let left = previous.alertmanagers().iter();
            let left: Vec<_> = left.filter(|one| !stay.contains(one)).cloned().collect();
            self.forget_sinks(&left);
            let commit = previous.commit().to_owned();
            self.state
                .older
                .insert(commit, OldRevision::Loaded(previous));
        }
        self.state.head_commit = Some(Arc::from(revision.commit()));
        self.rename_hosts(revision);
        self.remember_revision(revision);
        for host in revision.hosts().keys() {
            self.meet(host);
        }
        self.release_hosts(revision);
        self.lead_rollouts();
        self.collect();
        let errors = revision.errors();
        if errors > 0 {
            let results = revision.hosts().values();
            let held = results.filter(|result| matches!(result, HostResult::Held(_)));
            let message = match (errors, held.count()) {
                (1, 1) => "1 manifest error; 1 host stays at its last desired state".to_owned(),
                (1, held) => {
                    format!("1 manifest error; {held} hosts stay at their last desired state")
                }
                (errors, 1) => {
                    format!("{errors} manifest errors; 1 host stays at its last desired state")
                }
                (errors, held) => format!(
                    "{errors} manifest errors; {held} hosts stay at their last desired state"
                ),
            };
            let message =
                Message::new(message).with_hint(Some("run `plumb check` to see them".to_owned()));
            let revision = Some(revision.commit().to_owned());
            self.warn(None, ConditionReason::ManifestsInvalid, message, revision);
        }
        let alertmanagers = revision.alertmanagers().to_vec();
        self.effects
            .push(Effect::FollowAlertmanagers(alertmanagers));
        // The fleet's name is a label of every alert.
        self.alerts_changed(AlertScope::Source);
        self.alerts_changed(AlertScope::Rollouts);
    }

    /// Moves the state of renamed hosts to their new names.
    fn rename_hosts(&mut self, revision: &FleetRevision) {
        for (new, result) in revision.hosts() {
            let HostResult::Ready(intent) = result else {
                continue;
            };
            if self.state.hosts.contains_key(new) {
                continue;
            }
            let left = |old: &&HostName| {
                self.state.hosts.contains_key(*old) && !revision.hosts().contains_key(*old)
            };
            if let Some(old) = intent.formerly.iter().find(left).cloned() {
                self.state.drop_candidate(&old);
                let Some(host) = self.state.hosts.remove(&old) else {
                    continue;
                };
                self.rename(host, &old, new);
            }
        }
    }

    fn rename(&mut self, mut host: HostState, old: &HostName, new: &HostName) {
        host.name = new.clone();
        let tables = [Table::Hosts, Table::Targets].into_iter();
        let mut writes: Vec<_> = tables
            .map(|table| Write::Delete(table, old.to_string()))
            .collect();
        if let Some(target) = &host.target {
            writes.extend(put_target(new, target));
        }
        host.renaming = true;
        let pending = Continuation::Renamed {
            old: Some(old.clone()),
            new: new.clone(),
        };
        self.persist(writes, pending);
        if let Some(run) = host.in_flight {
            self.state.runs.insert(run, new.clone());
        }
        if host.assigning.take().is_some() {
            // The new target is being written under the old name, where nothing will read it.
            self.leave_out(old);
        }
        self.state.queue.rename(old, new);
        self.state.objects.remove(old);
        self.forget_deadline(old, host.alert_at.take());
        let mut changed = false;
        for rollout in &mut self.state.rollouts {
            changed |= rollout.rename(old, new);
        }
        self.alerts_changed(AlertScope::Host(old.clone()));
        self.state.hosts.insert(new.clone(), host);
        if changed {
            self.rollouts_changed();
        }
    }

    /// Ends a rename once the host's records are durable under its new name.
    pub(super) fn renamed(&mut self, name: &HostName) {
        if let Some(host) = self.state.hosts.get_mut(name)
            && host.renaming
        {
            host.renaming = false;
            self.touch(name);
            self.state.queue.add(name, self.now, Trigger::Target);
        }
    }

    /// Stores the accepted commit with its summary, the fleet's name and the limits of rollouts.
    fn remember_revision(&mut self, revision: &FleetRevision) {
        let state = &mut *self.state;
        state.limits.failures = revision.halt_failures();
        let source = &mut state.source;
        source.record.halt_failures = Some(revision.halt_failures());
        source.accepted = Some(revision.commit().to_owned());
        source.record.fleet = Some(revision.fleet().to_string());
        let summary = revision.subject().to_owned();
        let revisions = &mut source.record.revisions;
        if let Some(view) = revisions.iter_mut().find(|r| r.commit == revision.commit()) {
            view.header.summary = summary;
        } else {
            let view = RevisionView {
                commit: revision.commit().to_owned(),
                verdict: CommitVerdict::Accept,
                time: self.now,
                header: CommitHeader {
                    summary,
                    ..CommitHeader::default()
                },
                reasons: Vec::new(),
                hosts: 0,
            };
            revisions.insert(0, view);
        }
        self.writes.extend(put_source(&self.state.source.record));
    }

    /// Updates a host from the newest revision: its desired state, its mode, and its place in the queue.
    pub(super) fn meet(&mut self, name: &HostName) {
        let Some(head) = self.state.head.clone() else {
            return;
        };
        let Some(result) = head.hosts().get(name) else {
            return;
        };
        self.touched.insert(name.clone());
        let state = &mut *self.state;
        let host = state
            .hosts
            .entry(name.clone())
            .or_insert_with(|| HostState::new(name.clone()));
        host.head.clone_from(&state.head_commit);
        // The new revision may resolve what stalls a host, so a stalled host is retried at once.
        let stalled = host.progress.is_stalled();
        let was_driven = host.mode == HostMode::Driven;
        match result {
            HostResult::Held(diagnostics) => {
                let message = diagnostics.first().map_or_else(
                    || Message::from("its manifests have errors"),
                    |d| {
                        Message::new(format!("{}: {}", d.span, d.message)).with_hint(d.hint.clone())
                    },
                );
                host.wanted = WantedState::Held(message);
                // The manifest can't say how to treat a held host, so its mode stays.
                if host.mode == HostMode::Released {
                    host.mode = HostMode::Driven;
                }
            }
            HostResult::Ready(intent) => {
                if *host.labels != intent.labels {
                    host.labels = Arc::new(intent.labels.clone());
                }
                host.mode = mode(intent, self.now);
                let wanted = head.goal(name);
                host.wanted = wanted.map_or(WantedState::Unknown, WantedState::State);
                // The desired state didn't change, so the host has the newer revision already.
                if let Some(target) = &mut host.target
                    && Some(target.digest) == wanted
                    && target.revision != head.commit()
                {
                    if host.revision.as_ref() == Some(&target.revision) {
                        host.revision = Some(head.commit().to_owned());
                    }
                    head.commit().clone_into(&mut target.revision);
                    self.writes.extend(put_target(name, target));
                }
            }
        }
        let run_at = match &host.mode {
            HostMode::Driven if matches!(host.wanted, WantedState::State(_)) => Some(self.now),
            HostMode::Driven => host.target.as_ref().map(|_| self.now),
            HostMode::Suspended(pause) => pause.until,
            HostMode::Dormant | HostMode::Unmanaged | HostMode::Released => None,
        };
        if host.mode == HostMode::Driven && !was_driven {
            host.progress = Progress::Begun;
        }
        if stalled {
            host.backoff = Backoff::default();
        }
        let driven = host.mode == HostMode::Driven;
        if !driven {
            state.queue.remove(name);
            self.leave_out(name);
        }
        // A queued host has its next run anyway, so a commit alone doesn't schedule an earlier one.
        if let Some(at) = run_at
            && (stalled || !driven || !was_driven || !self.state.queue.holds(name))
        {
            self.state.queue.add(name, at, Trigger::Resync);
        }
    }

    /// Releases hosts that are no longer in git. Plumb leaves them unchanged, and reports them until a person
    /// forgets them.
    fn release_hosts(&mut self, revision: &FleetRevision) {
        let hosts = self.state.hosts.iter();
        let left: Vec<_> = hosts
            .filter(|(name, host)| {
                !revision.hosts().contains_key(*name) && host.wanted != WantedState::Nothing
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in left {
            let Some(host) = self.state.hosts.get_mut(&name) else {
                continue;
            };
            let news = host.mode != HostMode::Released;
            host.mode = HostMode::Released;
            host.wanted = WantedState::Nothing;
            host.backoff = Backoff::default();
            self.touched.insert(name.clone());
            self.state.queue.remove(&name);
            self.leave_out(&name);
            if news {
                let message = "removed from git; the host is left as it is".to_owned();
                let revision = Some(revision.commit().to_owned());
                self.warn(Some(&name), ConditionReason::Released, message, revision);
            }
        }
    }

    /// Drops desired states and loaded revisions that no host needs any more.
    fn collect(&mut self) {
        let mut states = BTreeSet::new();
        let mut revisions = BTreeSet::new();
        for host in self.state.hosts.values() {
            states.extend(host.held);
            for target in host.target.iter().chain(&host.assigning) {
                states.insert(target.digest);
                revisions.insert(target.revision.clone());
            }
        }
        let gone = self.state.states.keys();
        let gone: Vec<_> = gone.filter(|one| !states.contains(one)).copied().collect();
        for digest in gone {
            self.state.states.remove(&digest);
            self.writes
                .push(Write::Delete(Table::States, digest.to_string()));
        }
        self.state.older.retain(|commit, old| {
            matches!(old, OldRevision::Loading) || revisions.contains(commit)
        });
    }

    /// Records that a host was forgotten.
    pub(super) fn record_forgotten(&mut self, host: &HostName, in_git: bool) {
        let message = if in_git {
            "forgotten; if git still has it, it is treated as a new host"
        } else {
            "forgotten"
        };
        let reason = ConditionReason::Forgotten;
        self.record(
            Some(host),
            EventKind::Normal,
            reason,
            message.to_owned(),
            None,
        );
    }
}
