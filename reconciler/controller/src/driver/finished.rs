//! What came of a host's run: status, events, when to look again, and who is next.

use plumb_api::HostName;
use plumb_api::frame::{LedgerState, TakeOver};
use plumb_api::plan::{Cause as Moved, Op};
use plumb_api::report::Retry;
use plumb_core::rollout;
use plumb_core::status::{ConditionType, Target};
use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::Driver;
use crate::backoff::Verdict;
use crate::conditions::{Counted, Setter, Turn, named};
use crate::event::EventKind;
use crate::persist::{put_host, put_identity, put_rollout, put_target};
use crate::queue::Trigger;
use crate::run::{Cause, Contact, Ended, Failed, Job, Mode, Ran, panicked};

/// What happens next with a host.
struct Next {
    at: Instant,
    trigger: Trigger,
    counted: Counted,
}

impl Driver {
    /// A run's task is over, one way or another.
    pub(super) async fn run_ended(&mut self, done: Result<(Id, Ran), JoinError>) {
        let (id, ran) = match done {
            Ok((id, ran)) => (id, Some(ran)),
            Err(error) => {
                // A panic fails this host and nothing else.
                tracing::error!(%error, "a run crashed");
                (error.id(), None)
            }
        };
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let crashed = ran.is_none();
        let ran = ran.unwrap_or_else(|| panicked(&job));
        self.count(&ran, crashed);
        self.finished(&job, ran).await;
    }

    async fn finished(&mut self, job: &Job, ran: Ran) {
        let host = job.host().clone();
        self.queue.finish(&host);
        let alive = self
            .head
            .as_ref()
            .is_some_and(|head| head.hosts().contains_key(&host));
        if !alive || !self.shared.read().hosts.contains_key(&host) {
            return;
        }
        let next = self.next_after(&host, &ran);
        self.tell_of_run(&host, &ran);
        {
            let now = self.now();
            let mut world = self.shared.write();
            let world = &mut *world;
            if let Some(record) = world.hosts.get_mut(&host) {
                Setter { record, now }.after(&ran, next.counted);
            }
            if let Some(ended) = rollout_end(&ran) {
                let before = world.rollout.clone();
                world.rollout.ended(&host, ran.goal.digest, ended, now);
                if before != world.rollout {
                    self.keeper.write(put_rollout(&world.rollout));
                }
            }
        }
        self.queue.add(host.clone(), next.at, next.trigger);
        match &ran.ended {
            Ended::Looked => self.after_look(&host, &ran).await,
            Ended::Newer { .. } => self.after_newer(&host, &ran),
            Ended::Failed(failed) if failed.reason == "Superseded" => self.superseded(&host),
            _ => {}
        }
        self.settle_status(&host);
        self.spread().await;
        self.soon();
    }

    /// When the host is looked at again, counted from now, the end of the run.
    fn next_after(&mut self, host: &HostName, ran: &Ran) -> Next {
        let now = Instant::now();
        let waits = self.settings.waits;
        let backoff = self.backoffs.entry(host.clone()).or_default();
        let (reason, retry) = match &ran.ended {
            Ended::Settled => {
                backoff.succeeded();
                return Next {
                    at: now + self.jitter.around(self.settings.resync),
                    trigger: Trigger::Resync,
                    counted: Counted::Success,
                };
            }
            Ended::Looked => {
                return Next {
                    at: now + self.jitter.around(self.settings.resync),
                    trigger: Trigger::Resync,
                    counted: Counted::None,
                };
            }
            Ended::Refused(refusal) => (refusal.reason(), refusal.retry()),
            Ended::Partly(failed) | Ended::Failed(failed) => (failed.reason, failed.retry),
            Ended::Newer { .. } => ("WouldGoBack", Retry::Stalled),
            Ended::OffChain { .. } => ("OffVerifiedChain", Retry::Stalled),
            Ended::Rewound { .. } => ("LedgerRewound", Retry::Stalled),
        };
        let Verdict { at, counted } = backoff.failed(reason, retry, &waits, now, &mut self.jitter);
        Next {
            at,
            trigger: Trigger::Retry,
            counted: if counted {
                Counted::Failure
            } else {
                Counted::None
            },
        }
    }

