//! One poll of the source: fetches, verifies, and loads the accepted revision. The result is an event in the
//! loop's own types, with commits, keys and reasons as text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::report::Retry;
use plumb_core::alerting::{HeldCommit, Hold};
use plumb_core::fleet::{
    BranchVerdict, FleetRevision, REVISIONS, ResumeRecord, RollbackRecord, SourceFault, SourcePoll,
    StepVerdict, Verification,
};
use plumb_core::message::Message;
use plumb_core::ports::SourceError;
use plumb_core::reason::ConditionReason;
use plumb_core::view::{CommitHeader, CommitVerdict};
use plumb_trust::source::{Fetched, VerifyRequest};
use plumb_trust::{Detail, Oid, Outcome, Reason, ReasonCode, Revocations, Step, Verdict};

use crate::accepted::AcceptedRevision;
use crate::poll_input::{Poll, named};
use crate::settings::{RevokedReader, SourcePort};
use crate::trust_root::{TrustRootError, trust_root_error};

/// The commit that is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VerifySubject {
    /// The head of the fetched branch.
    Branch,
    /// The floor (the last accepted commit), because the branch can't be fetched.
    Floor,
}

/// The result of a verification.
struct VerifiedBranch {
    head: Oid,
    outcome: Outcome,
    first_seen: BTreeMap<Oid, Timestamp>,
}

/// Creates the result of a poll whose task crashed.
pub(crate) fn crashed() -> SourcePoll {
    SourcePoll {
        fetched: Err(SourceFault {
            reason: ConditionReason::Panicked,
            message:
                "the poll of the repository crashed; this is a defect of Plumb, see the controller's log"
                    .into(),
            retry: Retry::Transient,
        }),
        took: Duration::ZERO,
        revoked: None,
        verification: Verification::NotDone,
        accepted: None,
        fault: None,
    }
}

/// Converts an error of the source to the loop's type.
fn fault(error: &SourceError) -> SourceFault {
    SourceFault {
        reason: error.reason(),
        message: Message::new(error.to_string()).with_hint(error.hint()),
        retry: error.retry(),
    }
}

/// Polls the source once.
pub(crate) async fn poll(source: Arc<SourcePort>, poll: Poll) -> SourcePoll {
    let start = tokio::time::Instant::now();
    let fetched = source.fetch().await;
    let revoked = read_revoked(&poll.revoked).await;
    let mut polled = SourcePoll {
        fetched: match &fetched {
            Ok(fetched) => Ok(fetched.head.to_string()),
            Err(error) => Err(fault(error)),
        },
        took: start.elapsed(),
        revoked: Some(match &revoked {
            Ok(revoked) => Ok(revoked.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.clone()),
        }),
        verification: Verification::NotDone,
        accepted: None,
        fault: None,
    };
    let Ok(revoked) = revoked else {
        return polled;
    };
    let mut subject = VerifySubject::Branch;
    let fetched = match (fetched, poll.floor()) {
        (Ok(fetched), _) => fetched,
        // If the repository can't be fetched and nothing is loaded yet, hosts are driven to the floor.
        (Err(_), Some(floor)) if poll.loaded().is_none() => {
            subject = VerifySubject::Floor;
            Fetched {
                head: floor,
                tags: Vec::new(),
            }
        }
        (Err(_), _) => return polled,
    };
    match verify(source.as_ref(), &poll, &revoked, fetched, subject).await {
        Ok(Err(error)) => {
            let fault = error.fault(&source.describe());
            polled.verification = Verification::NoTrustRoot(fault);
        }
        Ok(Ok(verified)) => {
            match load(source.as_ref(), &verified.outcome, poll.loaded()).await {
                Ok(accepted) => polled.accepted = accepted,
                Err(error) => polled.fault = Some(fault(&error)),
            }
            if subject == VerifySubject::Branch {
                let verdict = Box::new(verified.verdict(poll.now));
                polled.verification = Verification::Branch(verdict);
            }
        }
        Err(error) => polled.fault = Some(fault(&error)),
    }
    polled
}

/// Loads the accepted revision; returns `None` if there is none or `loaded` is that revision.
async fn load(
    source: &SourcePort,
    outcome: &Outcome,
    loaded: Option<Oid>,
) -> Result<Option<Arc<FleetRevision>>, SourceError> {
    let revision = outcome.revision().filter(|r| Some(r.commit()) != loaded);
    let Some(revision) = revision else {
        return Ok(None);
    };
    let files = source.files(revision.clone()).await?;
    // Loading and resolving a fleet takes long, so it runs on a thread of its own.
    let load = move || AcceptedRevision::load(revision, files).into_revision();
    Ok(tokio::task::spawn_blocking(load).await.ok())
}

