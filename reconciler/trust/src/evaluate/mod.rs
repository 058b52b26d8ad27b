//! Verifies the chain from the floor to the head, step by step.
//!
//! STRATEGY. The first-parent chain is walked from the head down to the floor, and only the parent of each
//! commit is read. Then each step `P → C` is verified, from the floor upwards, by the policy of `P` alone:
//!
//! 1. `C` is parsed strictly. Bytes that can be read in two ways are rejected.
//! 2. The trees are compared. A rule must own each changed path.
//! 3. The signatures that count are collected, each with its identity, its time, and the changed paths that
//!    it covers.
//! 4. Signatures that lie close enough together in time must meet all needs of all rules that own a changed
//!    path. If the policy requires it, signatures that name this branch must cover every changed path.
//! 5. If `C` changes `trust/`, the new content must be valid as the next policy.
//!
//! The first step that isn't accepted ends the verification: every later commit gets the reason `ancestor`.

mod approvals;
mod bounds;
mod chain;
mod commits;
mod counted_signature;
mod coverage;
mod fork;
mod freshness;
mod graph;
mod history;
mod policy_step;
mod prefetch;
mod recorded;
mod revocation;
mod side;
mod simulate;
mod span;
mod step;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;

use crate::diff::Trees;
use crate::inputs::{Inputs, Progress};
use crate::object::{Checked, Commit, Objects, Trailers};
use crate::oid::Oid;
use crate::outcome::{Outcome, Resume, Rollback, Step};
use crate::policy::{Authority, first_error};
use crate::reason::{Reason, ReasonCode};
use crate::verdict::Verdict;
use crate::verified::Revision;
use crate::work::WorkCounter;

pub use simulate::{Held, simulate};

use approvals::Approvals;
use bounds::Bounds;
use chain::Chain;
use freshness::{End, Hold};
use graph::Graph;
use prefetch::Prefetch;
use recorded::Recorded;
use revocation::Revoked;
use span::Spans;

/// Maximum number of commits before the floor whose dates are read.
const BEFORE_FLOOR: usize = 256;

/// Maximum number of cached policies.
const AUTHORITIES: usize = 8;

/// An accepted commit: the facts that the next step needs.
#[derive(Clone)]
struct Parent {
    id: Oid,
    tree: Oid,
    trust: Oid,
    /// The commit's time in seconds since 1970, as the commit itself shows it; never before its parent's
    /// time.
    seconds: i64,
    authority: Arc<Authority>,
}

/// The state that all steps share.
struct Evaluation<'a> {
    objects: Checked<'a>,
    inputs: &'a Inputs<'a>,
    now: i64,
    trees: Trees<'a>,
    graph: Graph<'a>,
    authorities: HashMap<Oid, Arc<Authority>>,
    chain: Chain,
    approvals: Approvals,
    revoked: Revoked,
    recorded: Recorded,
    spans: Spans,
    work: Rc<WorkCounter>,
}

/// Verifies every commit after the floor up to the head.
pub fn verify(objects: &dyn Objects, inputs: &Inputs<'_>) -> Outcome {
    let floor = inputs.floor.unwrap_or(inputs.introduction);
    let mut outcome = Outcome::at(floor);
    let objects = Checked(objects);
    let work = Rc::new(WorkCounter::default());
    let begun = Evaluation::begin(objects, inputs, floor, &work, &mut outcome);
    match begun.map(|(mut evaluation, parent)| evaluation.run(parent, None, &mut outcome)) {
        Ok(None) => {}
        // Nothing that was found after the first blocked commit may count, so the chain is verified again up
        // to there.
        Ok(Some(hold)) => {
            let mut again = Outcome::at(floor);
            if let Ok((mut evaluation, parent)) =
                Evaluation::begin(objects, inputs, floor, &work, &mut again)
            {
                evaluation.run(parent, Some(&hold), &mut again);
            }
            outcome = again;
        }
        Err(reason) => {
            if inputs.head != floor {
                outcome.steps.push(Step {
                    reasons: vec![reason.clone()],
                    ..Step::new(inputs.head, Verdict::Reject)
                });
            }
            outcome.reasons.push(reason);
        }
    }
    outcome.work = work.get();
    outcome
}

