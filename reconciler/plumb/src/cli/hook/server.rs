//! The hooks of the bare repository: `pre-receive` and `update` judge, `post-receive` remembers.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::{Quarantine, Repository};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{
    Authority, Inputs, KeyName, ObjectKind, Objects as _, Oid, Outcome, Reason, ReasonCode, Step,
    TagRef, Verdict, authority, verify,
};

use super::memory::{Memory, Standing, standing};
use super::tags::{self, Kind};
use super::{ControllerAddress, Update, block_on, lines, updates};
use crate::config::DEFAULT_SOCKET;
use crate::http::Command;
use crate::judgement;
use crate::output::Shell;
use crate::report::{Exit, Failure, OrFail as _};

/// How much of a push a hook is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// All refs of it.
    Whole,
    /// One ref: approvals that come with it don't show.
    OneRef,
}

/// The bare repository, as git shows it to a hook.
struct Server {
    repository: Repository,
    reference: String,
    now: Timestamp,
}

/// How many commits that wait are looked behind.
const BEHIND: usize = 256;

/// By what a push is judged.
#[derive(Clone, Copy)]
struct Given<'a> {
    introduction: Oid,
    tags: &'a [TagRef],
    tombstones: &'a BTreeSet<Oid>,
}

/// Why a commit isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// It can never be accepted.
    Never,
    /// Nobody of the policy stands behind it.
    Uncovered,
}

/// What is remembered, as far as it fits.
#[derive(Default)]
struct Recalled {
    floor: Option<Oid>,
    /// The floor, where the branch ends below it.
    set_back: Option<Oid>,
    tombstones: BTreeSet<Oid>,
}

pub(super) fn pre_receive(shell: &Shell) -> Result<Exit, Failure> {
    Server::open()?.judge(&updates(&lines()?)?, View::Whole, shell)
}

pub(super) fn update(update: Update, shell: &Shell) -> Result<Exit, Failure> {
    Server::open()?.judge(&[update], View::OneRef, shell)
}

pub(super) fn post_receive(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    let updates = updates(&lines()?)?;
    let matters = |update: &Update| {
        update.name.starts_with("refs/heads/") || Kind::of(&update.name).is_some()
    };
    if !updates.iter().any(matters) {
        return Ok(Exit::OK);
    }
    let told = tell(controller, shell);
    let server = Server::open()?;
    if server.repository.config("plumb.introduction").is_some() {
        server.remember(&updates, shell)?;
    }
    told
}

/// A needless fetch costs nothing, so the controller is told of every push that may matter.
fn tell(controller: &ControllerAddress, shell: &Shell) -> Result<Exit, Failure> {
    // A git server of its own has no controller, and nobody said that it had one.
    if controller.socket == Path::new(DEFAULT_SOCKET) && !controller.socket.exists() {
        return Ok(Exit::OK);
    }
    let client = controller.client()?;
    block_on(async { client.tell(&Command::Notify).await })
        .map(|_| Exit::OK)
        .inspect_err(|_| {
            shell.warn("the controller wasn't told; it sees the push at its next poll");
        })
}

