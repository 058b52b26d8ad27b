//! The source: what a poll came to, the accepted floor, and what follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::report::Retry;
use serde::{Deserialize, Serialize};

use super::{FleetRevision, LoopSettings};
use crate::alerting::HeldCommit;
use crate::reason::ConditionReason;
use crate::status::{Condition, ConditionStatus, ConditionType, Conditions};
use crate::view::{CommitVerdict, HeldView, RevisionView, SourceView};

/// What is remembered of the source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRecord {
    /// The last accepted commit; it only moves forward.
    pub floor: Option<String>,
    /// The introduction that the floor was accepted from; none where that wasn't kept yet.
    pub introduction: Option<String>,
    /// The fleet's name as last accepted.
    pub fleet: Option<String>,
    /// When commits and tags were first seen.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// The newest revisions, newest first.
    pub revisions: Vec<RevisionView>,
    /// Signed rollbacks that were accepted, oldest first: hosts that ran what was left may follow them.
    pub rollbacks: Vec<RollbackRecord>,
    /// Keys that signed `revoke/` tags took authority away from: deleting a tag gives nothing back.
    pub revoked: Vec<String>,
}

impl SourceRecord {
    /// The floor, if it was accepted from this introduction.
    pub(super) fn floor_from(&self, introduction: &str) -> Option<&String> {
        let from = self.introduction.as_deref();
        let same = from.is_none_or(|from| from == introduction);
        self.floor.as_ref().filter(|_| same)
    }
}

/// A signed rollback that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// The floor that was left.
    pub from: String,
    /// The earlier commit that it went back to.
    pub to: String,
    /// The commit that says so.
    pub commit: String,
}

/// Why the source couldn't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// Why.
    pub reason: ConditionReason,
    /// Why, in a sentence, with what would help.
    pub message: String,
    /// When it is worth trying again.
    pub retry: Retry,
}

/// Why nothing of the branch can be verified: the trust root isn't there or is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRootFault {
    /// Why.
    pub reason: ConditionReason,
    /// Why, in a sentence, with what would help.
    pub message: String,
    /// The same for alerts: without text of the repository.
    pub alert: String,
}

/// What a poll of the source came to.
#[derive(Debug)]
pub struct SourcePoll {
    /// The branch's head; or why it couldn't be fetched.
    pub fetched: Result<String, SourceFault>,
    /// How long the fetch took.
    pub took: Duration,
    /// The keys that this machine's configuration takes authority away from; or why they can't be read.
    /// `None` if the poll crashed before.
    pub revoked: Option<Result<Vec<String>, String>>,
    /// What was verified.
    pub verification: Verification,
    /// The accepted revision, if it wasn't loaded before.
    pub accepted: Option<Arc<FleetRevision>>,
    /// Why what was fetched couldn't be verified or loaded.
    pub fault: Option<SourceFault>,
}

/// What a poll verified.
#[derive(Debug)]
pub enum Verification {
    /// Nothing new: the branch couldn't be fetched, or the keys couldn't be read.
    NotDone,
    /// The branch.
    Branch(Box<BranchVerdict>),
    /// Nothing can be verified.
    NoTrustRoot(TrustRootFault),
}

/// The verdict on the branch.
#[derive(Debug, Clone)]
pub struct BranchVerdict {
    /// The branch's head.
    pub head: String,
    /// The end of the longest accepted prefix.
    pub accepted: String,
    /// The first commit that isn't accepted.
    pub held: Option<HeldCommit>,
    /// The commits from the floor to the head.
    pub steps: Vec<StepVerdict>,
    /// When commits and tags were first seen.
    pub first_seen: BTreeMap<String, Timestamp>,
    /// Signed rollbacks among the steps.
    pub rollbacks: Vec<RollbackRecord>,
    /// Keys that signed tags take authority away from.
    pub revoked: Vec<String>,
    /// Keys that signed tags took it from before and take it from no more; `None` if no tag was read.
    pub unbacked: Option<Vec<String>>,
}

/// The verdict on one commit.
#[derive(Debug, Clone)]
pub struct StepVerdict {
    /// The commit.
    pub commit: String,
    /// Its verdict.
    pub verdict: CommitVerdict,
    /// The first line of its message, where it may be shown.
    pub summary: String,
    /// Why it isn't accepted, a sentence each.
    pub reasons: Vec<String>,
}

/// The phases of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollPhase {
    /// None is in progress.
    Idle,
    /// The source is fetched and verified.
    Fetching,
    /// The accepted floor is written.
    Persisting,
}

/// What is known of the source.
#[derive(Debug)]
pub(super) struct SourceState {
    pub(super) record: SourceRecord,
    /// True if the branch was verified since the start: before, nothing is known of what is held.
    pub(super) verified: bool,
    pub(super) head: Option<String>,
    pub(super) accepted: Option<String>,
    pub(super) held: Option<HeldCommit>,
    pub(super) root_fault: Option<TrustRootFault>,
    /// What keeps the branch from being verified or its verdict from being used.
    pub(super) blocked: Option<(ConditionReason, String)>,
    /// The result of the last fetch; `None` before the first.
    pub(super) fetch: Option<Result<(), SourceFault>>,
    pub(super) last_fetch: Option<Timestamp>,
    /// Keys that this machine's configuration takes authority away from; `None` before they were read.
    pub(super) revoked: Option<Vec<String>>,
    /// Keys of which was told that no tag backs their revocation any more.
    pub(super) unbacked: Vec<String>,
    pub(super) phase: PollPhase,
    /// True if another poll was asked for during this one.
    pub(super) again: bool,
    pub(super) next_poll: Timestamp,
    pub(super) poll_begun: Option<Timestamp>,
    pub(super) last_poll: Option<Timestamp>,
    /// Fetches in a row that failed.
    pub(super) fetch_failures: u32,
    /// Floors in a row that couldn't be persisted.
    pub(super) floor_failures: u32,
    /// The conditions with the times at which they changed.
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

    /// `Ready` and `SourceVerified`, derived; what keeps its status keeps its transition time.
    pub(super) fn derive(&mut self, now: Timestamp) {
        let ready = self.fetch.as_ref().map(|fetch| match fetch {
            Ok(()) => (
                ConditionStatus::True,
                ConditionReason::Fetched,
                "the repository was fetched at the last attempt".to_owned(),
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

    fn verification(&self) -> Option<(ConditionStatus, ConditionReason, String)> {
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
            format!("every commit up to {head} is accepted"),
        ))
    }

    /// The reason of a condition, if it is known.
    pub(super) fn reason(&self, kind: ConditionType) -> Option<ConditionReason> {
        self.conditions.get(kind).map(|condition| condition.reason)
    }

    pub(super) fn view(&self, settings: &LoopSettings) -> SourceView {
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
            conditions: self.conditions.clone(),
        }
    }
}

/// What a condition and a record say of a held commit.
pub(super) fn held_message(held: &HeldCommit) -> String {
    format!("{} isn't accepted: {}", held.commit, held.message)
}