impl<'a> Evaluation<'a> {
    /// Reads the floor and finds the chain from it to the head.
    fn begin(
        objects: Checked<'a>,
        inputs: &'a Inputs<'a>,
        floor: Oid,
        work: &Rc<WorkCounter>,
        outcome: &mut Outcome,
    ) -> Result<(Self, Parent), Reason> {
        let mut evaluation = Self {
            objects,
            inputs,
            now: inputs.now.as_second(),
            trees: Trees::new(objects, work.clone()),
            graph: Graph::new(objects),
            authorities: HashMap::new(),
            chain: Chain::default(),
            approvals: Approvals::default(),
            revoked: Revoked::default(),
            recorded: Recorded::default(),
            spans: Spans::default(),
            work: work.clone(),
        };
        let raw = commits::read(objects, &floor)?;
        let commit = Commit::parse(&raw, floor.format()).map_err(|e| {
            Reason::new(
                ReasonCode::MalformedCommit,
                format!("the floor {}: {e}", floor.short()),
            )
        })?;
        outcome.revision = Some(revision(&commit, floor, None));
        let mut parent = evaluation.parent_of(floor, &commit)?;
        evaluation.revoked = Revoked::known(inputs);
        evaluation.recorded.add(&parent.authority);
        let (trailers, signed) = evaluation.own_trailers(&parent, &commit);
        parent.seconds = signed.map_or(parent.seconds, |signed| parent.seconds.max(signed));
        outcome.revision = Some(revision(&commit, floor, Some(trailers)));
        if let Some(reference) = inputs
            .reference
            .filter(|r| *r != parent.authority.policy.reference)
        {
            let message = format!(
                "the policy is of {} and not of {reference}",
                parent.authority.policy.reference
            );
            return Err(Reason::new(ReasonCode::PolicyMoved, message));
        }
        evaluation.chain = Chain::find(objects, &floor, &inputs.head)?;
        evaluation.approvals = Approvals::read(objects, inputs.tags, &parent.authority.policy);
        evaluation.revoked = evaluation.revocations(&parent);
        Ok((evaluation, parent))
    }

    fn parent_of(&mut self, id: Oid, commit: &Commit<'_>) -> Result<Parent, Reason> {
        let missing = || {
            Reason::new(
                ReasonCode::PolicyInvalid,
                format!("{}: {} is missing", id.short(), crate::policy::POLICY_PATH),
            )
        };
        let trust = self.trees.trust(&commit.tree)?.ok_or_else(missing)?;
        let authority = self.authority(&trust)?;
        Ok(Parent {
            id,
            tree: commit.tree,
            trust,
            seconds: self.made(id, commit),
            authority,
        })
    }

    /// Returns the time of the floor: the latest of its own date and the dates of up to [`BEFORE_FLOOR`]
    /// commits before it. The floor's own date isn't enough, because a forge's unsigned merge may claim any
    /// age. Commits between the introduction and the floor were accepted, so they weren't from the future
    /// then, and their dates count. Dates after now, and dates from before the introduction, don't count.
    fn made(&self, floor: Oid, commit: &Commit<'_>) -> i64 {
        let mut latest = commit.committer.seconds;
        let (mut at, mut next) = (floor, commit.parents.first().copied());
        for _ in 0..BEFORE_FLOOR {
            let Some(id) = next.filter(|_| at != self.inputs.introduction) else {
                break;
            };
            let Ok(node) = self.graph.node(&id) else {
                break;
            };
            if node.seconds <= self.now {
                latest = latest.max(node.seconds);
            }
            (at, next) = (id, node.parents.first().copied());
        }
        latest
    }

