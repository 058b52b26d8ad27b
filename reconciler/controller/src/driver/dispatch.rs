//! From a host whose time has come to a run on it.

use std::sync::Arc;

use plumb_api::frame::{Fence, PROTOCOL};
use plumb_api::{Digest, HostName};
use plumb_core::desired::{HostIntent, Lifecycle};
use plumb_core::ports::{ContentSource, HostTarget, Route};
use plumb_core::status::{HostStatus, Target};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::adopt::{Standing, standing};
use super::{Driver, Old};
use crate::desired::Accepted;
use crate::persist::put_host;
use crate::queue::Trigger;
use crate::run::{Job, Mode, run};

/// What becomes of a host whose time has come.
enum Next {
    Run(Box<Job>),
    /// Not now; it is asked for again by whatever changes that.
    NotNow,
}

/// The contents of several revisions, for a host between them.
struct All(Vec<Arc<Accepted>>);

impl ContentSource for All {
    fn content(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.0.iter().find_map(|one| one.contents().get(digest))
    }
}

impl Driver {
    /// Starts a host's run.
    pub(super) fn dispatch(&mut self, host: &HostName, trigger: Trigger) {
        let Next::Run(job) = self.next(host) else {
            self.queue.finish(host);
            return;
        };
        let span = tracing::info_span!(
            "run",
            %host,
            %trigger,
            revision = %job.goal.revision,
            mode = ?job.mode,
        );
        let work = run(
            (*job).clone(),
            self.parts.hosts.clone(),
            self.parts.source.clone(),
        );
        let task = self.runs.spawn(work.instrument(span));
        self.jobs.insert(task.id(), *job);
    }

    fn next(&mut self, host: &HostName) -> Next {
        let Some(head) = self.head.clone() else {
            return Next::NotNow;
        };
        let Some(status) = self.status(host) else {
            return Next::NotNow;
        };
        if !head.hosts().contains_key(host) {
            return Next::NotNow;
        }
        let own = head.intent(host).cloned();
        if let Some(intent) = &own {
            let now = self.now();
            match standing(intent, now) {
                Standing::Driven => {
                    let suspended = plumb_core::status::ConditionType::Suspended;
                    if status.conditions.is_true(suspended) {
                        // The pause has run out by itself.
                        self.resume(host);
                    }
                }
                Standing::Suspended(_) | Standing::Left(..) => return Next::NotNow,
            }
        }
        match status.target.clone() {
            None => match own {
                Some(intent) => {
                    let goal = Target {
                        revision: head.commit().to_owned(),
                        digest: head.goal(host).unwrap_or(intent.desired.digest()),
                    };
                    let contents = All(vec![head.clone()]);
                    self.job(&head, &status, intent, goal, Mode::Look, contents)
                }
                None => Next::NotNow,
            },
            Some(target) => match self.towards(&head, host, own.as_ref(), &target) {
                Towards::Intent(intent, contents) => {
                    let mode = if self.superseded.contains(host) {
                        Mode::Look
                    } else {
                        Mode::Drive
                    };
                    self.job(&head, &status, intent, target, mode, contents)
                }
                Towards::Wait => Next::NotNow,
                Towards::Unknown => {
                    // What it was driven to can't be made again: it gets what is newest, in its turn.
                    tracing::warn!(%host, revision = %target.revision, "its target can't be made again");
                    self.lose_target(host);
                    self.blank.insert(host.clone());
                    self.queue.finish(host);
                    self.queue.add(host.clone(), Instant::now(), Trigger::Retry);
                    Next::NotNow
                }
            },
        }
    }

    fn status(&self, host: &HostName) -> Option<HostStatus> {
        let world = self.shared.read();
        world.hosts.get(host).map(|record| record.status.clone())
    }

