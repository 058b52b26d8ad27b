//! The state of the source: the results of polls, the accepted floor and the conditions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_api::AlertmanagerUrl;
use plumb_api::report::Retry;
use serde::{Deserialize, Serialize};

use super::{FleetRevision, LoopSettings};
use crate::alerting::HeldCommit;
use crate::message::Message;
use crate::reason::ConditionReason;
use crate::rollout::Rollout;
use crate::status::{Condition, ConditionStatus, ConditionType, Conditions};
use crate::view::{CommitHeader, CommitVerdict, HeldView, RevisionView, SourceView};

/// The stored record of the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRecord {
    /// The last accepted commit. It only moves forward.
    pub floor: Option<String>,
    /// The configured introduction (root of trust) from which the floor was verified; `None` in records of
    /// earlier versions.
    pub introduction: Option<String>,
    /// The fleet's name in the last accepted revision.
    pub fleet: Option<String>,
    /// `rollout.halt.failures` of the last accepted revision.
    pub halt_failures: Option<u32>,
    /// The times at which the controller first saw each commit and tag.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// Accepted signed rollbacks, oldest first. They let hosts that ran an abandoned commit go back to an
    /// earlier one.
    pub rollbacks: Vec<RollbackRecord>,
    /// Accepted requests to resume rollouts that haven't been carried out yet.
    pub resumes: Vec<ResumeRecord>,
    /// Keys revoked by signed `revoke/` tags. They stay revoked when a tag is deleted.
    pub revoked: Vec<String>,
}

impl SourceRecord {
    /// Returns the floor if it was verified from this introduction, or if the record doesn't name an
    /// introduction.
    pub(super) fn floor_from(&self, introduction: &str) -> Option<&String> {
        let from = self.introduction.as_deref();
        let same = from.is_none_or(|from| from == introduction);
        self.floor.as_ref().filter(|_| same)
    }
}

/// An accepted signed request to resume a halted rollout: the trailer `Rollout-Resume: REVISION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeRecord {
    /// The revision whose rollout resumes, as the trailer names it: a commit, or its first characters.
    pub rollout: String,
    /// The commit with the trailer.
    pub commit: String,
}

/// Minimum length of the commit in a `Rollout-Resume:` trailer.
const SHORTEST_COMMIT: usize = 7;

impl ResumeRecord {
    /// True if the trailer names the revision of this rollout.
    pub(super) fn names(&self, rollout: &Rollout) -> bool {
        let revision = rollout.revision();
        self.rollout.len() >= SHORTEST_COMMIT
            && revision.is_some_and(|revision| revision.starts_with(&self.rollout))
    }
}

/// An accepted signed rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// The floor before the rollback.
    pub from: String,
    /// The earlier commit to which the branch returns.
    pub to: String,
    /// The commit that declares the rollback.
    pub commit: String,
}

/// An error that prevents the use of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// The reason.
    pub reason: ConditionReason,
    /// The reason, for people.
    pub message: Message,
    /// The kind of retry.
    pub retry: Retry,
}

/// The reason why no commit of the branch can be verified: the trust root is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRootFault {
    /// The reason.
    pub reason: ConditionReason,
    /// The reason, for people.
    pub message: Message,
    /// The reason for alerts, without text from the repository.
    pub alert: String,
}

/// The result of a poll of the source.
#[derive(Debug)]
pub struct SourcePoll {
    /// The branch's head, or the error of the fetch.
    pub fetched: Result<String, SourceFault>,
    /// The duration of the fetch.
    pub took: Duration,
    /// The keys that the controller's configuration revokes, or the error of reading them. `None` if the poll
    /// crashed before it read them.
    pub revoked: Option<Result<Vec<String>, String>>,
    /// The result of the verification.
    pub verification: Verification,
    /// The newest accepted revision. `None` if it is the one that the loop has already, or if it can't be loaded.
    pub accepted: Option<Arc<FleetRevision>>,
    /// The error of verifying or loading the fetched commits.
    pub fault: Option<SourceFault>,
}

