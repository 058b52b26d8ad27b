//! Decides which commits of a push the hooks refuse. The hooks of the server and of the client use the same
//! code, so that a client never rejects a commit that its server would accept.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{
    Held, Inputs, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step, TagRef,
    Verdict, simulate, verify,
};

use super::input::RefUpdate;
use crate::report::Failure;
use crate::verdict::Verbosity;

/// The part of a push that a hook sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushView {
    /// All refs of the push.
    Whole,
    /// One ref, without the approvals of the same push.
    OneRef,
}

/// Maximum number of commits that may wait on the branch. Without this limit, anybody who may push could keep
/// a hook busy for as long as they like.
const MAX_WAITING: usize = 1000;

/// The inputs for the verification of a push.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) repository: &'a Repository,
    /// The full name of the branch.
    pub(super) reference: &'a str,
    pub(super) now: Timestamp,
    pub(super) introduction: Oid,
    pub(super) tags: &'a [TagRef],
    pub(super) tombstones: &'a BTreeSet<Oid>,
}

/// The reason why a commit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The commit can never be accepted.
    Never,
    /// No identity of the policy has signed or approved the commit.
    Uncovered,
}

impl Judge<'_> {
    /// Verifies the commits up to a tip. If `floor` is `None`, begins at the introduction and verifies the
    /// commits as of their own time: emergencies and freezes that are over don't count against them.
    pub(super) fn outcome_of(&self, floor: Option<Oid>, tip: Oid) -> Outcome {
        verify(self.repository.objects(), &self.inputs(floor, tip))
    }

    fn inputs(&self, floor: Option<Oid>, tip: Oid) -> Inputs<'_> {
        let mut inputs = Inputs::new(self.introduction, tip, self.now)
            .reference(self.reference)
            .tags(self.tags)
            .tombstones(self.tombstones)
            .effects(self.repository)
            .detail(Verbosity::Brief.detail())
            .threads(spare_threads());
        inputs.floor = floor;
        inputs
    }

    /// Returns the reason to refuse the first commit that isn't accepted, or `None` if the commit only waits.
    /// If it waits because its date is in the future, removes all other reasons from `way`.
    pub(super) fn refusal(&self, view: PushView, way: &mut Outcome) -> Option<Refusal> {
        if way.verdict == Verdict::Reject {
            return Some(Refusal::Never);
        }
        let step = way.first_held()?;
        if view == PushView::OneRef || !is_uncovered(step) {
            return None;
        }
        if !self.is_early(way.accepted, step) {
            return Some(Refusal::Uncovered);
        }
        let commit = step.commit;
        for step in way.steps.iter_mut().filter(|step| step.commit == commit) {
            step.reasons
                .retain(|reason| reason.code == ReasonCode::Future);
            step.reasons.truncate(1);
        }
        None
    }

    /// True if the commit's date is in the future, and a signature or approval by an identity will count from
    /// that date on.
    fn is_early(&self, parent: Oid, step: &Step) -> bool {
        let future = |reason: &Reason| reason.code == ReasonCode::Future;
        let dated = || {
            let objects = self.repository.objects();
            let raw = objects
                .read(&step.commit, ObjectKind::Commit, limits::COMMIT)
                .ok()?;
            let commit = Commit::parse(&raw, step.commit.format()).ok()?;
            Timestamp::from_second(commit.committer.seconds).ok()
        };
        step.reasons.iter().any(future)
            && dated().is_some_and(|then| {
                let way = Self {
                    now: then.max(self.now),
                    ..*self
                }
                .outcome_of(Some(parent), step.commit);
                way.verdict != Verdict::Reject && !way.first_held().is_some_and(is_uncovered)
            })
    }

    /// Finds the first commit after a waiting commit that must be refused. Each commit is verified as if the
    /// waiting commits before it were accepted.
    pub(super) fn refused_behind(
        &self,
        view: PushView,
        outcome: &Outcome,
        update: &RefUpdate,
    ) -> Result<Option<(Refusal, Outcome)>, Failure> {
        let (Some(new), Some(_)) = (update.new, outcome.first_held()) else {
            return Ok(None);
        };
        let steps = &outcome.steps;
        let at = |commit: Oid| steps.iter().position(|step| step.commit == commit);
        let known = update.old.and_then(at);
        let inputs = self.inputs(Some(outcome.accepted), new);
        let (mut room, mut found) = (MAX_WAITING, None);
        let mut look = |held: Held| {
            let place = at(held.step.commit);
            if place.is_none_or(|at| known.is_none_or(|known| at > known))
                && let Some(why) = refusal_of(view, &held)
            {
                found = Some(SearchEnd::Refused(why, Box::new(held)));
                return ControlFlow::Break(());
            }
            let Some(less) = room.checked_sub(1) else {
                found = Some(SearchEnd::TooMany);
                return ControlFlow::Break(());
            };
            room = less;
            ControlFlow::Continue(())
        };
        simulate(self.repository.objects(), &inputs, &mut look)
            .map_err(|reason| Failure::new(format!("cannot judge later commits: {reason}")))?;
        let (why, held) = match found {
            None => return Ok(None),
            Some(SearchEnd::Refused(why, held)) => (why, held),
            Some(SearchEnd::TooMany) => return Err(too_many(self.reference, new)),
        };
        let later = at(held.step.commit).and_then(|at| steps.get(at + 1..));
        let later = later.unwrap_or_default().iter().cloned();
        let mut way = outcome.clone();
        way.accepted = held.after;
        way.verdict = held.step.verdict;
        way.reasons = Vec::new();
        way.steps = std::iter::once(held.step).chain(later).collect();
        Ok(Some((why, way)))
    }

    /// Fails if the introduction isn't on the branch: then nothing was verified, and the person who pushes
    /// can't change that.
    pub(super) fn check_introduction(&self, way: &Outcome) -> Result<(), Failure> {
        let misplaced = |reason: &Reason| match reason.code {
            ReasonCode::NotDescendant | ReasonCode::Rewound => {
                Some("it isn't on the branch".to_owned())
            }
            ReasonCode::PolicyMoved | ReasonCode::PolicyInvalid => Some(reason.message.clone()),
            _ => None,
        };
        let why = if self.repository.objects().has(&self.introduction) {
            way.reasons.iter().find_map(misplaced)
        } else {
            Some("this repository has no such commit".to_owned())
        };
        let Some(why) = why else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "nothing was judged: this repository's plumb.introduction is {}, and {why}",
            self.introduction.short()
        ))
        .hint("ask the server's operator to set the branch's first trusted commit, in the bare repository: git config plumb.introduction COMMIT")
        .hint("if the commit is right, the push is to the wrong repository or branch"))
    }
}