    /// A host was looked at before anything may be changed on it: its own ledger says what it is to
    /// be kept at until its turn comes.
    async fn after_look(&mut self, host: &HostName, ran: &Ran) {
        let Some(ledger) = ran.seen.as_ref().map(|seen| seen.ledger.clone()) else {
            return;
        };
        if self.superseded.contains(host) {
            self.try_to_take_over(host, &ledger).await;
            return;
        }
        let wanted = self.head.as_ref().and_then(|head| head.goal(host));
        let sound = ledger.state == LedgerState::Sound;
        let target = match (ledger.confirmed, ledger.revision) {
            (Some(confirmed), _) if sound && Some(confirmed) == wanted => Some(Target {
                revision: ran.goal.revision.clone(),
                digest: confirmed,
            }),
            (Some(digest), Some(revision)) if sound && !self.blank.contains(host) => Some(Target {
                revision: revision.0,
                digest,
            }),
            _ => None,
        };
        let Some(target) = target else {
            self.looked_at.insert(host.clone());
            self.pending.insert(host.clone());
            return;
        };
        let write = put_target(host, &target);
        if Some(target.digest) == wanted {
            self.pending.remove(host);
            if let Some(intent) = self.head.as_ref().and_then(|head| head.intent(host)) {
                let state = std::sync::Arc::new(plumb_core::plan::goal(intent));
                self.keeper.write(crate::persist::put_state(&state));
                self.states.insert(state.digest(), state);
            }
        } else {
            self.pending.insert(host.clone());
        }
        if let Some(record) = self.shared.write().hosts.get_mut(host) {
            record.status.target = Some(target);
        }
        if let Err(error) = self.keeper.durable(write).await {
            tracing::error!(%host, %error, "its target can't be kept");
        }
        self.queue
            .add(host.clone(), Instant::now(), Trigger::Target);
    }

    /// The host ran something newer than it would be driven to. Unless that is newer than all that is
    /// accepted, its target was out of date: it is met anew.
    fn after_newer(&mut self, host: &HostName, ran: &Ran) {
        let head = self.head.as_ref().map(|head| head.commit());
        if ran.mode == Mode::Drive && head != Some(ran.goal.revision.as_str()) {
            self.lose_target(host);
            self.queue
                .add(host.clone(), Instant::now(), Trigger::Target);
        }
    }

    /// Another controller drives this host: ours stops.
    fn superseded(&mut self, host: &HostName) {
        self.superseded.insert(host.clone());
        let mut world = self.shared.write();
        world.rollout.leave_out(host);
        self.keeper.write(put_rollout(&world.rollout));
        drop(world);
        if self.take_over() == TakeOver::Yes {
            // Its ledger says what has to be surpassed.
            self.queue.add(host.clone(), Instant::now(), Trigger::Retry);
        }
    }

    async fn try_to_take_over(
        &mut self,
        host: &HostName,
        ledger: &plumb_api::frame::LedgerSummary,
    ) {
        let identity = self.shared.read().identity.clone();
        let ours = ledger.controller.as_ref() == Some(&identity.id);
        if ours && ledger.epoch.is_none_or(|epoch| epoch <= identity.epoch) {
            self.superseded.remove(host);
            self.queue.add(host.clone(), Instant::now(), Trigger::Retry);
            return;
        }
        if self.take_over() == TakeOver::No {
            return;
        }
        let highest = ledger.epoch.unwrap_or(identity.epoch);
        if highest >= identity.epoch {
            let raised = crate::persist::Identity {
                epoch: plumb_api::Epoch(highest.0.saturating_add(1)),
                ..identity
            };
            // An epoch that a restart would fall behind must not reach a host.
            if let Err(error) = self.keeper.durable([put_identity(&raised)]).await {
                tracing::error!(%error, "a raised epoch can't be kept; nothing is taken over");
                return;
            }
            self.shared.write().identity = raised;
        }
        self.superseded.remove(host);
        let message = "it was another controller's and is taken over".to_owned();
        self.event(Some(host), EventKind::Warning, "TakenOver", message, None);
        self.queue.add(host.clone(), Instant::now(), Trigger::Retry);
    }