/// Reads the revoked keys on a thread of their own, because the reader blocks.
async fn read_revoked(reader: &Arc<RevokedReader>) -> Result<Revocations, String> {
    let reader = reader.clone();
    let read = tokio::task::spawn_blocking(move || reader()).await;
    read.unwrap_or_else(|error| Err(format!("reading the revoked keys crashed: {error}")))
}

async fn verify(
    source: &SourcePort,
    poll: &Poll,
    revoked: &Revocations,
    fetched: Fetched,
    subject: VerifySubject,
) -> Result<Result<VerifiedBranch, TrustRootError>, SourceError> {
    let seen = poll.request.first_seen.iter();
    let seen = seen.filter_map(|(commit, at)| Some((commit.parse().ok()?, *at)));
    let mut first_seen: BTreeMap<Oid, Timestamp> = seen.collect();
    let before = poll.request.revoked_before.iter();
    let revoked_before: Revocations = before.filter_map(|key| key.parse().ok()).collect();
    // Without a floor every commit is history: nobody knows when it arrived.
    let history = poll.floor().is_none();
    if !history {
        first_seen.entry(fetched.head).or_insert(poll.now);
        for tag in &fetched.tags {
            first_seen.entry(tag.target).or_insert(poll.now);
        }
    }
    loop {
        let request = VerifyRequest {
            introduction: poll.introduction,
            floor: poll.floor(),
            head: fetched.head,
            tags: fetched.tags.clone(),
            now: poll.now,
            first_seen: first_seen.clone(),
            revoked: revoked.clone(),
            revoked_before: revoked_before.clone(),
            lower_bounds: poll.bound().into_iter().collect(),
            detail: Detail::Newest(REVISIONS),
            ..VerifyRequest::new(poll.introduction, fetched.head, poll.now)
        };
        let outcome = source.verify(request).await?;
        if subject == VerifySubject::Branch
            && let Some(error) = trust_root_error(source, poll, &outcome).await?
        {
            return Ok(Err(error));
        }
        // Only a verification shows which commits are new. If there are any, verify again with their arrival
        // times, before the verdict is used.
        let mut news = false;
        for step in outcome.steps.iter().filter(|_| !history) {
            first_seen.entry(step.commit).or_insert_with(|| {
                news = true;
                poll.now
            });
        }
        if news {
            continue;
        }
        let current: std::collections::BTreeSet<_> = outcome
            .steps
            .iter()
            .map(|step| step.commit)
            .chain(fetched.tags.iter().map(|tag| tag.target))
            .collect();
        if history {
            for oid in &current {
                first_seen.entry(*oid).or_insert(poll.now);
            }
        }
        // The arrival time of an accepted commit is never needed again.
        first_seen.retain(|oid, _| current.contains(oid) && *oid != outcome.accepted);
        return Ok(Ok(VerifiedBranch {
            head: fetched.head,
            outcome,
            first_seen,
        }));
    }
}

/// Loads an older accepted revision that is still the target of a host.
pub(crate) async fn load_old(
    source: Arc<SourcePort>,
    introduction: Oid,
    accepted: &str,
    commit: &str,
    now: Timestamp,
) -> Result<Option<Arc<FleetRevision>>, SourceError> {
    let (Some(accepted), Some(commit)) = (named(Some(accepted)), named(Some(commit))) else {
        return Ok(None);
    };
    // Every commit of the chain between the introduction and the accepted commit was accepted when it was
    // new. No other commit may be trusted as a floor.
    let on_chain =
        source.descends(introduction, commit).await? && source.descends(commit, accepted).await?;
    if !on_chain {
        return Ok(None);
    }
    let mut request = VerifyRequest::new(introduction, commit, now);
    request.floor = Some(commit);
    let outcome = source.verify(request).await?;
    if outcome.revision().is_none_or(|r| r.commit() != commit) {
        return Ok(None);
    }
    load(source.as_ref(), &outcome, None).await
}

/// Returns the first step that isn't accepted, with its reasons. If there is no such step, returns the
/// reasons of the whole outcome.
fn reasons(outcome: &Outcome) -> (Option<&Step>, &[Reason]) {
    match outcome.first_held() {
        Some(step) => (Some(step), &step.reasons),
        None => (None, &outcome.reasons),
    }
}

