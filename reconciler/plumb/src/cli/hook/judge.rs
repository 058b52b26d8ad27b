//! What of a push is taken: the same for the server's hooks and for the client's, so that a client refuses
//! nothing that its server takes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{
    Held, Inputs, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step, TagRef,
    Verdict, presume, verify,
};

use super::Update;
use crate::judgement::Telling;
use crate::report::Failure;

/// How much of a push a hook is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All refs of it.
    Whole,
    /// One ref: approvals that come with it don't show.
    OneRef,
}

/// How many commits that wait are looked behind: whoever may push could make a hook work for as long as
/// they like. More of them are more than anybody means to look at.
const BEHIND: usize = 1000;

/// By what a push is judged.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) repository: &'a Repository,
    /// The branch.
    pub(super) reference: &'a str,
    pub(super) now: Timestamp,
    pub(super) introduction: Oid,
    pub(super) tags: &'a [TagRef],
    pub(super) tombstones: &'a BTreeSet<Oid>,
}

/// Why a commit isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It can never be accepted.
    Never,
    /// Nobody of the policy stands behind it.
    Uncovered,
}

impl Judge<'_> {
    /// What comes of the way to a tip. Without a floor it begins at the introduction and is history:
    /// emergencies and freezes that are over don't count against it.
    pub(super) fn way(&self, floor: Option<Oid>, tip: Oid) -> Outcome {
        verify(self.repository.objects(), &self.inputs(floor, tip))
    }

    fn inputs(&self, floor: Option<Oid>, tip: Oid) -> Inputs<'_> {
        let mut inputs = Inputs::new(self.introduction, tip, self.now)
            .reference(self.reference)
            .tags(self.tags)
            .tombstones(self.tombstones)
            .detail(Telling::Short.detail())
            .threads(spare_threads());
        inputs.floor = floor;
        inputs
    }

    /// Why the first commit of a way that isn't accepted isn't taken either; none if it merely waits. Of one
    /// that waits for its date, only that is left to be told.
    pub(super) fn refusal(&self, view: View, way: &mut Outcome) -> Option<Refusal> {
        if way.verdict == Verdict::Reject {
            return Some(Refusal::Never);
        }
        let step = way.first_held()?;
        if view == View::OneRef || !is_uncovered(step) {
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

    /// Whether somebody stands behind a commit once the time of its date has come.
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
                .way(Some(parent), step.commit);
                way.verdict != Verdict::Reject && !way.first_held().is_some_and(is_uncovered)
            })
    }

    /// What of a push isn't taken though it lies behind a commit that waits: each is judged as if what holds
    /// it were accepted.
    pub(super) fn behind(
        &self,
        view: View,
        outcome: &Outcome,
        update: &Update,
    ) -> Result<Option<(Refusal, Outcome)>, Failure> {
        let (Some(new), Some(_)) = (update.new, outcome.first_held()) else {
            return Ok(None);
        };
        let steps = &outcome.steps;
        let at = |commit: Oid| steps.iter().position(|step| step.commit == commit);
        let known = update.old.and_then(at);
        let inputs = self.inputs(Some(outcome.accepted), new);
        let (mut room, mut found) = (BEHIND, None);
        let mut look = |held: Held| {
            let place = at(held.step.commit);
            if place.is_none_or(|at| known.is_none_or(|known| at > known))
                && let Some(why) = refusal_of(view, &held)
            {
                found = Some(Behind::Refused(why, Box::new(held)));
                return ControlFlow::Break(());
            }
            let Some(less) = room.checked_sub(1) else {
                found = Some(Behind::TooMany);
                return ControlFlow::Break(());
            };
            room = less;
            ControlFlow::Continue(())
        };
        presume(self.repository.objects(), &inputs, &mut look).map_err(|reason| {
            Failure::new(format!("what comes behind it can't be judged: {reason}"))
        })?;
        let (why, held) = match found {
            None => return Ok(None),
            Some(Behind::Refused(why, held)) => (why, held),
            Some(Behind::TooMany) => return Err(too_many(self.reference, new)),
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

    /// Looks whether the introduction is one of the branch at all: if it isn't, nothing was judged, and no
    /// pusher can help it.
    pub(super) fn placed(&self, way: &Outcome) -> Result<(), Failure> {
        let astray = |reason: &Reason| match reason.code {
            ReasonCode::NotDescendant | ReasonCode::Rewound => {
                Some("it isn't on the branch".to_owned())
            }
            ReasonCode::PolicyMoved | ReasonCode::PolicyInvalid => Some(reason.message.clone()),
            _ => None,
        };
        let why = if self.repository.objects().has(&self.introduction) {
            way.reasons.iter().find_map(astray)
        } else {
            Some("there is no such commit here".to_owned())
        };
        let Some(why) = why else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "nothing was judged: this repository's plumb.introduction is {}, and {why}",
            self.introduction.short()
        ))
        .hint("whoever keeps the server names the branch's first trusted commit, in the bare repository: git config plumb.introduction COMMIT")
        .hint("if that is the right one, it is the branch that is another's"))
    }
}

/// What ends the look behind commits that wait.
enum Behind {
    Refused(Refusal, Box<Held>),
    TooMany,
}

fn too_many(reference: &str, new: Oid) -> Failure {
    Failure::new(format!(
        "{reference} isn't moved to {}: more than {BEHIND} commits would wait on it, and what comes behind so many isn't looked at",
        new.short()
    ))
    .hint("have what waits accepted first: `plumb approve COMMIT --base COMMIT` approves many at once, and may come in the same push: git push --atomic")
    .hint("or push fewer at a time; what merely waits may be set back")
}

/// Why a commit behind others isn't taken; none if it waits like them.
fn refusal_of(view: View, held: &Held) -> Option<Refusal> {
    if held.step.verdict == Verdict::Reject {
        return Some(Refusal::Never);
    }
    let covered = |step: &Step| step.verdict != Verdict::Reject && !is_uncovered(step);
    let waits =
        view == View::OneRef || covered(&held.step) || held.once_due.as_ref().is_some_and(covered);
    (!waits).then_some(Refusal::Uncovered)
}

/// Whether nobody whom the policy knows stands behind a step.
fn is_uncovered(step: &Step) -> bool {
    step.reasons
        .iter()
        .any(|reason| reason.code == ReasonCode::Uncovered)
}
