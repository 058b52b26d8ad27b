//! One look at the source: fetch, verify, and load what is accepted. It changes no state of the loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_core::alerting::{HeldCommit, Hold};
use plumb_trust::source::{Fetched, Source, SourceError, VerifyRequest};
use plumb_trust::{Detail, Oid, Outcome, Reason, ReasonCode, Revocations, Step, Verdict};

use crate::desired::Accepted;
use crate::ground::{Unfounded, unfounded};
use crate::settings::RevokedReader;
use crate::view::HeldView;

/// What a look at the source needs to know.
#[derive(Clone)]
pub(crate) struct Look {
    pub(crate) introduction: Oid,
    /// The last commit that was accepted from this introduction.
    pub(crate) floor: Option<Oid>,
    /// The last one that was accepted from another; it must be on what this one leads to.
    pub(crate) bound: Option<Oid>,
    pub(crate) first_seen: BTreeMap<Oid, Timestamp>,
    pub(crate) revoked: Arc<RevokedReader>,
    /// What signed tags took away before, wherever those tags are now.
    pub(crate) revoked_before: Revocations,
    /// The revision that is loaded already.
    pub(crate) loaded: Option<Oid>,
    pub(crate) now: Timestamp,
}

/// What a look at the source came to.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What the repository has; or why it couldn't be fetched.
    pub(crate) fetched: Result<Oid, SourceError>,
    /// How long that took.
    pub(crate) took: Duration,
    /// The verdict; none where nothing could be verified.
    pub(crate) judged: Option<Judged>,
    /// Why nothing could be judged, though all could be read.
    pub(crate) unfounded: Option<Unfounded>,
    /// Why what is accepted couldn't be judged or loaded.
    pub(crate) failed: Option<SourceError>,
    /// What is accepted and wasn't loaded yet.
    pub(crate) accepted: Option<Arc<Accepted>>,
    /// The keys that this machine's configuration takes authority away from; or why they can't be
    /// read: nothing is judged without them.
    pub(crate) revoked: Result<Revocations, String>,
}

/// What was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// The branch as it is now.
    Branch,
    /// What was accepted before, because the branch can't be had.
    Floor,
}

/// What came of a verification.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) basis: Basis,
    pub(crate) head: Oid,
    pub(crate) floor: Oid,
    pub(crate) outcome: Outcome,
    pub(crate) first_seen: BTreeMap<Oid, Timestamp>,
}

/// Looks at the source once.
pub(crate) async fn look(source: Arc<dyn Source>, look: Look) -> Looked {
    let start = tokio::time::Instant::now();
    let fetched = source.fetch().await;
    let mut looked = Looked {
        fetched: fetched.as_ref().map(|f| f.head).map_err(Clone::clone),
        took: start.elapsed(),
        judged: None,
        unfounded: None,
        failed: None,
        accepted: None,
        revoked: read_revoked(&look.revoked).await,
    };
    let Ok(revoked) = looked.revoked.clone() else {
        return looked;
    };
    let mut basis = Basis::Branch;
    let fetched = match (fetched, look.floor) {
        (Ok(fetched), _) => fetched,
        // What was accepted before goes on being driven while the repository can't be had.
        (Err(_), Some(floor)) if look.loaded.is_none() => {
            basis = Basis::Floor;
            Fetched {
                head: floor,
                tags: Vec::new(),
            }
        }
        (Err(_), _) => return looked,
    };
    match judge(source.as_ref(), &look, &revoked, fetched, basis).await {
        Ok(Err(unfounded)) => looked.unfounded = Some(unfounded),
        Ok(Ok(judged)) => {
            let revision = judged.outcome.revision();
            if let Some(revision) = revision.filter(|r| Some(r.commit()) != look.loaded) {
                match source.files(revision.clone()).await {
                    Ok(files) => {
                        // Loading and resolving a fleet takes its time; the loop goes on meanwhile.
                        let load = move || Arc::new(Accepted::load(revision, files));
                        looked.accepted = tokio::task::spawn_blocking(load).await.ok();
                    }
                    Err(error) => looked.failed = Some(error),
                }
            }
            looked.judged = Some(judged);
        }
        Err(error) => looked.failed = Some(error),
    }
    looked
}

/// Reads the folder beside the loop.
async fn read_revoked(reader: &Arc<RevokedReader>) -> Result<Revocations, String> {
    let reader = reader.clone();
    let read = tokio::task::spawn_blocking(move || reader()).await;
    read.unwrap_or_else(|error| Err(format!("reading the revoked keys crashed: {error}")))
}

