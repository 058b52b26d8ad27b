//! Looking at the source, and what follows from what is there.

use std::sync::Arc;
use std::time::Duration;

use plumb_core::status::{Condition, ConditionStatus, ConditionType, Conditions};
use plumb_trust::source::{SourceError, SourceRetry};
use plumb_trust::{KeyName, Oid, Revocations};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::{Asked, Driver, Looking, Old};
use crate::desired::Accepted;
use crate::event::EventKind;
use crate::ground::Unfounded;
use crate::persist::{SourceRecord, WentBack, put_source};
use crate::source::{Basis, Judged, Look, Looked, load_old, look};
use crate::view::RevisionView;

/// As many revisions are remembered.
const REVISIONS: usize = 50;

/// As many signed rollbacks are remembered; a host that missed more of them is looked after by hand.
const ROLLBACKS: usize = 100;

/// How long a revision that couldn't be loaded isn't tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// The first wait after a fetch that failed.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The reason of a revision that is accepted and mustn't be driven from yet.
const NOT_KEPT: &str = "NotKept";

/// The reason of a source that isn't judged, because it isn't known whose signatures count.
const NO_REVOCATIONS: &str = "RevocationsUnreadable";

/// Whether the floor of a verdict is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floor {
    Kept,
    NotKept,
}