    /// The intent that leads a host to its target.
    fn towards(
        &mut self,
        head: &Arc<Accepted>,
        host: &HostName,
        own: Option<&Arc<HostIntent>>,
        target: &Target,
    ) -> Towards {
        if let Some(own) = own.filter(|_| head.goal(host) == Some(target.digest)) {
            return Towards::Intent(own.clone(), All(vec![head.clone()]));
        }
        let old = if target.revision == head.commit() {
            Some(head.clone())
        } else {
            self.load_older(&target.revision);
            match self.older.get(&target.revision) {
                Some(Old::Here(old)) => Some(old.clone()),
                Some(Old::Loading) => return Towards::Wait,
                Some(Old::Missing(_)) | None => None,
            }
        };
        let mut contents = vec![head.clone()];
        contents.extend(old.clone());
        let then = old.as_ref().and_then(|old| {
            let intent = old.intent(host)?;
            (old.goal(host)? == target.digest).then(|| intent.clone())
        });
        let kept = self.states.get(&target.digest).cloned();
        // How it is reached and what is done about drift is as the newest revision says; what is
        // desired on it is as its target says.
        let ways = own
            .cloned()
            .or_else(|| old.as_ref().and_then(|old| old.intent(host).cloned()));
        match (then, kept, ways) {
            (Some(then), _, Some(ways)) => Towards::Intent(
                Arc::new(HostIntent {
                    lifecycle: then.lifecycle,
                    desired: then.desired.clone(),
                    ..(*ways).clone()
                }),
                All(contents),
            ),
            (None, Some(kept), Some(ways)) => Towards::Intent(
                Arc::new(HostIntent {
                    lifecycle: Lifecycle::Active,
                    desired: (*kept).clone(),
                    ..(*ways).clone()
                }),
                All(contents),
            ),
            (None, None, Some(_)) => Towards::Unknown,
            // A held host whose old revision can't be had isn't reached by anything.
            (_, _, None) => Towards::Wait,
        }
    }

    fn job(
        &self,
        head: &Accepted,
        status: &HostStatus,
        intent: Arc<HostIntent>,
        goal: Target,
        mode: Mode,
        contents: All,
    ) -> Next {
        let host = &status.host;
        let route = self.settings.routes.get(host).cloned();
        let route = route.unwrap_or_else(|| Route::Ssh {
            endpoints: intent.connect.clone(),
            host_keys: intent.host_keys.clone(),
        });
        let (identity, rollbacks) = {
            let world = self.shared.read();
            (world.identity.clone(), world.record.rollbacks.clone())
        };
        Next::Run(Box::new(Job {
            target: HostTarget {
                name: host.clone(),
                arch: intent.arch.clone(),
                route,
            },
            base: status.held.and_then(|held| self.states.get(&held).cloned()),
            sequence: status.ledger_sequence,
            fence: Fence {
                protocol: PROTOCOL,
                fleet: head.fleet().clone(),
                host: host.clone(),
                formerly: intent.formerly.clone(),
                controller: identity.id,
                epoch: identity.epoch,
                take_over: self.take_over(),
            },
            rollbacks,
            contents: Arc::new(contents),
            silence: self.settings.silence,
            intent,
            goal,
            mode,
        }))
    }

    /// A host has no target any more: it is looked at before anything is changed on it.
    pub(super) fn lose_target(&mut self, host: &HostName) {
        use plumb_core::ports::{Table, Write};
        let mut world = self.shared.write();
        if let Some(record) = world.hosts.get_mut(host) {
            record.status.target = None;
            record
                .status
                .conditions
                .remove(plumb_core::status::ConditionType::Synced);
            let mut writes = vec![Write::Delete(Table::Targets, host.to_string())];
            writes.extend(put_host(record));
            self.keeper.write(writes);
        }
        self.pending.insert(host.clone());
        self.looked_at.remove(host);
    }

    /// A pause is over.
    fn resume(&mut self, host: &HostName) {
        let now = self.now();
        let mut world = self.shared.write();
        if let Some(record) = world.hosts.get_mut(host) {
            let mut setter = crate::conditions::Setter { record, now };
            setter.remove(plumb_core::status::ConditionType::Suspended);
            setter.under_way("Resumed", "its pause is over");
            self.keeper.write(put_host(record));
        }
        let wanted = self.head.as_ref().and_then(|head| head.goal(host));
        let target = world.hosts.get(host).and_then(|r| r.status.target.as_ref());
        if target.map(|target| target.digest) != wanted {
            self.pending.insert(host.clone());
        }
    }
}

/// What leads a host to its target.
enum Towards {
    Intent(Arc<HostIntent>, All),
    /// It is being loaded.
    Wait,
    /// Nothing does.
    Unknown,
}
