//! Begins polls of the source and handles their results: the accepted floor and the newest revision.

use std::sync::Arc;
use std::time::Duration;

use plumb_api::report::Retry;

use super::backoff::Waits;
use super::effect::{Effect, PollRequest};
use super::persist::{Continuation, put_source};
use super::source::{
    BranchVerdict, PendingFloor, PollPhase, SourceFault, SourcePoll, TrustRootFault, Verification,
    held_message,
};
use super::{FleetRevision, Step, later, short_commit};
use crate::alerting::{AlertScope, HeldCommit};
use crate::message::Message;
use crate::ports::StoreError;
use crate::reason::ConditionReason;
use crate::status::ConditionType;
use crate::view::{CommitVerdict, EventKind, RevisionView};

/// Maximum number of stored revisions.
pub const REVISIONS: usize = 50;

/// Maximum number of stored signed rollbacks. A host that missed more of them needs manual work.
const ROLLBACKS: usize = 100;

/// Maximum number of stored requests to resume rollouts.
const RESUMES: usize = 100;

/// Delay before the first retry after a failed fetch, or after a failed write of the floor.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Maximum delay before a retry after a failed fetch, unless the poll interval is longer.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

impl Step<'_> {
    /// Begins a poll when its time has come.
    pub(super) fn poll_if_due(&mut self) {
        let source = &mut self.state.source;
        if self.state.draining || source.phase != PollPhase::Idle || source.next_poll > self.now {
            return;
        }
        source.phase = PollPhase::Fetching;
        source.poll_begun = Some(self.now);
        let record = &source.record;
        let floor = record
            .floor_from(&self.state.settings.introduction)
            .cloned();
        let request = PollRequest {
            bound: record.floor.clone().filter(|_| floor.is_none()),
            floor,
            first_seen: record.first_seen.clone(),
            revoked_before: record.revoked.clone(),
            loaded: self
                .state
                .head
                .as_ref()
                .map(|head| head.commit().to_owned()),
        };
        self.effects.push(Effect::FetchSource(Box::new(request)));
    }

    pub(super) fn notified(&mut self) {
        let source = &mut self.state.source;
        source.next_poll = self.now;
        source.again = source.phase != PollPhase::Idle;
    }

    pub(super) fn source_polled(&mut self, poll: SourcePoll) {
        let wait = self.fetched(&poll);
        self.state.source.next_poll = later(self.now, wait);
        if let Some(revoked) = poll.revoked {
            self.revocations_read(revoked);
        }
        match poll.verification {
            Verification::NotDone => {
                if let Some(accepted) = poll.accepted {
                    self.activate(&accepted);
                }
                self.poll_ended();
            }
            Verification::NoTrustRoot(fault) => {
                self.no_trust_root(fault);
                self.poll_ended();
            }
            Verification::Branch(verdict) => self.persist_floor(*verdict, poll.accepted),
        }
    }

    fn poll_ended(&mut self) {
        let source = &mut self.state.source;
        source.phase = PollPhase::Idle;
        source.last_poll = source.poll_begun;
        if std::mem::take(&mut source.again) {
            source.next_poll = self.now;
        }
        source.derive(self.now);
        self.alerts_changed(AlertScope::Source);
    }

    /// Handles the result of the fetch, and returns the delay before the next one.
    fn fetched(&mut self, poll: &SourcePoll) -> Duration {
        let repo = self.state.settings.source_description.clone();
        self.counters().fetched(&repo, poll);
        let fault = poll.fetched.as_ref().err().or(poll.fault.as_ref());
        self.fetch_result(fault.cloned());
        self.loadable(poll);
        let state = &mut *self.state;
        let (source, poll_interval) = (&mut state.source, state.settings.poll);
        let wait = match &poll.fetched {
            Ok(head) => {
                source.fetch_failures = 0;
                source.head = Some(head.clone());
                source.last_fetch = Some(self.now);
                poll_interval
            }
            Err(fault) => {
                let longest = poll_interval.max(LONGEST_WAIT);
                let grown = Waits::grown(FIRST_WAIT, source.fetch_failures, longest);
                source.fetch_failures = source.fetch_failures.saturating_add(1);
                match fault.retry {
                    Retry::Transient | Retry::Waiting => grown,
                    Retry::Stalled => grown.max(poll_interval),
                }
            }
        };
        state.jitter.around(wait)
    }

    /// Stores the result of the fetch, and adds a record when it changes. If fetches fail alternately for
    /// several reasons, each reason is recorded once.
    fn fetch_result(&mut self, fault: Option<SourceFault>) {
        let source = &mut self.state.source;
        let before = source.reason(ConditionType::Ready);
        let message = fault.as_ref().map(|fault| fault.message.clone());
        let reason = fault.as_ref().map(|fault| fault.reason);
        source.fetch = Some(fault.map_or(Ok(()), Err));
        source.derive(self.now);
        match (reason, message) {
            (Some(reason), Some(message)) if !source.told_faults.contains(&reason) => {
                source.told_faults.push(reason);
                // With unreadable files, the fetch itself succeeded, so the reason isn't `FetchFailed`.
                let reason = match reason {
                    ConditionReason::FilesUnreadable => reason,
                    _ => ConditionReason::FetchFailed,
                };
                self.warn(None, reason, message, None);
            }
            (None, _) if before.is_some_and(|before| before != ConditionReason::Fetched) => {
                source.told_faults.clear();
                let message = "the last fetch succeeded".to_owned();
                let kind = EventKind::Normal;
                self.record(None, kind, ConditionReason::FetchRecovered, message, None);
            }
            _ => {}
        }
    }

    /// Stores which accepted commit can't be loaded, if there is one. Hosts then keep their targets although a
    /// newer revision is accepted, and their conditions say so.
    fn loadable(&mut self, poll: &SourcePoll) {
        let unloadable = match (&poll.verification, &poll.fault) {
            (Verification::Branch(verdict), Some(fault)) => {
                Some((verdict.accepted.clone(), fault.message.clone()))
            }
            (Verification::Branch(_), None) => None,
            _ => return,
        };
        if self.state.source.unloadable == unloadable {
            return;
        }
        let newer = unloadable.as_ref().map(|(commit, why)| {
            let about = format!("{} is accepted and can't be loaded", short_commit(commit));
            Arc::new(why.about(&about))
        });
        self.state.source.unloadable = unloadable;
        let hosts: Vec<_> = self.state.hosts.keys().cloned().collect();
        for name in hosts {
            if let Some(host) = self.state.hosts.get_mut(&name) {
                host.newer_unloadable.clone_from(&newer);
            }
            self.touch(&name);
        }
        self.alerts_changed(AlertScope::Source);
    }

    /// Stores the keys that the controller's configuration revokes. While they can't be read, no new commit is
    /// accepted, because a revoked key may have signed it.
    fn revocations_read(&mut self, revoked: Result<Vec<String>, String>) {
        match revoked {
            Ok(now) => {
                let before = self.state.source.revoked.replace(now.clone());
                // At the first reading after the start, no key counts as newly revoked.
                let Some(before) = before else {
                    return;
                };
                for key in missing_from(&now, &before) {
                    let message =
                        format!("key {key} was revoked by the controller's folder of revoked keys");
                    self.warn(None, ConditionReason::KeyRevoked, message, None);
                }
                for key in missing_from(&before, &now) {
                    let message = format!(
                        "key {key} was removed from the controller's folder of revoked keys"
                    );
                    self.warn(None, ConditionReason::KeyRestored, message, None);
                }
            }
            Err(error) => {
                let message = Message::new(format!(
                    "nothing new is accepted while the revoked keys can't be read: {error}"
                ));
                let reason = ConditionReason::RevocationsUnreadable;
                if self.block(reason, &message) {
                    self.warn(None, reason, message, None);
                }
            }
        }
    }

    /// Sets the reason why no new commit is accepted; returns true if the reason is new.
    fn block(&mut self, reason: ConditionReason, message: &Message) -> bool {
        let source = &mut self.state.source;
        let news = source.reason(ConditionType::SourceVerified) != Some(reason);
        source.blocked = Some((reason, message.clone()));
        source.derive(self.now);
        news
    }

    /// Handles a missing or unusable trust root. No commit counts as held because of it, and hosts keep their
    /// targets.
    fn no_trust_root(&mut self, fault: TrustRootFault) {
        let source = &mut self.state.source;
        let (reason, message) = (fault.reason, fault.message.clone());
        let news = source.reason(ConditionType::SourceVerified) != Some(reason);
        source.verified = true;
        source.held = None;
        source.blocked = None;
        source.root_fault = Some(fault);
        if news {
            self.warn(None, reason, message, None);
        }
    }

    /// Writes the accepted floor. A revision is activated only once its floor is durable. Otherwise a
    /// restarted controller wouldn't know this floor, and if somebody had reset the branch in the meantime, it
    /// would accept the older head as the newest commit.
    fn persist_floor(&mut self, verdict: BranchVerdict, accepted: Option<Arc<FleetRevision>>) {
        let source = &mut self.state.source;
        let mut record = source.record.clone();
        self.record_tag_revocations(&verdict);
        record.rollbacks.extend(verdict.rollbacks.iter().cloned());
        let many = record.rollbacks.len().saturating_sub(ROLLBACKS);
        record.rollbacks.drain(..many);
        record.resumes.extend(verdict.resumes.iter().cloned());
        let many = record.resumes.len().saturating_sub(RESUMES);
        record.resumes.drain(..many);
        record
            .revoked
            .extend(missing_from(&verdict.revoked, &record.revoked));
        record.first_seen.clone_from(&verdict.first_seen);
        record.introduction = Some(self.state.settings.introduction.clone());
        record.floor = Some(verdict.accepted.clone());
        let source = &mut self.state.source;
        // The revoked keys are kept even if the write fails, because a tag may be deleted before the next
        // poll.
        source.record.revoked.clone_from(&record.revoked);
        source.phase = PollPhase::Persisting;
        let writes = put_source(&record).into_iter().collect();
        let pending = PendingFloor {
            verdict,
            record,
            accepted,
        };
        self.persist(writes, Continuation::Floor(Box::new(pending)));
    }

    /// Handles the result of writing the floor.
    pub(super) fn floor_persisted(
        &mut self,
        pending: PendingFloor,
        result: Result<(), &StoreError>,
    ) {
        let PendingFloor {
            verdict,
            record,
            accepted,
        } = pending;
        let before = self.state.source.record.floor.clone();
        match result {
            Ok(()) => {
                self.state.source.floor_failures = 0;
                self.state.source.record.rollbacks = record.rollbacks;
                self.state.source.record.resumes = record.resumes;
            }
            // This floor is durable from an earlier poll.
            Err(_) if before.as_ref() == Some(&verdict.accepted) => {}
            Err(error) => {
                let stay = before.map_or_else(
                    || "no host is changed".to_owned(),
                    |floor| format!("hosts stay at {}", short_commit(&floor)),
                );
                let message = Message::new(format!(
                    "{} is accepted, but the controller's state can't be written: {error}; {stay} until it can",
                    short_commit(&verdict.accepted)
                ));
                self.block(ConditionReason::NotKept, &message);
                self.retry_floor();
                self.poll_ended();
                return;
            }
        }
        self.take_verdict(verdict);
        if let Some(accepted) = accepted {
            self.activate(&accepted);
        }
        self.poll_ended();
    }

    fn retry_floor(&mut self) {
        let state = &mut *self.state;
        let source = &mut state.source;
        let wait = Waits::grown(FIRST_WAIT, source.floor_failures, state.settings.poll);
        source.floor_failures = source.floor_failures.saturating_add(1);
        let at = later(self.now, state.jitter.around(wait));
        source.next_poll = source.next_poll.min(at);
    }

    /// Applies a verdict whose floor is durable; records what was accepted and what is held.
    fn take_verdict(&mut self, verdict: BranchVerdict) {
        self.remember(&verdict);
        let introduction = self.state.settings.introduction.clone();
        let source = &mut self.state.source;
        let moved = source.record.floor.as_ref() != Some(&verdict.accepted);
        source.record.floor = Some(verdict.accepted.clone());
        source.record.introduction = Some(introduction);
        source.record.first_seen = verdict.first_seen;
        source.verified = true;
        source.root_fault = None;
        source.blocked = None;
        let before = std::mem::replace(&mut source.held, verdict.held.clone());
        self.writes.extend(put_source(&self.state.source.record));
        if moved {
            let message = format!("{} is accepted", short_commit(&verdict.accepted));
            let revision = Some(verdict.accepted);
            let reason = ConditionReason::RevisionAccepted;
            self.record(None, EventKind::Normal, reason, message, revision);
        }
        let same = |held: &HeldCommit| (held.commit.clone(), held.because.clone());
        if before.as_ref().map(same) == verdict.held.as_ref().map(same) {
            return;
        }
        if let Some(held) = &verdict.held {
            let revision = Some(held.commit.clone());
            let message = held_message(held);
            self.warn(None, ConditionReason::CommitHeld, message, revision);
        } else {
            let message = "the branch has no unaccepted commit any more".to_owned();
            let reason = ConditionReason::HoldEnded;
            self.record(None, EventKind::Normal, reason, message, None);
        }
    }

    /// Records keys that signed tags revoke, and revoked keys whose tags no longer suffice, because a tag was
    /// deleted or its signer left the policy. The latter keys stay revoked: the person who deleted a tag may
    /// be the one who has the key.
    fn record_tag_revocations(&mut self, verdict: &BranchVerdict) {
        let known = self.state.source.record.revoked.clone();
        for key in missing_from(&verdict.revoked, &known) {
            let message = format!("key {key} was revoked by signed revoke/ tags");
            self.warn(None, ConditionReason::KeyRevoked, message, None);
        }
        // Tags aren't read if no verified chain leads to the head.
        let Some(unbacked) = &verdict.unbacked else {
            return;
        };
        let told = std::mem::replace(&mut self.state.source.unbacked, unbacked.clone());
        for key in missing_from(unbacked, &told) {
            let message = format!(
                "the revoke/ tags of {key} no longer suffice: one was deleted, or its signer has left the policy; the key stays revoked here"
            );
            self.warn(None, ConditionReason::RevokeTagGone, message, None);
        }
    }

    /// Stores the verdict on each commit, and counts new and changed verdicts.
    fn remember(&mut self, verdict: &BranchVerdict) {
        let now = self.now;
        for step in &verdict.steps {
            let revisions = &mut self.state.source.record.revisions;
            let known = revisions.iter().position(|r| r.commit == step.commit);
            // The floor is among the steps even if it was accepted long ago; it is counted once.
            let changed = known.is_none_or(|at| revisions[at].verdict != step.verdict);
            let old = known.map(|at| &revisions[at]);
            let view = RevisionView {
                commit: step.commit.clone(),
                verdict: step.verdict,
                time: old.filter(|_| !changed).map_or(now, |old| old.time),
                header: match old {
                    Some(old) => step.header.clone().or(&old.header),
                    None => step.header.clone(),
                },
                reasons: step.reasons.clone(),
                hosts: 0,
            };
            match known {
                Some(at) => revisions[at] = view,
                None => revisions.insert(0, view),
            }
            if changed {
                self.counters().verified(step.verdict);
            }
        }
        // A held commit that left the branch is no longer shown.
        let steps: std::collections::BTreeSet<_> =
            verdict.steps.iter().map(|step| &step.commit).collect();
        let revisions = &mut self.state.source.record.revisions;
        revisions.retain(|r| r.verdict == CommitVerdict::Accept || steps.contains(&r.commit));
        revisions.truncate(REVISIONS);
    }
}

/// Returns the items of the first list that aren't in the second.
fn missing_from<T: PartialEq + Clone>(first: &[T], second: &[T]) -> Vec<T> {
    let all = first.iter().filter(|one| !second.contains(one));
    all.cloned().collect()
}