    /// What follows from a status as a whole; then it is kept.
    fn settle_status(&mut self, host: &HostName) {
        let Some(head) = self.head.clone() else {
            return;
        };
        let now = self.now();
        let mut world = self.shared.write();
        let turn = Turn::of(&world.rollout, world.limits);
        let Some(record) = world.hosts.get_mut(host) else {
            return;
        };
        let mut setter = Setter { record, now };
        if head.intent(host).is_some() {
            setter.synced(head.commit(), head.goal(host), &turn);
        }
        #[cfg(test)]
        {
            let wrong = crate::conditions::violations(record);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
        self.keeper.write(put_host(record));
    }

    fn count(&mut self, ran: &Ran, crashed: bool) {
        let mut world = self.shared.write();
        let metrics = &mut world.metrics;
        let result = match &ran.ended {
            _ if crashed => "panic",
            Ended::Settled | Ended::Looked => "success",
            Ended::Partly(_) => "partial",
            Ended::Refused(_)
            | Ended::Newer { .. }
            | Ended::OffChain { .. }
            | Ended::Rewound { .. } => "refused",
            Ended::Failed(_) => "error",
        };
        metrics.count("plumb_reconciles_total", "result", result);
        for (phase, took) in &ran.phases {
            let labels = vec![("phase", (*phase).to_owned())];
            metrics.took("plumb_reconcile_duration_seconds", labels, *took);
        }
        for (change, result) in &ran.outcomes {
            let action = match change.op {
                Op::Create => "create",
                Op::Update => "update",
                Op::Replace => "replace",
                Op::Delete => "delete",
                Op::Run => "run",
            };
            let labels = vec![
                ("kind", change.address.kind().as_str().to_owned()),
                ("action", action.to_owned()),
                ("result", (*result).to_owned()),
            ];
            metrics.add("plumb_resource_operations_total", labels, 1);
        }
        if let Ended::Failed(Failed {
            contact: Contact::Lost,
            reason,
            ..
        }) = &ran.ended
        {
            metrics.count("plumb_ssh_errors_total", "reason", reason);
        }
    }

    /// Events: what was changed, what drifted, what went wrong; not that nothing happened.
    fn tell_of_run(&mut self, host: &HostName, ran: &Ran) {
        let revision = || Some(ran.goal.revision.clone());
        let drifted: Vec<_> = ran
            .applied
            .iter()
            .filter(|change| change.cause != Moved::Intent)
            .map(|change| change.address.to_string())
            .collect();
        if !drifted.is_empty() {
            let message = format!("{} had moved and was put back", named(&drifted));
            self.event(
                Some(host),
                EventKind::Warning,
                "DriftCorrected",
                message,
                revision(),
            );
        }
        let held: Vec<_> = ran
            .planned
            .iter()
            .filter(|planned| planned.refusal.is_none())
            .flat_map(plumb_core::plan::Planned::drift_to_tell)
            .map(|held| held.address.to_string())
            .collect();
        let before = self.condition(host, ConditionType::Drifted);
        if !held.is_empty() && before.as_deref() != Some("DriftHeld") {
            let message = format!("{} moved and is left as found", named(&held));
            self.event(
                Some(host),
                EventKind::Warning,
                "DriftFound",
                message,
                revision(),
            );
        }
        let intended = ran.applied.len() - drifted.len();
        if intended > 0 {
            let names: Vec<_> = ran
                .applied
                .iter()
                .filter(|change| change.cause == Moved::Intent)
                .map(|change| change.address.to_string())
                .collect();
            let changes = if intended == 1 { "change" } else { "changes" };
            let message = format!("{intended} {changes}: {}", named(&names));
            self.event(
                Some(host),
                EventKind::Normal,
                "Applied",
                message,
                revision(),
            );
        }
        let wrong = match &ran.ended {
            Ended::Settled | Ended::Looked => None,
            Ended::Partly(failed) | Ended::Failed(failed) => {
                Some((failed.reason, failed.message.clone()))
            }
            Ended::Refused(refusal) => Some((refusal.reason(), refusal.to_string())),
            Ended::Newer { ran } => Some(("WouldGoBack", format!("it ran {ran}"))),
            Ended::OffChain { ran } => Some(("OffVerifiedChain", format!("it ran {ran}"))),
            Ended::Rewound { known, found } => Some((
                "LedgerRewound",
                format!("its ledger went back from {known} to {found}"),
            )),
        };
        let ready = self.condition(host, ConditionType::Ready);
        match wrong {
            Some((reason, message)) if ready.as_deref() != Some(reason) => {
                self.event(Some(host), EventKind::Warning, reason, message, revision());
            }
            None if ran.ended == Ended::Settled => {
                let recovered = ready.is_some_and(|reason| {
                    !matches!(
                        reason.as_str(),
                        "Settled" | "Drifted" | "NewTarget" | "AwaitingTurn" | "Begun"
                    )
                });
                if recovered {
                    let message = "it is as it should be again".to_owned();
                    self.event(
                        Some(host),
                        EventKind::Normal,
                        "Recovered",
                        message,
                        revision(),
                    );
                }
            }
            _ => {}
        }
    }

    fn condition(&self, host: &HostName, kind: ConditionType) -> Option<String> {
        let world = self.shared.read();
        let condition = world.hosts.get(host)?.status.conditions.get(kind)?;
        Some(condition.reason.clone())
    }
}

/// What a run means to the rollout.
fn rollout_end(ran: &Ran) -> Option<rollout::Ended> {
    if ran.mode == Mode::Look {
        return None;
    }
    Some(match &ran.ended {
        Ended::Settled => rollout::Ended::Reached,
        Ended::Looked => return None,
        Ended::Refused(refusal) if refusal.retry() == Retry::Waiting => rollout::Ended::UnderWay,
        Ended::Refused(refusal) => rollout::Ended::Failed(refusal.to_string()),
        Ended::Partly(failed) | Ended::Failed(failed) if failed.retry == Retry::Waiting => {
            rollout::Ended::UnderWay
        }
        // It can't be reached; if it was being changed, it is lost.
        Ended::Failed(failed)
            if failed.contact == Contact::Lost && failed.cause != Cause::Change =>
        {
            rollout::Ended::Unreachable(failed.message.clone())
        }
        // What went wrong here says nothing of the host.
        Ended::Failed(failed) if failed.cause == Cause::Here && failed.reason == "SourceFailed" => {
            rollout::Ended::UnderWay
        }
        Ended::Partly(failed) | Ended::Failed(failed) => {
            rollout::Ended::Failed(failed.message.clone())
        }
        Ended::Newer { .. } | Ended::OffChain { .. } | Ended::Rewound { .. } => {
            rollout::Ended::Failed("what it ran before doesn't fit; see its conditions".to_owned())
        }
    })
}