/// The result of a verification.
#[derive(Debug)]
pub enum Verification {
    /// Nothing was verified, because the branch couldn't be fetched or the revoked keys couldn't be read.
    NotDone,
    /// The branch was verified.
    Branch(Box<BranchVerdict>),
    /// No commit can be verified.
    NoTrustRoot(TrustRootFault),
}

/// The verdict on the branch.
#[derive(Debug, Clone)]
pub struct BranchVerdict {
    /// The branch's head.
    pub head: String,
    /// The newest commit such that it and all commits before it are accepted.
    pub accepted: String,
    /// The first commit that isn't accepted.
    pub held: Option<HeldCommit>,
    /// The verdicts on the commits from the floor to the head.
    pub steps: Vec<StepVerdict>,
    /// The times at which the controller first saw each commit and tag.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// The signed rollbacks among the steps.
    pub rollbacks: Vec<RollbackRecord>,
    /// The signed requests among the steps to resume rollouts.
    pub resumes: Vec<ResumeRecord>,
    /// Keys revoked by signed tags.
    pub revoked: Vec<String>,
    /// Keys that were revoked by signed tags earlier and that the present tags no longer revoke; `None` if no
    /// tag was read.
    pub unbacked: Option<Vec<String>>,
}

/// The verdict on one commit.
#[derive(Debug, Clone)]
pub struct StepVerdict {
    /// The commit.
    pub commit: String,
    /// The verdict on it.
    pub verdict: CommitVerdict,
    /// The commit's author, date, signers and first line, as far as they are known.
    pub header: CommitHeader,
    /// The reasons why it isn't accepted, a sentence each.
    pub reasons: Vec<String>,
}

/// The phases of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollPhase {
    /// No poll is in progress.
    Idle,
    /// The source is being fetched and verified.
    Fetching,
    /// The accepted floor is being written.
    Persisting,
}

/// The state of the source.
#[derive(Debug)]
pub(super) struct SourceState {
    pub(super) record: SourceRecord,
    /// True if the branch was verified since the start; before that, held commits are unknown.
    pub(super) verified: bool,
    pub(super) head: Option<String>,
    pub(super) accepted: Option<String>,
    pub(super) held: Option<HeldCommit>,
    pub(super) root_fault: Option<TrustRootFault>,
    /// The reason why the branch can't be verified or its verdict can't be used.
    pub(super) blocked: Option<(ConditionReason, Message)>,
    /// The result of the last fetch; `None` before the first.
    pub(super) fetch: Option<Result<(), SourceFault>>,
    /// The reasons of failed fetches since the last successful one. An event was recorded for each of them.
    pub(super) told_faults: Vec<ConditionReason>,
    /// The accepted commit that can't be loaded, and why.
    pub(super) unloadable: Option<(String, Message)>,
    pub(super) last_fetch: Option<Timestamp>,
    /// Keys that the controller's configuration revokes; `None` until they are read.
    pub(super) revoked: Option<Vec<String>>,
    /// The keys in `unbacked` of the last verdict. An event was recorded for each of them.
    pub(super) unbacked: Vec<String>,
    pub(super) phase: PollPhase,
    /// True if another poll was requested during this one.
    pub(super) again: bool,
    pub(super) next_poll: Timestamp,
    pub(super) poll_begun: Option<Timestamp>,
    pub(super) last_poll: Option<Timestamp>,
    /// Number of failed fetches in a row.
    pub(super) fetch_failures: u32,
    /// Number of failed writes of the floor in a row.
    pub(super) floor_failures: u32,
    /// The conditions with their transition times.
    pub(super) conditions: Conditions,
}

impl SourceState {
    pub(super) fn new(record: SourceRecord, now: Timestamp) -> Self {
        Self {
            record,
            verified: false,
            head: None,
            accepted: None,
            held: None,
            root_fault: None,
            blocked: None,
            fetch: None,
            told_faults: Vec::new(),
            unloadable: None,
            last_fetch: None,
            revoked: None,
            unbacked: Vec::new(),
            phase: PollPhase::Idle,
            again: false,
            next_poll: now,
            poll_begun: None,
            last_poll: None,
            fetch_failures: 0,
            floor_failures: 0,
            conditions: Conditions::default(),
        }
    }