async fn judge(
    source: &dyn Source,
    look: &Look,
    revoked: &Revocations,
    fetched: Fetched,
    basis: Basis,
) -> Result<Result<Judged, Unfounded>, SourceError> {
    let mut first_seen = look.first_seen.clone();
    // At the very first look everything is history: nothing is known of when it came.
    let history = look.floor.is_none();
    if !history {
        first_seen.entry(fetched.head).or_insert(look.now);
        for tag in &fetched.tags {
            first_seen.entry(tag.target).or_insert(look.now);
        }
    }
    loop {
        let request = VerifyRequest {
            introduction: look.introduction,
            floor: look.floor,
            head: fetched.head,
            tags: fetched.tags.clone(),
            now: look.now,
            first_seen: first_seen.clone(),
            revoked: revoked.clone(),
            revoked_before: look.revoked_before.clone(),
            lower_bounds: look.bound.into_iter().collect(),
            detail: Detail::Brief,
            ..VerifyRequest::new(look.introduction, fetched.head, look.now)
        };
        let outcome = source.verify(request).await?;
        if basis == Basis::Branch
            && let Some(unfounded) = unfounded(source, look, &outcome).await?
        {
            return Ok(Err(unfounded));
        }
        // Which commits are new is known only behind a verification. Their times are asked of them
        // in a second one, before anything is done with the verdict.
        let mut news = false;
        for step in outcome.steps.iter().filter(|_| !history) {
            first_seen.entry(step.commit).or_insert_with(|| {
                news = true;
                look.now
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
                first_seen.entry(*oid).or_insert(look.now);
            }
        }
        // What is accepted is never asked for its age again.
        first_seen.retain(|oid, _| current.contains(oid) && *oid != outcome.accepted);
        return Ok(Ok(Judged {
            basis,
            head: fetched.head,
            floor: look.floor.unwrap_or(look.introduction),
            outcome,
            first_seen,
        }));
    }
}

/// Loads a revision that was accepted before: hosts are still driven to it.
pub(crate) async fn load_old(
    source: Arc<dyn Source>,
    between: (Oid, Oid),
    commit: Oid,
    now: Timestamp,
) -> Result<Option<Arc<Accepted>>, SourceError> {
    let (introduction, accepted) = between;
    // Each step of the chain between the two was accepted when it was new; nothing else may be
    // trusted as a floor.
    let on_chain =
        source.descends(introduction, commit).await? && source.descends(commit, accepted).await?;
    if !on_chain {
        return Ok(None);
    }
    let mut request = VerifyRequest::new(introduction, commit, now);
    request.floor = Some(commit);
    let outcome = source.verify(request).await?;
    let Some(revision) = outcome.revision().filter(|r| r.commit() == commit) else {
        return Ok(None);
    };
    let files = source.files(revision.clone()).await?;
    let load = move || Arc::new(Accepted::load(revision, files));
    Ok(tokio::task::spawn_blocking(load).await.ok())
}

/// The reasons that hold a head: those of the first step that isn't accepted, or of the whole.
fn reasons(outcome: &Outcome) -> (Option<&Step>, &[Reason]) {
    match outcome.first_held() {
        Some(step) => (Some(step), &step.reasons),
        None => (None, &outcome.reasons),
    }
}

/// Whether somebody should look at it at once.
fn is_alarming(verdict: Verdict, reasons: &[Reason]) -> bool {
    matches!(verdict, Verdict::Reject | Verdict::PendingAlarm)
        || reasons.iter().any(|reason| {
            matches!(
                reason.code,
                ReasonCode::Uncovered | ReasonCode::UnknownKey | ReasonCode::UnsupportedSignature
            )
        })
}

impl Judged {
    /// The first commit that isn't accepted, in words for alerts: codes and counts of ours, nothing
    /// that its author wrote.
    pub(crate) fn held(&self, now: Timestamp) -> Option<(HeldCommit, HeldView)> {
        if self.outcome.is_accept() {
            return None;
        }
        let (step, reasons) = reasons(&self.outcome);
        let commit = step.map_or(self.head, |step| step.commit);
        let verdict = step.map_or(self.outcome.verdict, |step| step.verdict);
        let since = self.first_seen.get(&commit).copied().unwrap_or(now);
        let at = self.outcome.steps.iter().position(|s| s.commit == commit);
        let behind = at.map_or(0, |at| self.outcome.steps.len() - at - 1);
        let because: Vec<_> = reasons.iter().map(in_our_words).collect();
        let held = HeldCommit {
            commit: commit.to_string(),
            hold: if is_alarming(verdict, reasons) {
                Hold::Alarm
            } else {
                Hold::Waiting
            },
            because: format!("{}.", because.join("; ")),
            behind,
            accepted: Some(self.outcome.accepted.to_string()),
            since,
        };
        let view = HeldView {
            commit: commit.to_string(),
            verdict: verdict.as_str().to_owned(),
            reasons: reasons.to_vec(),
            behind,
            since,
        };
        Some((held, view))
    }
}

fn in_our_words(reason: &Reason) -> String {
    let missing: Vec<_> = reason
        .missing
        .iter()
        .map(|missing| {
            format!(
                "needs {} of {}, has {}",
                missing.count, missing.from, missing.have
            )
        })
        .collect();
    if missing.is_empty() {
        reason.code.as_str().to_owned()
    } else {
        format!("{} ({})", reason.code, missing.join(", "))
    }
}