impl Server {
    fn open() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let folder = variable("GIT_DIR").unwrap_or_else(|| ".".to_owned());
        let quarantine = Quarantine::from_values(
            variable("GIT_OBJECT_DIRECTORY").as_deref(),
            variable("GIT_ALTERNATE_OBJECT_DIRECTORIES").as_deref(),
        );
        let repository = Repository::open_with(Path::new(&folder), &quarantine)?;
        let reference = repository
            .config("plumb.ref")
            .unwrap_or_else(|| "refs/heads/main".to_owned());
        Ok(Self {
            repository,
            reference,
            now: Timestamp::now(),
        })
    }

    fn judge(&self, updates: &[Update], view: View, shell: &Shell) -> Result<Exit, Failure> {
        let of_trust = |update: &&Update| Kind::of(&update.name).is_some();
        if updates.iter().any(|update| of_trust(&update)) {
            let authority = self.introduced();
            let policy = authority.as_ref().map(|authority| &authority.policy);
            for update in updates.iter().filter(of_trust) {
                tags::guard(update, &self.repository, &self.reference, policy)?;
            }
        }
        let Some(update) = updates.iter().find(|update| update.name == self.reference) else {
            return Ok(Exit::OK);
        };
        let Some(new) = update.new else {
            return Err(Failure::new(format!(
                "{} can't be deleted: hosts follow it",
                self.reference
            )));
        };
        let introduction = self.introduction()?;
        let tags = self.tags_after(updates)?;
        // What was accepted so far is the floor: the branch may be set back to it, and not below.
        let Recalled {
            floor,
            set_back,
            tombstones,
        } = self.recall(introduction, update.old);
        let given = Given {
            introduction,
            tags: &tags,
            tombstones: &tombstones,
        };
        let floor = match (set_back, update.old) {
            (Some(accepted), _) => accepted,
            (None, Some(old)) if floor == Some(old) => old,
            (None, Some(old)) => {
                let way = self.way(given, floor, old, self.now);
                self.placed(introduction, &way)?;
                way.accepted
            }
            (None, None) => introduction,
        };
        let mut outcome = self.way(given, Some(floor), new, self.now);
        if (set_back, update.old) == (None, None) {
            self.placed(introduction, &outcome)?;
        }
        let mut refusal = self.refusal(given, view, &mut outcome);
        if !outcome.is_accept() {
            shell.say(judgement::describe(&outcome, &self.repository, shell.err));
        }
        if refusal.is_none()
            && let Some((why, way)) = self.behind(given, view, &outcome, update)
        {
            shell.say(judgement::describe(&way, &self.repository, shell.err));
            refusal = Some(why);
        }
        let failure = || {
            let failure =
                Failure::new(format!("{} isn't moved to {}", self.reference, new.short()));
            failure.maybe_hint(set_back.map(|accepted| {
                format!(
                    "the branch was set back past the hooks, and hosts run what is accepted; push that again: git push origin {accepted}:{}",
                    self.reference
                )
            }))
        };
        match refusal {
            None => Ok(Exit::OK),
            Some(Refusal::Never) => {
                Err(failure().hint("`plumb verify` shows the same before a push"))
            }
            Some(Refusal::Uncovered) => Err(failure().hint(
                "an approval by somebody else may also come in the same push: git push --atomic",
            )),
        }
    }

    /// Why the first commit of a way that isn't accepted isn't taken either; none if it merely waits. Of one
    /// that waits for its date, only that is left to be told.
    fn refusal(&self, given: Given<'_>, view: View, way: &mut Outcome) -> Option<Refusal> {
        if way.verdict == Verdict::Reject {
            return Some(Refusal::Never);
        }
        let step = way.first_held()?;
        if view == View::OneRef || !is_uncovered(step) {
            return None;
        }
        if !self.is_early(given, way.accepted, step) {
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
    fn is_early(&self, given: Given<'_>, parent: Oid, step: &Step) -> bool {
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
                let way = self.way(given, Some(parent), step.commit, then.max(self.now));
                way.verdict != Verdict::Reject && !way.first_held().is_some_and(is_uncovered)
            })
    }

    /// What of a push isn't taken though it lies behind a commit that waits: each stretch is judged as if
    /// what holds it were accepted.
    fn behind(
        &self,
        given: Given<'_>,
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
            let mut way = self.way(given, Some(held), new, self.now);
            let next = way.first_held()?.commit;
            if let Some(why) = self.refusal(given, view, &mut way)
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
    fn placed(&self, introduction: Oid, way: &Outcome) -> Result<(), Failure> {
        let astray = |reason: &Reason| match reason.code {
            ReasonCode::NotDescendant | ReasonCode::Rewound => {
                Some("it isn't on the branch".to_owned())
            }
            ReasonCode::PolicyMoved | ReasonCode::PolicyInvalid => Some(reason.message.clone()),
            _ => None,
        };
        let why = if self.repository.objects().has(&introduction) {
            way.reasons.iter().find_map(astray)
        } else {
            Some("there is no such commit here".to_owned())
        };
        let Some(why) = why else {
            return Ok(());
        };
        Err(Failure::new(format!(
            "nothing was judged: this repository's plumb.introduction is {}, and {why}",
            introduction.short()
        ))
        .hint("whoever keeps the server names the branch's first trusted commit, in the bare repository: git config plumb.introduction COMMIT")
        .hint("if that is the right one, it is the branch that is another's"))
    }

    fn introduction(&self) -> Result<Oid, Failure> {
        let unknown = || {
            Failure::new(
                "this repository doesn't know its root of trust, so nothing can be judged",
            )
            .hint("whoever keeps the server says it once, in the bare repository: git config plumb.introduction COMMIT")
        };
        let text = self
            .repository
            .config("plumb.introduction")
            .ok_or_else(unknown)?;
        text.parse()
            .or_fail(|| format!("plumb.introduction is `{text}`, which isn't a whole commit id"))
    }

    /// The introduction's policy: the repository and the branch that it names never change.
    fn introduced(&self) -> Option<Authority> {
        let introduction = self.introduction().ok()?;
        let objects = self.repository.objects();
        let raw = objects
            .read(&introduction, ObjectKind::Commit, limits::COMMIT)
            .ok()?;
        let commit = Commit::parse(&raw, introduction.format()).ok()?;
        authority(objects, &commit.tree, self.now).ok()
    }

    /// What is remembered, for a branch with this tip. A branch that was set back past the hooks keeps its
    /// floor: hosts run that. Where it went another way, what isn't on it is no floor.
    fn recall(&self, introduction: Oid, tip: Option<Oid>) -> Recalled {
        let mut recalled = Recalled::default();
        let memory = Memory::read(self.repository.git_dir(), &introduction, &self.reference);
        let Some(memory) = memory else {
            return recalled;
        };
        recalled.tombstones = memory.tombstones;
        let objects = self.repository.objects();
        let there = Some(memory.accepted).filter(|accepted| objects.has(accepted));
        match standing(objects, memory.accepted, tip) {
            Standing::On => recalled.floor = there,
            Standing::SetBack => {
                recalled.floor = there;
                recalled.set_back = there;
            }
            Standing::Elsewhere(off) => recalled.tombstones.extend(off),
        }
        recalled
    }

    /// What comes of the way to a tip. Without a floor it begins at the introduction and is history:
    /// emergencies and freezes that are over don't count against it.
    fn way(&self, given: Given<'_>, floor: Option<Oid>, tip: Oid, now: Timestamp) -> Outcome {
        let mut inputs = Inputs::new(given.introduction, tip, now)
            .reference(&self.reference)
            .tags(given.tags)
            .tombstones(given.tombstones)
            .explain();
        inputs.floor = floor;
        verify(self.repository.objects(), &inputs)
    }

    /// The tags as they would be after the push.
    fn tags_after(&self, updates: &[Update]) -> Result<Vec<TagRef>, Failure> {
        let mut tags = self.repository.tags()?;
        for update in updates
            .iter()
            .filter(|update| update.name.starts_with("refs/tags/"))
        {
            tags.retain(|tag| tag.name != update.name);
            if let Some(target) = update.new {
                tags.push(TagRef {
                    name: update.name.clone(),
                    target,
                });
            }
        }
        Ok(tags)
    }

    /// Writes down how far the branch is accepted, and says what the push came to.
    fn remember(&self, updates: &[Update], shell: &Shell) -> Result<(), Failure> {
        let introduction = self.introduction()?;
        let Some(tip) = self.repository.reference(&self.reference)? else {
            return Ok(());
        };
        let branch = updates.iter().find(|update| update.name == self.reference);
        let of_trust = |update: &Update| Kind::of(&update.name).is_some();
        if branch.is_none() && !updates.iter().any(of_trust) {
            return Ok(());
        }
        let git_dir = self.repository.git_dir();
        let before = Memory::read(git_dir, &introduction, &self.reference);
        let Recalled {
            floor, tombstones, ..
        } = self.recall(introduction, branch.map_or(Some(tip), |branch| branch.old));
        let tags = self.repository.tags()?;
        let given = Given {
            introduction,
            tags: &tags,
            tombstones: &tombstones,
        };
        let mut outcome = self.way(given, floor, tip, self.now);
        let after = Memory {
            introduction,
            reference: self.reference.clone(),
            accepted: outcome.accepted,
            tombstones,
        };
        // Where the way can't be found at all, nothing is learned.
        let lost = outcome
            .reasons
            .iter()
            .any(|reason| reason.code.verdict() == Verdict::Reject);
        if !lost && before.as_ref() != Some(&after) {
            after.write(git_dir)?;
        }
        for (tag, key) in revocations(updates) {
            shell.say(if outcome.revoked.contains(&key) {
                format!("{key} is revoked: no new commit is accepted by it")
            } else {
                format!("{tag} doesn't count yet: it takes what a change of trust/ takes, on accepted commits")
            });
        }
        if !outcome.is_accept() && branch.is_some() {
            // The push was judged before it was taken, and what it lacks was said then.
            return Ok(());
        }
        if outcome.is_accept() {
            shell.say(format!(
                "{} is accepted up to {}",
                self.reference,
                outcome.accepted.short()
            ));
        } else {
            outcome.steps.retain(|step| !step.verdict.is_accept());
            shell.say(judgement::describe(&outcome, &self.repository, shell.err));
        }
        Ok(())
    }
}

/// The revocations of a push, and the keys that they name.
fn revocations(updates: &[Update]) -> impl Iterator<Item = (&str, KeyName)> {
    updates.iter().filter_map(|update| {
        let (kind, rest) = Kind::of(&update.name)?;
        let key = KeyName::from_hex(rest.split('/').next()?).ok()?;
        (kind == Kind::Revocation).then_some((update.name.as_str(), key))
    })
}

/// Whether nobody whom the policy knows stands behind a step.
pub(super) fn is_uncovered(step: &Step) -> bool {
    step.reasons
        .iter()
        .any(|reason| reason.code == ReasonCode::Uncovered)
}
