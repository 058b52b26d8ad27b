//! Starts runs on due hosts.

use std::sync::Arc;

use plumb_api::frame::{Fence, PROTOCOL};
use plumb_api::{Address, HostName};

use super::effect::{CommandError, Effect, RequestId, RunId, StartRun};
use super::host::{HostMode, Progress};
use super::persist::{Continuation, put_host};
use super::queue::Trigger;
use super::run::RunMode;
use super::{FleetRevision, OldRevision, Step, later};
use crate::desired::{HostIntent, Lifecycle};
use crate::ports::{Table, Write};
use crate::status::Target;

/// Delay before the controller tries again to load a revision.
const RELOAD_INTERVAL: std::time::Duration = std::time::Duration::from_mins(1);

/// The result of looking up the desired state of a host's target.
enum RunTarget {
    /// The run applies this intent. The revisions contain the contents that its specs refer to.
    Intent(Arc<HostIntent>, Vec<Arc<FleetRevision>>),
    /// No run is possible yet: the revision is being loaded, or no revision says how to reach the host.
    Wait,
    /// The desired state of the target can't be recovered.
    Lost,
}

impl Step<'_> {
    /// Starts runs on due hosts, as long as there are free slots.
    pub(super) fn dispatch(&mut self) {
        if self.state.draining {
            return;
        }
        while let Some((host, trigger)) = self.state.queue.take(self.now) {
            match self.run_for(&host, trigger) {
                Some(run) => {
                    if let Some(host) = self.state.hosts.get_mut(&host) {
                        host.in_flight = Some(run.id);
                    }
                    self.state.runs.insert(run.id, host);
                    self.effects.push(Effect::StartRun(Box::new(run)));
                }
                // No run is possible now. The event that makes one possible schedules the host again.
                None => self.state.queue.finish(&host),
            }
        }
    }

    fn run_for(&mut self, name: &HostName, trigger: Trigger) -> Option<StartRun> {
        let head = self.state.head.clone()?;
        let own = head.intent(name).cloned();
        let host = self.state.hosts.get_mut(name)?;
        // While a new target or name is being written, or the host's records are being deleted, a run must
        // neither use the old ones nor drop them.
        let is_written = host.forgetting || host.renaming || host.assigning.is_some();
        if is_written || !head.hosts().contains_key(name) {
            return None;
        }
        match &host.mode {
            HostMode::Driven => {}
            HostMode::Suspended(pause) if pause.until.is_some_and(|until| until <= self.now) => {
                host.mode = HostMode::Driven;
                host.progress = Progress::Resumed;
                self.touched.insert(name.clone());
            }
            HostMode::Suspended(pause) => {
                if let Some(until) = pause.until {
                    self.state.queue.finish(name);
                    self.state.queue.add(name, until, Trigger::Resync);
                }
                return None;
            }
            HostMode::Dormant | HostMode::Unmanaged | HostMode::Released => return None,
        }
        let Some(target) = host.target.clone() else {
            let intent = own?;
            let target = Target {
                revision: head.commit().to_owned(),
                digest: head.goal(name).unwrap_or(intent.desired.digest()),
            };
            return self.start(name, trigger, intent, target, RunMode::Look, vec![head]);
        };
        let mode = if host.superseded {
            RunMode::Look
        } else {
            RunMode::Drive
        };
        match self.route(&head, name, own.as_ref(), &target) {
            RunTarget::Intent(intent, contents) => {
                self.start(name, trigger, intent, target, mode, contents)
            }
            RunTarget::Wait => None,
            RunTarget::Lost => {
                // The host gets the newest target when its turn comes.
                self.lose_target(name);
                if let Some(host) = self.state.hosts.get_mut(name) {
                    host.blank = true;
                }
                self.state.queue.add(name, self.now, Trigger::Retry);
                None
            }
        }
    }

    /// Returns the intent that brings a host to its target.
    fn route(
        &mut self,
        head: &Arc<FleetRevision>,
        host: &HostName,
        own: Option<&Arc<HostIntent>>,
        target: &Target,
    ) -> RunTarget {
        if let Some(own) = own.filter(|_| head.goal(host) == Some(target.digest)) {
            return RunTarget::Intent(own.clone(), vec![head.clone()]);
        }
        let old = if target.revision == head.commit() {
            Some(head.clone())
        } else {
            self.load_older(&target.revision);
            match self.state.older.get(&target.revision) {
                Some(OldRevision::Loaded(old)) => Some(old.clone()),
                Some(OldRevision::Loading) => return RunTarget::Wait,
                Some(OldRevision::Missing(_)) | None => None,
            }
        };
        let mut contents = vec![head.clone()];
        contents.extend(old.clone());
        let then = old.as_ref().and_then(|old| {
            let intent = old.intent(host)?;
            (old.goal(host)? == target.digest).then(|| intent.clone())
        });
        let stored = self.state.states.get(&target.digest);
        // The connection and the drift settings come from the newest revision; the desired state comes from
        // the target.
        let ways = own
            .cloned()
            .or_else(|| old.as_ref().and_then(|old| old.intent(host).cloned()));
        match (then, stored, ways) {
            (Some(then), _, Some(ways)) => RunTarget::Intent(
                Arc::new(HostIntent {
                    lifecycle: then.lifecycle,
                    desired: then.desired.clone(),
                    ..(*ways).clone()
                }),
                contents,
            ),
            (None, Some(stored), Some(ways)) => RunTarget::Intent(
                Arc::new(HostIntent {
                    lifecycle: Lifecycle::Active,
                    desired: (**stored).clone(),
                    ..(*ways).clone()
                }),
                contents,
            ),
            (None, None, Some(_)) => RunTarget::Lost,
            (_, _, None) => RunTarget::Wait,
        }
    }

    /// Begins to load an older revision that is still a host's target, unless it is loaded already or an
    /// attempt failed recently.
    fn load_older(&mut self, commit: &str) {
        let again = match self.state.older.get(commit) {
            None => true,
            Some(OldRevision::Missing(since)) => later(*since, RELOAD_INTERVAL) <= self.now,
            Some(OldRevision::Loading | OldRevision::Loaded(_)) => false,
        };
        if !again {
            return;
        }
        let record = &self.state.source.record;
        let accepted = record.floor_from(&self.state.settings.introduction);
        let old = match accepted.cloned() {
            Some(accepted) => {
                let commit = commit.to_owned();
                self.effects.push(Effect::LoadRevision { commit, accepted });
                OldRevision::Loading
            }
            None => OldRevision::Missing(self.now),
        };
        self.state.older.insert(commit.to_owned(), old);
    }

    pub(super) fn revision_loaded(&mut self, commit: String, revision: Option<Arc<FleetRevision>>) {
        let hosts = self.state.hosts.values();
        let waiting: Vec<_> = hosts
            .filter(|host| {
                let target = host.target.as_ref();
                target.is_some_and(|target| target.revision == commit)
            })
            .map(|host| host.name.clone())
            .collect();
        let old = revision.map_or(OldRevision::Missing(self.now), OldRevision::Loaded);
        self.state.older.insert(commit, old);
        for host in waiting {
            self.state.queue.add(&host, self.now, Trigger::Target);
        }
    }

    fn start(
        &mut self,
        name: &HostName,
        trigger: Trigger,
        intent: Arc<HostIntent>,
        target: Target,
        mode: RunMode,
        contents: Vec<Arc<FleetRevision>>,
    ) -> Option<StartRun> {
        let state = &mut *self.state;
        let host = state.hosts.get(name)?;
        let id = RunId(state.next_id);
        state.next_id += 1;
        Some(StartRun {
            id,
            trigger,
            base: host.held.and_then(|held| state.states.get(&held).cloned()),
            ledger_sequence: host.ledger_sequence,
            fence: Fence {
                protocol: PROTOCOL,
                fleet: state.head.as_ref()?.fleet().clone(),
                host: name.clone(),
                formerly: intent.formerly.clone(),
                controller: state.identity.id.clone(),
                epoch: state.identity.epoch,
                take_over: state.settings.take_over,
            },
            confirm_within: state.head.as_ref()?.confirm_within(),
            let_go: host.let_go.iter().cloned().collect(),
            rollbacks: state.source.record.rollbacks.clone(),
            intent,
            target,
            mode,
            contents,
        })
    }

    /// Drops a host's target. The next run reads the host's ledger before anything is changed there.
    pub(super) fn lose_target(&mut self, name: &HostName) {
        if let Some(host) = self.state.hosts.get_mut(name) {
            host.target = None;
            host.met = false;
            self.touched.insert(name.clone());
            self.writes
                .push(Write::Delete(Table::Targets, name.to_string()));
        }
        self.return_to_backlog(name);
    }

    /// Handles a person's request to reconcile these hosts now.
    pub(super) fn reconcile_asked(&mut self, hosts: Vec<HostName>, request: RequestId) {
        let unknown = hosts.iter().find(|h| !self.state.hosts.contains_key(*h));
        let answer = if let Some(unknown) = unknown {
            Err(CommandError::NoSuchHost(unknown.clone()))
        } else {
            let hosts = if hosts.is_empty() {
                self.state.hosts.keys().cloned().collect()
            } else {
                hosts
            };
            for name in &hosts {
                // A request by a person also retries hosts that another controller drives.
                if let Some(host) = self.state.hosts.get_mut(name) {
                    host.superseded = false;
                    self.touched.insert(name.clone());
                }
                self.state.queue.add(name, self.now, Trigger::Manual);
            }
            Ok(hosts)
        };
        self.effects.push(Effect::Answer { request, answer });
    }

    /// Handles a person's request to drop a resource from a host's ledger, because Plumb can't remove or
    /// restore it. A run drops the resource once the request is durable.
    pub(super) fn let_go_asked(&mut self, name: &HostName, address: &Address, request: RequestId) {
        let answer = match self.state.hosts.get_mut(name) {
            None => Err(CommandError::NoSuchHost(name.clone())),
            Some(host) if host.give_backs.iter().all(|one| one.resource != *address) => {
                Err(CommandError::NotLeaving(name.clone(), address.clone()))
            }
            Some(host) => {
                host.let_go.insert(address.clone());
                Ok(put_host(&host.record()))
            }
        };
        match answer {
            Ok(write) => {
                let pending = Continuation::LetGo(name.clone(), request);
                self.persist(write.into_iter().collect(), pending);
            }
            Err(error) => {
                let answer = Err(error);
                self.effects.push(Effect::Answer { request, answer });
            }
        }
    }

    /// Handles a person's request to forget a host. The host is dropped once its records are deleted.
    pub(super) fn forget_asked(&mut self, name: &HostName, request: RequestId) {
        let answer = match self.state.hosts.get_mut(name) {
            None => Err(CommandError::NoSuchHost(name.clone())),
            Some(host) if host.in_flight.is_some() || host.assigning.is_some() || host.renaming => {
                Err(CommandError::Busy(name.clone()))
            }
            Some(host) => {
                host.forgetting = true;
                self.touched.insert(name.clone());
                Ok(())
            }
        };
        if let Err(error) = answer {
            let answer = Err(error);
            self.effects.push(Effect::Answer { request, answer });
            return;
        }
        let writes = [Table::Hosts, Table::Targets]
            .into_iter()
            .map(|table| Write::Delete(table, name.to_string()))
            .collect();
        self.persist(writes, Continuation::Forget(name.clone(), request));
    }

    /// Drops a host once its records are deleted.
    pub(super) fn forgotten(&mut self, name: &HostName, request: RequestId) {
        self.state.drop_candidate(name);
        let Some(host) = self.state.hosts.remove(name) else {
            let answer = Err(CommandError::NoSuchHost(name.clone()));
            self.effects.push(Effect::Answer { request, answer });
            return;
        };
        let revision = host.object.status.revision.clone();
        self.state.tally_revision(revision, None);
        self.state.objects.remove(name);
        self.state.queue.remove(name);
        self.forget_deadline(name, host.alert_at);
        self.leave_out(name);
        self.alerts_changed(crate::alerting::AlertScope::Host(name.clone()));
        let head = self.state.head.as_ref();
        let in_git = head.is_some_and(|head| head.hosts().contains_key(name));
        self.record_forgotten(name, in_git);
        if in_git {
            self.meet(name);
        }
        let answer = Ok(vec![name.clone()]);
        self.effects.push(Effect::Answer { request, answer });
    }
}
