//! Simulates the verdicts of commits that follow pending ones, as if the pending ones were accepted.
//!
//! The result is advice and no verdict; a server's hook shows it before it accepts a push. Nothing here
//! accepts a commit or makes a [`Verified`](crate::Verified).

use std::ops::ControlFlow;
use std::rc::Rc;

use super::commits::{malformed, parse, read};
use super::history::History;
use super::{Evaluation, Parent, revision};
use crate::inputs::Inputs;
use crate::object::{Checked, Commit, Objects};
use crate::oid::Oid;
use crate::outcome::{Outcome, Step};
use crate::reason::{Reason, ReasonCode};

/// A commit that wouldn't be accepted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Held {
    /// The previous commit of the chain.
    pub after: Oid,
    /// The verdict and reasons at the present time, without notes.
    pub step: Step,
    /// The verdict and reasons at the time of the commit's own date, if that is in the future.
    pub once_due: Option<Step>,
}

/// Verifies each commit from the floor to the head as if all commits before it were accepted. Calls `tell`
/// with each commit that wouldn't be accepted, oldest first, until `tell` breaks. Ignores the heartbeat.
///
/// This is for showing people the effect of a push. Never act on it: only [`verify`](crate::verify) decides.
///
/// # Errors
/// Fails if the floor can't be read, or if no chain leads from it to the head.
pub fn simulate(
    objects: &dyn Objects,
    inputs: &Inputs<'_>,
    tell: &mut dyn FnMut(Held) -> ControlFlow<()>,
) -> Result<(), Reason> {
    let floor = inputs.floor.unwrap_or(inputs.introduction);
    let mut outcome = Outcome::at(floor);
    let (mut evaluation, mut parent) = Evaluation::begin(
        Checked(objects),
        inputs,
        floor,
        &Rc::default(),
        &mut outcome,
    )?;
    let mut history = History::default();
    for at in 0..evaluation.chain.len() {
        let id = evaluation.chain.get(at);
        let (mut step, next) = evaluation.step(&parent, at, None, &mut history);
        if let Some((next, _)) = next {
            parent = next;
            continue;
        }
        let once_due = evaluation.once_due(&parent, at, &step, &mut history);
        step.notes = Vec::new();
        let after = parent.id;
        let stand_in = evaluation.simulated(&parent, at, id);
        if let Err(reason) = &stand_in
            && !step.reasons.contains(reason)
        {
            // Without a stand-in the next commits can't be verified, so this reason would block them for
            // good.
            step.verdict = step.verdict.max(reason.code.verdict());
            step.reasons.push(reason.clone());
        }
        let told = tell(Held {
            after,
            step,
            once_due,
        });
        match stand_in {
            Ok(next) if told.is_continue() => parent = next,
            _ => break,
        }
    }
    Ok(())
}

impl Evaluation<'_> {
    /// Returns what the next step needs to know of a commit, as if the commit were accepted.
    fn simulated(&mut self, before: &Parent, at: usize, id: Oid) -> Result<Parent, Reason> {
        let raw = read(self.objects, &id)?;
        let commit = Commit::parse(&raw, id.format()).map_err(|e| malformed(&e))?;
        // A new policy that no identity of the old one has approved isn't read, so the commits that follow it
        // can't be verified. An approved policy was read when its step was verified.
        let trust = self.trees.trust(&commit.tree)?;
        if trust
            .is_some_and(|trust| trust != before.trust && !self.authorities.contains_key(&trust))
        {
            let message = "it changes trust/, and nobody of the policy has signed or approved it";
            return Err(Reason::new(ReasonCode::Uncovered, message));
        }
        let mut parent = self.parent_of(id, &commit)?;
        parent.seconds = before.seconds.max(commit.committer.seconds);
        if parent.trust != before.trust {
            self.revoked.remember(&parent.authority);
            self.recorded.add(&parent.authority);
        }
        self.revoke_after(before, &parent, &revision(&commit, id, None), at);
        Ok(parent)
    }

    /// Verifies the step again at the time of the commit's own date, if the step waits for that date.
    fn once_due(
        &mut self,
        parent: &Parent,
        at: usize,
        step: &Step,
        history: &mut History,
    ) -> Option<Step> {
        let future = |reason: &Reason| reason.code == ReasonCode::Future;
        if !step.reasons.iter().any(future) {
            return None;
        }
        let raw = read(self.objects, &step.commit).ok()?;
        let commit = parse(&raw, &step.commit).ok()?;
        let now = self.now;
        self.now = now.max(commit.committer.seconds);
        // If the step is accepted then, its revocations apply, as they do for a simulated commit.
        let (mut due, _) = self.step(parent, at, None, history);
        self.now = now;
        due.notes = Vec::new();
        Some(due)
    }
}