impl Driver {
    /// Begins to look at the source.
    pub(super) fn look(&mut self) {
        self.looking = Looking::Now;
        let now = self.now();
        let record = {
            let mut world = self.shared.write();
            world.source.look_begun = Some(now);
            world.record.clone()
        };
        let introduction = self.settings.introduction;
        let floor = record.floor_from(introduction);
        let bound = record.floor.filter(|_| floor.is_none());
        let task = Look {
            introduction,
            floor,
            bound,
            first_seen: record.first_seen,
            revoked: self.parts.revoked.clone(),
            revoked_before: record.revoked.iter().cloned().collect(),
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
        let introduction = self.settings.introduction;
        let accepted = self.shared.read().record.floor_from(introduction);
        let (Ok(oid), Some(accepted)) = (commit.parse::<Oid>(), accepted) else {
            self.older
                .insert(commit.to_owned(), Old::Missing(Instant::now()));
            return;
        };
        self.older.insert(commit.to_owned(), Old::Loading);
        let (source, commit) = (self.parts.source.clone(), commit.to_owned());
        let (between, now) = ((introduction, accepted), self.now());
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
                {
                    let mut world = self.shared.write();
                    world.source.last_look = world.source.look_begun;
                }
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
        self.took_away(looked.revoked);
        if let Some(unfounded) = &looked.unfounded {
            self.unfounded(unfounded);
        }
        let floor = match looked.judged {
            Some(judged) => self.judged(judged).await,
            None => Floor::Kept,
        };
        match (floor, looked.accepted) {
            (Floor::Kept, Some(accepted)) => self.adopt(accepted).await,
            (Floor::Kept, None) => {}
            (Floor::NotKept, _) => {
                let grown = FIRST_WAIT * 2_u32.saturating_pow(self.floor_failures.min(10));
                self.floor_failures = self.floor_failures.saturating_add(1);
                let wait = self.jitter.around(grown.min(self.settings.poll));
                self.next_look = self.next_look.min(Instant::now() + wait);
            }
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

    /// Takes note of the keys that this machine's configuration takes authority away from. While they
    /// can't be read nothing new is accepted: one of them may have signed it.
    fn took_away(&mut self, revoked: Result<Revocations, String>) {
        match revoked {
            Ok(revoked) => {
                let now: Vec<_> = revoked.iter().map(ToString::to_string).collect();
                let before = self.shared.write().source.revoked.replace(now.clone());
                // At the start nothing is known of what is new.
                let Some(before) = before else {
                    return;
                };
                for key in differing(&now, &before) {
                    let message = format!("{key} has no authority any more on this machine");
                    self.event(None, EventKind::Warning, "KeyRevoked", message, None);
                }
                for key in differing(&before, &now) {
                    let message = format!("{key} isn't revoked on this machine any more");
                    self.event(None, EventKind::Warning, "KeyRestored", message, None);
                }
            }
            Err(error) => {
                let message = format!("nothing new is accepted until this is mended: {error}");
                if self.not_verified(NO_REVOCATIONS, &message) {
                    self.event(None, EventKind::Warning, NO_REVOCATIONS, message, None);
                }
            }
        }
    }

    /// Tells of keys that signed tags took authority away from, and of those that tags take it from no more,
    /// as one was deleted or its signer left the policy: these keys stay as they are, as whoever deletes a
    /// tag may be who has the key.
    fn tags_took_away(&mut self, judged: &Judged, known: &[KeyName]) {
        for key in differing(&judged.outcome.revoked, known) {
            let message = format!("{key} has no authority any more: signed revoke/ tags say so");
            self.event(None, EventKind::Warning, "KeyRevoked", message, None);
        }
        // Where no way was found no tag was looked at.
        let Some(unbacked) = &judged.outcome.unbacked else {
            return;
        };
        let told = std::mem::replace(&mut self.shared.write().source.unbacked, unbacked.clone());
        for key in differing(unbacked, &told) {
            let message = format!(
                "the revoke/ tags of {key} are no longer enough: one is gone, or who signed it has left the policy; the key stays revoked here"
            );
            self.event(None, EventKind::Warning, "RevokeTagGone", message, None);
        }
    }

    /// Takes note that nothing can be judged. No commit is held for that, and hosts stay as they are.
    fn unfounded(&mut self, unfounded: &Unfounded) {
        let source = self.parts.source.describe();
        let message = unfounded.message(&source);
        let reason = unfounded.reason();
        let news = self.not_verified(reason, &message);
        {
            let mut world = self.shared.write();
            world.source.judged = true;
            world.source.held = None;
            world.source.unfounded = Some(unfounded.because(&source));
        }
        if news {
            self.event(None, EventKind::Warning, reason, message, None);
        }
    }

    /// Says why nothing new is driven, and whether that is news.
    fn not_verified(&self, reason: &'static str, message: &str) -> bool {
        let now = self.now();
        let mut world = self.shared.write();
        let conditions = &mut world.source.conditions;
        let kind = ConditionType::SourceVerified;
        let news = conditions.get(kind).is_none_or(|c| c.reason != reason);
        let status = ConditionStatus::False;
        set(conditions, kind, status, reason, message.to_owned(), now);
        news
    }

    /// Keeps a floor. Nothing may be driven from what a restart would not take for accepted: by then
    /// the branch may have been set back, and it would be taken for the newest.
    async fn keep_floor(&mut self, judged: &Judged) -> Floor {
        let accepted = judged.outcome.accepted;
        let record = {
            let world = self.shared.read();
            let mut rollbacks = world.record.rollbacks.clone();
            rollbacks.extend(judged.outcome.rollbacks.iter().map(WentBack::from));
            let many = rollbacks.len().saturating_sub(ROLLBACKS);
            rollbacks.drain(..many);
            SourceRecord {
                floor: Some(accepted),
                introduction: Some(self.settings.introduction),
                first_seen: judged.first_seen.clone(),
                rollbacks,
                revoked: {
                    let mut revoked = world.record.revoked.clone();
                    revoked.extend(differing(&judged.outcome.revoked, &world.record.revoked));
                    revoked
                },
                ..world.record.clone()
            }
        };
        // Whether it can be kept or not: the tag may be gone by the next look.
        self.shared
            .write()
            .record
            .revoked
            .clone_from(&record.revoked);
        let Err(error) = self.keeper.durable(put_source(&record)).await else {
            self.floor_failures = 0;
            self.shared.write().record.rollbacks = record.rollbacks;
            return Floor::Kept;
        };
        let before = self.shared.read().record.floor;
        if before == Some(accepted) {
            return Floor::Kept;
        }
        let stay = before.map_or_else(
            || "nothing is driven".to_owned(),
            |floor| format!("hosts stay at {}", floor.short()),
        );
        let message = format!(
            "{} is accepted, and that can't be kept: {error}; {stay} until it can",
            accepted.short()
        );
        if self.not_verified(NOT_KEPT, &message) {
            let revision = Some(accepted.to_string());
            self.event(None, EventKind::Warning, "StoreFailed", message, revision);
        }
        Floor::NotKept
    }

    /// Takes over a verdict: the floor moves forward, and what is held is told.
    async fn judged(&mut self, judged: Judged) -> Floor {
        if judged.basis == Basis::Floor {
            // It says nothing new: what stands behind the floor isn't known.
            return Floor::Kept;
        }
        let known = self.shared.read().record.revoked.clone();
        if self.keep_floor(&judged).await == Floor::NotKept {
            return Floor::NotKept;
        }
        self.tags_took_away(&judged, &known);
        let now = self.now();
        let accepted = judged.outcome.accepted;
        let held = judged.held(now);
        self.remember(&judged);
        let (moved, news) = {
            let mut world = self.shared.write();
            let moved = world.record.floor != Some(accepted);
            world.record.floor = Some(accepted);
            world.record.introduction = Some(self.settings.introduction);
            world.record.first_seen = judged.first_seen;
            let before = world.source.held.as_ref().map(|(held, _)| held.clone());
            let after = held.as_ref().map(|(held, _)| held.clone());
            world.source.held.clone_from(&held);
            world.source.judged = true;
            world.source.unfounded = None;
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
        // The revisions as they are remembered now; losing them would lose nothing that matters.
        self.keeper.write(put_source(&self.shared.read().record));
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
            return Floor::Kept;
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
        Floor::Kept
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
                    .filter(|summary| !summary.is_empty())
                    .unwrap_or_else(|| step.subject.clone()),
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

/// What the first has and the second hasn't.
fn differing<T: PartialEq + Clone>(first: &[T], second: &[T]) -> Vec<T> {
    let all = first.iter().filter(|one| !second.contains(one));
    all.cloned().collect()
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