/// True if a person should look at the verdict at once.
fn is_alarming(verdict: Verdict, reasons: &[Reason]) -> bool {
    matches!(verdict, Verdict::Reject | Verdict::PendingAlarm)
        || reasons.iter().any(|reason| {
            matches!(
                reason.code,
                ReasonCode::Uncovered | ReasonCode::UnknownKey | ReasonCode::UnsupportedSignature
            )
        })
}

/// Returns the properties by which people recognize a commit.
fn header(step: &Step) -> CommitHeader {
    let mut signers: Vec<String> = Vec::new();
    for signer in &step.signers {
        if !signers.contains(&signer.identity) {
            signers.push(signer.identity.clone());
        }
    }
    CommitHeader {
        summary: step.subject.clone(),
        author: step.author.clone(),
        committed: step.committed,
        signers,
    }
}

const fn commit_verdict(verdict: Verdict) -> CommitVerdict {
    match verdict {
        Verdict::Accept => CommitVerdict::Accept,
        Verdict::Pending => CommitVerdict::Pending,
        Verdict::PendingAlarm => CommitVerdict::PendingAlarm,
        Verdict::Reject => CommitVerdict::Reject,
    }
}

impl VerifiedBranch {
    /// Converts the verification's result to the loop's own types.
    fn verdict(self, now: Timestamp) -> BranchVerdict {
        let held = self.held(now);
        let text = |keys: &[plumb_trust::KeyName]| keys.iter().map(ToString::to_string).collect();
        let Self {
            head,
            outcome,
            first_seen,
        } = self;
        tracing::debug!(%head, verdict = %outcome.verdict, "verified");
        BranchVerdict {
            head: head.to_string(),
            accepted: outcome.accepted.to_string(),
            held,
            steps: outcome
                .steps
                .iter()
                .map(|step| StepVerdict {
                    commit: step.commit.to_string(),
                    verdict: commit_verdict(step.verdict),
                    header: header(step),
                    reasons: step.reasons.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            first_seen: first_seen
                .into_iter()
                .map(|(commit, at)| (commit.to_string(), at))
                .collect(),
            rollbacks: outcome
                .rollbacks
                .iter()
                .map(|rollback| RollbackRecord {
                    from: rollback.from.to_string(),
                    to: rollback.to.to_string(),
                    commit: rollback.commit.to_string(),
                })
                .collect(),
            resumes: outcome
                .resumes
                .iter()
                .map(|resume| ResumeRecord {
                    rollout: resume.rollout.clone(),
                    commit: resume.commit.to_string(),
                })
                .collect(),
            revoked: text(&outcome.revoked),
            unbacked: outcome.unbacked.as_deref().map(text),
        }
    }

    /// Returns the first commit that isn't accepted. Its text for alerts has codes and counts, but nothing
    /// that the commit's author wrote.
    fn held(&self, now: Timestamp) -> Option<HeldCommit> {
        if self.outcome.is_accept() {
            return None;
        }
        let (step, reasons) = reasons(&self.outcome);
        let commit = step.map_or(self.head, |step| step.commit);
        let verdict = step.map_or(self.outcome.verdict, |step| step.verdict);
        let at = self.outcome.steps.iter().position(|s| s.commit == commit);
        let because: Vec<_> = reasons.iter().map(alert_text).collect();
        Some(HeldCommit {
            commit: commit.to_string(),
            verdict: commit_verdict(verdict),
            hold: if is_alarming(verdict, reasons) {
                Hold::Alarm
            } else {
                Hold::Waiting
            },
            // The status page shows what is missing, but not who could provide it.
            reasons: reasons
                .iter()
                .map(|reason| format!("{reason} [{}]", reason.code))
                .collect(),
            sentences: reasons.iter().map(ToString::to_string).collect(),
            codes: reasons.iter().map(|r| r.code.to_string()).collect(),
            because: format!("Not accepted: {}.", because.join("; ")),
            behind: at.map_or(0, |at| self.outcome.steps.len() - at - 1),
            accepted: Some(self.outcome.accepted.to_string()),
            since: self.first_seen.get(&commit).copied().unwrap_or(now),
        })
    }
}

/// Describes a reason for an alert: its code, and counts, but no text that the commit's author chose.
fn alert_text(reason: &Reason) -> String {
    let missing: Vec<_> = reason
        .missing
        .iter()
        .map(|missing| {
            format!(
                "it needs {} from {} and has {}",
                missing.count, missing.from, missing.have
            )
        })
        .collect();
    let text = match reason.code {
        ReasonCode::Uncovered => "no identity of the policy signed or approved it".to_owned(),
        _ if !missing.is_empty() => missing.join(", "),
        code => return code.to_string(),
    };
    format!("{text} [{}]", reason.code)
}
