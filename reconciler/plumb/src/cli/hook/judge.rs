//! What of a push is taken: the same for the server's hooks and for the client's, so that a client refuses
//! nothing that its server takes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::{Commit, limits};
use plumb_trust::{
    Inputs, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step, TagRef, Verdict,
    verify,
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

/// How many commits that wait are looked behind.
const BEHIND: usize = 256;

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
        let mut inputs = Inputs::new(self.introduction, tip, self.now)
            .reference(self.reference)
            .tags(self.tags)
            .tombstones(self.tombstones)
            .detail(Telling::Short.detail());
        inputs.floor = floor;
        verify(self.repository.objects(), &inputs)
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

    /// What of a push isn't taken though it lies behind a commit that waits: each stretch is judged as if
    /// what holds it were accepted.
    pub(super) fn behind(
        &self,
        view: View,
        outcome: &Outcome,
        update: &Update,
    ) -> Option<(Refusal, Outcome)> {
        let new = update.new?;
        let known = outcome
            .steps
            .iter()
            .position(|step| Some(step.commit) == update.old);
        let is_known = |commit: &Oid| {
            let at = outcome.steps.iter().position(|step| step.commit == *commit);
            at.zip(known).is_some_and(|(at, known)| at <= known)
        };
        let mut held = outcome.first_held()?.commit;
        for _ in 0..BEHIND {
            let mut way = self.way(Some(held), new);
            let next = way.first_held()?.commit;
            if let Some(why) = self.refusal(view, &mut way)
                && !is_known(&next)
            {
                return Some((why, way));
            }
            held = next;
        }
        None
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

/// Whether nobody whom the policy knows stands behind a step.
fn is_uncovered(step: &Step) -> bool {
    step.reasons
        .iter()
        .any(|reason| reason.code == ReasonCode::Uncovered)
}