    /// Returns the policy and keys of a `trust` folder. Caches them.
    fn authority(&mut self, trust: &Oid) -> Result<Arc<Authority>, Reason> {
        if let Some(authority) = self.authorities.get(trust) {
            return Ok(authority.clone());
        }
        let loaded = Authority::load(self.objects, trust, self.inputs.now, &self.work);
        let authority = Arc::new(
            loaded.map_err(|wrong| Reason::new(ReasonCode::PolicyInvalid, first_error(&wrong)))?,
        );
        // Unsigned commits may bring one policy after the other, so the cache is bounded.
        if self.authorities.len() >= AUTHORITIES {
            self.authorities.clear();
        }
        self.authorities.insert(*trust, authority.clone());
        Ok(authority)
    }

    /// Verifies the chain, up to `hold` if given. Returns a hold if a stale heartbeat blocks commits that
    /// were just accepted.
    fn run(&mut self, parent: Parent, hold: Option<&Hold>, outcome: &mut Outcome) -> Option<Hold> {
        let (threads, total) = (self.inputs.threads, self.chain.len());
        std::thread::scope(|scope| {
            let mut prefetch = Prefetch::start(scope, threads, total);
            let found = self.run_beside(&mut prefetch, parent, hold, outcome);
            prefetch.end();
            found
        })
    }

    fn run_beside(
        &mut self,
        prefetch: &mut Prefetch<'_>,
        mut parent: Parent,
        hold: Option<&Hold>,
        outcome: &mut Outcome,
    ) -> Option<Hold> {
        let total = self.chain.len();
        outcome.verdict = Verdict::Accept;
        outcome.steps.reserve_exact(total);
        let mut history = history::History::default();
        let (mut accepted, mut asked) = (0, 0);
        for at in 0..total {
            if let Some(tell) = self.inputs.progress
                && at.is_multiple_of(256)
            {
                tell(Progress { done: at, total });
            }
            let id = self.chain.get(at);
            if accepted < at {
                outcome.steps.push(behind(id));
                continue;
            }
            if let Some(hold) = hold.filter(|hold| hold.after == at) {
                outcome.steps.push(Step::new(id, Verdict::Accept));
                outcome.reasons.push(hold.reason.clone());
                hold_at(at, &hold.reason, outcome);
                prefetch.end();
                continue;
            }
            let (step, next) = self.step(
                &parent,
                at,
                prefetch.take(self.objects, &self.chain, &id, &parent.authority),
                &mut history,
            );
            if let Some((next, revision)) = next {
                outcome.accepted = id;
                outcome.resumes.extend(resume(&revision));
                outcome.revision = Some(revision);
                if at == 0
                    && let Some(to) = self.chain.rollback
                {
                    outcome.rollbacks.push(Rollback {
                        from: parent.id,
                        to,
                        commit: id,
                    });
                }
                accepted = at + 1;
                if next.trust != parent.trust
                    && !freshness::asks_the_same(&parent.authority, &next.authority)
                {
                    asked = accepted;
                }
                parent = next;
            } else {
                outcome.verdict = step.verdict;
                prefetch.end();
            }
            outcome.steps.push(step);
            // The details of older accepted commits are dropped during the walk, because they would take most
            // of the memory.
            if accepted > at
                && let Some(old) = at.checked_sub(self.inputs.detail.kept())
                && let Some(step) = outcome.steps.get_mut(old)
            {
                *step = Step::new(step.commit, Verdict::Accept);
            }
        }
        if hold.is_none() {
            let end = End {
                parent: &parent,
                asked,
            };
            if let Some(hold) = self.heartbeat(&end, outcome) {
                if hold.after < accepted {
                    return Some(hold);
                }
                hold_at(accepted, &hold.reason, outcome);
            }
        }
        history.judge(&self.revoked, outcome);
        self.bounds(outcome);
        outcome.revoked_since = self
            .revoked
            .by_tags()
            .map(|(key, since)| (key.clone(), timestamp(since)))
            .collect();
        outcome.revoked = outcome.revoked_since.keys().cloned().collect();
        outcome.begun = self.begun(&parent, accepted.checked_sub(1));
        outcome.unbacked = Some(self.revoked.unbacked(&parent.authority));
        if let Some(tell) = self.inputs.progress {
            tell(Progress { done: total, total });
        }
        None
    }

