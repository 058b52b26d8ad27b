//! Looking at the source, and what follows from what is there.

use std::sync::Arc;
use std::time::Duration;

use plumb_core::status::{Condition, ConditionStatus, ConditionType, Conditions};
use plumb_trust::Oid;
use plumb_trust::source::{SourceError, SourceRetry};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::{Asked, Driver, Looking, Old};
use crate::desired::Accepted;
use crate::event::EventKind;
use crate::persist::put_source;
use crate::source::{Basis, Judged, Look, Looked, load_old, look};
use crate::view::RevisionView;

/// As many revisions are remembered.
const REVISIONS: usize = 50;

/// How long a revision that couldn't be loaded isn't tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// The first wait after a fetch that failed.
const FIRST_WAIT: Duration = Duration::from_secs(2);

impl Driver {
    /// Begins to look at the source.
    pub(super) fn look(&mut self) {
        self.looking = Looking::Now;
        let now = self.now();
        let record = self.shared.read().record.clone();
        let task = Look {
            introduction: self.settings.introduction,
            floor: record.floor,
            first_seen: record.first_seen,
            revoked: self.settings.revoked.clone(),
            loaded: self.head.as_ref().map(|head| head.revision().commit()),
            now,
        };
        let source = self.parts.source.clone();
        self.asked
            .spawn(async move { Asked::Now(Box::new(look(source, task).await)) });
    }

    /// Begins to load a revision that hosts are still driven to.
    pub(super) fn load_older(&mut self, commit: &str) {
        let again = match self.older.get(commit) {
            None => true,
            Some(Old::Missing(at)) => at.elapsed() >= TRY_AGAIN,
            Some(Old::Loading | Old::Here(_)) => false,
        };
        if !again {
            return;
        }
        let accepted = self.shared.read().record.floor;
        let (Ok(oid), Some(accepted)) = (commit.parse::<Oid>(), accepted) else {
            self.older
                .insert(commit.to_owned(), Old::Missing(Instant::now()));
            return;
        };
        self.older.insert(commit.to_owned(), Old::Loading);
        let (source, commit) = (self.parts.source.clone(), commit.to_owned());
        let (between, now) = ((self.settings.introduction, accepted), self.now());
        self.asked.spawn(async move {
            let loaded = load_old(source, between, oid, now).await;
            let loaded = loaded.unwrap_or_else(|error| {
                tracing::warn!(revision = %commit, %error, "an older revision can't be loaded");
                None
            });
            Asked::Old(commit, loaded)
        });
    }

    pub(super) async fn asked_ended(&mut self, done: Result<Asked, JoinError>) {
        match done {
            Ok(Asked::Now(looked)) => {
                let again = self.looking == Looking::Again;
                self.looking = Looking::No;
                self.looked(*looked).await;
                if again {
                    self.next_look = Instant::now();
                }
            }
            Ok(Asked::Old(commit, loaded)) => self.loaded_older(&commit, loaded),
            Err(error) => {
                // Only a look can leave the loop without a next one; loads are asked for again.
                tracing::error!(%error, "looking at the source crashed");
                self.looking = Looking::No;
                self.next_look = Instant::now() + self.jitter.around(self.settings.poll);
                self.older.retain(|_, old| !matches!(old, Old::Loading));
            }
        }
        self.soon();
    }

    fn loaded_older(&mut self, commit: &str, loaded: Option<Arc<Accepted>>) {
        let old = match loaded {
            Some(accepted) => Old::Here(accepted),
            None => Old::Missing(Instant::now()),
        };
        self.older.insert(commit.to_owned(), old);
        let waiting: Vec<_> = self
            .shared
            .read()
            .hosts
            .values()
            .filter(|record| {
                let target = record.status.target.as_ref();
                target.is_some_and(|target| target.revision == commit)
            })
            .map(|record| record.status.host.clone())
            .collect();
        for host in waiting {
            self.queue
                .add(host, Instant::now(), crate::queue::Trigger::Target);
        }
    }