/// The reason why the search among the commits after a waiting commit ended.
enum SearchEnd {
    Refused(Refusal, Box<Held>),
    TooMany,
}

fn too_many(reference: &str, new: Oid) -> Failure {
    Failure::new(format!(
        "{reference} isn't moved to {}: more than {MAX_WAITING} commits would wait for an earlier one",
        new.short()
    ))
    .hint("approve the waiting commits first: `plumb approve COMMIT --base COMMIT` approves many at once, also in the same push: git push --atomic")
    .hint("or push fewer at a time; you may set the branch back from commits that wait")
}

/// Returns the reason to refuse a commit after a waiting commit, or `None` if it only waits too.
fn refusal_of(view: PushView, held: &Held) -> Option<Refusal> {
    if held.step.verdict == Verdict::Reject {
        return Some(Refusal::Never);
    }
    let covered = |step: &Step| step.verdict != Verdict::Reject && !is_uncovered(step);
    let waits = view == PushView::OneRef
        || covered(&held.step)
        || held.once_due.as_ref().is_some_and(covered);
    (!waits).then_some(Refusal::Uncovered)
}

/// True if no identity of the policy has signed or approved the commit.
fn is_uncovered(step: &Step) -> bool {
    step.reasons
        .iter()
        .any(|reason| reason.code == ReasonCode::Uncovered)
}