    /// Adds to the outcome the lower bounds that are neither on the accepted part of the chain nor at or
    /// below the floor.
    fn bounds(&self, outcome: &mut Outcome) {
        for bound in self.inputs.lower_bounds {
            let on_chain = self
                .chain
                .position(bound)
                .is_some_and(|at| outcome.steps.get(at).is_some_and(|s| s.verdict.is_accept()));
            if !on_chain && !self.chain.is_at_or_below_floor(self.objects, bound) {
                outcome.off_chain.push(*bound);
            }
        }
    }

    /// Returns the floor's trailers if an identity has signed the floor, and the time of the floor's
    /// signature if a key of the policy made it. The policy here is that of the floor's parent, so that the
    /// trailers of a commit that adds its own signer's key have no effect. For the introduction, which is
    /// trusted without verification, it is the introduction's own policy.
    fn own_trailers(&mut self, floor: &Parent, commit: &Commit<'_>) -> (Trailers, Option<i64>) {
        let mut judge = floor.clone();
        if let Some(parent) = commit
            .parents
            .first()
            .filter(|_| floor.id != self.inputs.introduction)
        {
            let node = self.graph.node(parent);
            let trust = node.and_then(|node| self.trees.trust(&node.tree));
            let Ok(Some(trust)) = trust else {
                return (Trailers::default(), None);
            };
            let Ok(authority) = self.authority(&trust) else {
                return (Trailers::default(), None);
            };
            judge.authority = authority;
        }
        let finding = self.examine_commit(&judge.authority, commit);
        let past = |seconds: &i64| *seconds <= self.latest_time(&judge.authority);
        let signed = finding.made().map(|made| made.seconds).filter(past);
        let own = self.own_signature(&judge, commit, finding, Bounds::none());
        let trailers = if own.is_ok() {
            Trailers::parse(commit.message).unwrap_or_default()
        } else {
            Trailers::default()
        };
        (trailers, signed)
    }
}

/// Returns the step of a commit that comes after one that isn't accepted.
fn behind(id: Oid) -> Step {
    let reason = Reason::new(ReasonCode::Ancestor, "a commit before it isn't accepted");
    Step {
        reasons: vec![reason],
        ..Step::new(id, Verdict::Pending)
    }
}

/// Blocks the first commit after the `accepted` first ones, if there is one, for a reason that isn't about
/// the commit itself. A rejected commit stays rejected. Raises the outcome's verdict in any case.
fn hold_at(accepted: usize, reason: &Reason, outcome: &mut Outcome) {
    let verdict = reason.code.verdict();
    if let Some(step) = outcome.steps.get_mut(accepted)
        && step.verdict <= verdict
    {
        step.verdict = verdict;
        step.reasons.insert(0, reason.clone());
    }
    outcome.verdict = outcome.verdict.max(verdict);
}

/// Length of a commit's object name in hexadecimal, in a repository with SHA-256.
const LONGEST_COMMIT: usize = 64;

/// Returns the request of a signed commit to resume a rollout, if it has one.
fn resume(revision: &Revision) -> Option<Resume> {
    let rollout = revision.trailers.get("rollout-resume")?;
    Some(Resume {
        rollout: rollout.chars().take(LONGEST_COMMIT).collect(),
        commit: revision.commit,
    })
}

fn revision(commit: &Commit<'_>, id: Oid, trailers: Option<Trailers>) -> Revision {
    Revision {
        commit: id,
        tree: commit.tree,
        parent: commit.parents.first().copied(),
        committed: timestamp(commit.committer.seconds),
        subject: commit.subject(),
        author: commit.author_name(),
        trailers: trailers.unwrap_or_default(),
    }
}

pub(crate) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}