    async fn looked(&mut self, looked: Looked) {
        let wait = self.fetched(&looked);
        self.next_look = Instant::now() + wait;
        if let Some(error) = &looked.failed {
            self.source_ready(Some(error));
        }
        if let Some(judged) = looked.judged {
            self.judged(judged).await;
        }
        if let Some(accepted) = looked.accepted {
            self.adopt(accepted).await;
        }
    }

    /// Takes note of a fetch; how long to wait for the next one.
    fn fetched(&mut self, looked: &Looked) -> Duration {
        {
            let mut world = self.shared.write();
            let result = if looked.fetched.is_ok() {
                "success"
            } else {
                "error"
            };
            let repo = ("repo", world.description.clone());
            let labels = vec![repo.clone(), ("result", result.to_owned())];
            world.metrics.add("plumb_source_fetch_total", labels, 1);
            world.metrics.took(
                "plumb_source_fetch_duration_seconds",
                vec![repo],
                looked.took,
            );
        }
        match &looked.fetched {
            Ok(head) => {
                self.look_failures = 0;
                {
                    let now = self.parts.clock.now();
                    let mut world = self.shared.write();
                    world.source.head = Some(head.to_string());
                    world.source.last_fetch = Some(now);
                }
                self.source_ready(None);
                self.jitter.around(self.settings.poll)
            }
            Err(error) => {
                self.source_ready(Some(error));
                let grown = FIRST_WAIT * 2_u32.saturating_pow(self.look_failures.min(10));
                self.look_failures = self.look_failures.saturating_add(1);
                let longest = self.settings.poll.max(Duration::from_mins(5));
                let wait = match error.retry() {
                    SourceRetry::Transient => grown.min(longest),
                    SourceRetry::Stalled => grown.clamp(self.settings.poll.min(longest), longest),
                };
                self.jitter.around(wait)
            }
        }
    }

    /// The source's own readiness, and an event when it moves.
    fn source_ready(&mut self, error: Option<&SourceError>) {
        let now = self.now();
        let (status, reason, message) = match error {
            None => (
                ConditionStatus::True,
                "Fetched",
                "the repository was fetched at the last attempt".to_owned(),
            ),
            Some(error) => {
                let message = match error.hint() {
                    Some(hint) => format!("{error}; {hint}"),
                    None => error.to_string(),
                };
                (ConditionStatus::False, error.reason(), message)
            }
        };
        let news = {
            let mut world = self.shared.write();
            let conditions = &mut world.source.conditions;
            let before = conditions
                .get(ConditionType::Ready)
                .map(|c| c.reason.clone());
            set(
                conditions,
                ConditionType::Ready,
                status,
                reason,
                message.clone(),
                now,
            );
            match error {
                Some(_) => before.as_deref() != Some(reason),
                None => before.is_some_and(|before| before != reason),
            }
        };
        if news {
            let (kind, event) = match error {
                Some(_) => (EventKind::Warning, "FetchFailed"),
                None => (EventKind::Normal, "FetchRecovered"),
            };
            self.event(None, kind, event, message, None);
        }
    }