    /// Derives `Ready` and `SourceVerified`; a condition whose status doesn't change keeps its transition
    /// time.
    pub(super) fn derive(&mut self, now: Timestamp) {
        let ready = self.fetch.as_ref().map(|fetch| match fetch {
            Ok(()) => (
                ConditionStatus::True,
                ConditionReason::Fetched,
                Message::from("the last fetch succeeded"),
            ),
            Err(fault) => (ConditionStatus::False, fault.reason, fault.message.clone()),
        });
        for (kind, derived) in [
            (ConditionType::Ready, ready),
            (ConditionType::SourceVerified, self.verification()),
        ] {
            if let Some((status, reason, message)) = derived {
                self.conditions.set(Condition {
                    kind,
                    status,
                    reason,
                    message,
                    observed_generation: None,
                    last_transition_time: now,
                });
            }
        }
    }

    fn verification(&self) -> Option<(ConditionStatus, ConditionReason, Message)> {
        if let Some((reason, message)) = &self.blocked {
            return Some((ConditionStatus::False, *reason, message.clone()));
        }
        if let Some(fault) = &self.root_fault {
            return Some((ConditionStatus::False, fault.reason, fault.message.clone()));
        }
        if !self.verified {
            return None;
        }
        if let Some(held) = &self.held {
            let reason = match held.verdict {
                CommitVerdict::Reject => ConditionReason::Rejected,
                CommitVerdict::PendingAlarm => ConditionReason::PendingAlarm,
                CommitVerdict::Pending | CommitVerdict::Accept => ConditionReason::Pending,
            };
            return Some((ConditionStatus::False, reason, held_message(held)));
        }
        let head = super::short_commit(self.head.as_deref().unwrap_or_default());
        Some((
            ConditionStatus::True,
            ConditionReason::Accepted,
            format!("every commit up to {head} is accepted").into(),
        ))
    }

    /// Returns the reason of a condition, if it is known.
    pub(super) fn reason(&self, kind: ConditionType) -> Option<ConditionReason> {
        self.conditions.get(kind).map(|condition| condition.reason)
    }

    pub(super) fn view(
        &self,
        settings: &LoopSettings,
        clocks: &BTreeMap<AlertmanagerUrl, SignedDuration>,
    ) -> SourceView {
        let accepted = self.accepted.as_ref().or(self.record.floor.as_ref());
        SourceView {
            description: settings.source_description.clone(),
            url: settings.source_url.clone(),
            reference: settings.source_ref.clone(),
            head: self.head.clone(),
            accepted: accepted.cloned(),
            held: self.held.as_ref().map(|held| HeldView {
                commit: held.commit.clone(),
                verdict: held.verdict,
                reasons: held.reasons.clone(),
                codes: held.codes.clone(),
                behind: held.behind,
            }),
            last_fetch: self.last_fetch,
            last_look: self.last_poll,
            revoked: self.revoked.clone().unwrap_or_default(),
            revoked_by_tags: self.record.revoked.clone(),
            clock_offsets: clocks
                .iter()
                .map(|(sink, offset)| (sink.to_string(), offset.as_secs()))
                .collect(),
            conditions: self.conditions.clone(),
        }
    }
}

/// A verdict whose floor is being written, and the revision that is activated after that.
#[derive(Debug)]
pub(super) struct PendingFloor {
    pub(super) verdict: BranchVerdict,
    pub(super) record: SourceRecord,
    pub(super) accepted: Option<Arc<FleetRevision>>,
}

/// Returns the message of conditions and records about a held commit.
pub(super) fn held_message(held: &HeldCommit) -> Message {
    let commit = super::short_commit(&held.commit);
    let first = held.sentences.first().map_or("", String::as_str);
    let message = Message::new(format!("{commit} isn't accepted: {first}"));
    let more = held.sentences.get(1..).unwrap_or_default();
    message.with_detail(more.join("\n"))
}