    /// Takes over a verdict: the floor moves forward, and what is held is told.
    async fn judged(&mut self, judged: Judged) {
        if judged.basis == Basis::Floor {
            // It says nothing new: what stands behind the floor isn't known.
            return;
        }
        let now = self.now();
        let accepted = judged.outcome.accepted;
        let held = judged.held(now);
        self.remember(&judged);
        let (moved, news) = {
            let mut world = self.shared.write();
            let moved = world.record.floor != Some(accepted);
            world.record.floor = Some(accepted);
            world.record.first_seen = judged.first_seen;
            let before = world.source.held.as_ref().map(|(held, _)| held.clone());
            let after = held.as_ref().map(|(held, _)| held.clone());
            world.source.held.clone_from(&held);
            world.source.judged = true;
            let (status, reason, message) = match &held {
                None => (
                    ConditionStatus::True,
                    "Accepted",
                    format!("every commit up to {} is accepted", judged.head.short()),
                ),
                Some((held, view)) => (
                    ConditionStatus::False,
                    match view.verdict.as_str() {
                        "reject" => "Rejected",
                        "pendingAlarm" => "PendingAlarm",
                        _ => "Pending",
                    },
                    format!(
                        "{} isn't accepted: {}",
                        held.commit,
                        sentence(&view.reasons)
                    ),
                ),
            };
            let kind = ConditionType::SourceVerified;
            set(
                &mut world.source.conditions,
                kind,
                status,
                reason,
                message,
                now,
            );
            let same = |a: &plumb_core::alerting::HeldCommit| (a.commit.clone(), a.because.clone());
            (moved, before.as_ref().map(same) != after.as_ref().map(same))
        };
        let write = put_source(&self.shared.read().record);
        // Nothing may be driven from what a restart would not take for accepted.
        if let Err(error) = self.keeper.durable(write).await {
            let message = format!("the accepted commit can't be kept: {error}");
            self.event(None, EventKind::Warning, "StoreFailed", message, None);
        }
        if moved {
            let message = format!("{} is accepted", accepted.short());
            let revision = Some(accepted.to_string());
            self.event(
                None,
                EventKind::Normal,
                "RevisionAccepted",
                message,
                revision,
            );
        }
        if !news {
            return;
        }
        let (kind, reason, message, revision) = match &held {
            Some((held, view)) => (
                EventKind::Warning,
                "CommitHeld",
                format!(
                    "{} isn't accepted: {}",
                    held.commit,
                    sentence(&view.reasons)
                ),
                Some(held.commit.clone()),
            ),
            None => (
                EventKind::Normal,
                "HoldEnded",
                "nothing is held any more".to_owned(),
                None,
            ),
        };
        self.event(None, kind, reason, message, revision);
    }

    /// Remembers each commit's verdict, and counts those that are new or moved.
    fn remember(&mut self, judged: &Judged) {
        let now = self.now();
        let mut world = self.shared.write();
        let world = &mut *world;
        for step in &judged.outcome.steps {
            let commit = step.commit.to_string();
            let verdict = step.verdict.as_str();
            let known = world
                .record
                .revisions
                .iter()
                .position(|r| r.commit == commit);
            // The floor is a step too where it was accepted long ago; it is counted once.
            let moved = match known {
                Some(at) => world.record.revisions[at].verdict != verdict,
                None => true,
            };
            let view = RevisionView {
                commit,
                verdict: verdict.to_owned(),
                time: match known {
                    Some(at) if !moved => world.record.revisions[at].time,
                    _ => now,
                },
                summary: known
                    .map(|at| world.record.revisions[at].summary.clone())
                    .unwrap_or_default(),
                reasons: step.reasons.iter().map(ToString::to_string).collect(),
            };
            if moved {
                world
                    .metrics
                    .count("plumb_commit_verifications_total", "result", verdict);
            }
            match known {
                Some(at) => world.record.revisions[at] = view,
                None => world.record.revisions.insert(0, view),
            }
        }
        // What left the branch without having been accepted is no longer spoken of as held.
        let steps: std::collections::BTreeSet<_> = judged
            .outcome
            .steps
            .iter()
            .map(|step| step.commit.to_string())
            .collect();
        world
            .record
            .revisions
            .retain(|r| r.verdict == "accept" || steps.contains(&r.commit));
        world.record.revisions.truncate(REVISIONS);
        tracing::debug!(floor = %judged.floor, head = %judged.head, verdict = %judged.outcome.verdict, "verified");
    }
}

fn sentence(reasons: &[plumb_trust::Reason]) -> String {
    let all: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn set(
    conditions: &mut Conditions,
    kind: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: String,
    now: jiff::Timestamp,
) {
    conditions.set(Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message,
        observed_generation: None,
        last_transition_time: now,
    });
}
