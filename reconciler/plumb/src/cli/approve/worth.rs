//! What an approval is worth to the policy that judges its commit.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::limits;
use plumb_trust::policy::Authority;
use plumb_trust::{ObjectKind, Objects as _, Oid, Reason, ReasonCode, Step, TagRef, Verdict};
use serde::Serialize;

use super::scope::Scope;
use crate::git::Git;
use crate::judgement::floor::{self, Before, HeldBefore};
use crate::judgement::{self, FloorOf, Range};
use crate::output::{Paint, Palette};
use crate::report::{Failure, OrFail as _};

/// What an approval does for its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    /// With it the commit has all that it needs.
    Completes,
    /// It counts, and more is missing.
    Counts,
    /// It changes nothing.
    Nothing,
}

/// A commit before it is approved, as it is judged then; and those before it that are approved with it.
pub(super) struct Scene {
    /// Each with the one before, the approved one first.
    way: Vec<(Oid, Oid)>,
    now: Timestamp,
    authority: Authority,
    /// The repository's tags.
    tags: Vec<TagRef>,
    steps: Vec<Step>,
}

/// What an approval is worth to the policy that judges its commit.
pub(super) struct Worth {
    pub(super) identity: String,
    /// The commit as it is judged without it.
    before: Step,
    /// The commit as it is judged with it.
    step: Step,
    /// Those before it that are approved with it, without and with.
    others: Vec<(Step, Step)>,
    /// What of the commits before it isn't accepted.
    pub(super) held: Option<HeldBefore>,
}

fn open(git: &Git) -> Result<Repository, Failure> {
    let folder = git.ask(&["rev-parse", "--absolute-git-dir"])?;
    Ok(Repository::open(Path::new(&folder))?)
}

impl Scene {
    /// The commit as it is, if the policy of its parent can be read and all that it changes is here.
    ///
    /// # Errors
    /// When nothing could ever make it accepted: there is nothing to approve then.
    pub(super) fn of(
        repository: &Repository,
        scope: &Scope,
        commit: Oid,
    ) -> Result<Option<Self>, Failure> {
        let way = scope.way(repository, commit);
        let Some((parent, _)) = way.first() else {
            return Ok(None);
        };
        let Ok(authority) = judgement::authority(repository, parent) else {
            return Ok(None);
        };
        let (tags, now) = (repository.tags()?, Timestamp::now());
        let Some(steps) = judge(repository, &way, &tags, now) else {
            return Ok(None);
        };
        if let Some(step) = steps.first().filter(|s| s.verdict == Verdict::Reject) {
            return lost(step);
        }
        Ok(Some(Self {
            way,
            now,
            authority,
            tags,
            steps,
        }))
    }

    /// Looks at an approval as a verification will. One that would count for nothing is taken away again.
    pub(super) fn worth(self, git: &Git, tag: &str) -> Result<Worth, Failure> {
        let repository = open(git)?;
        let name = format!("refs/tags/{tag}");
        let unread = || format!("the tag {tag} can't be read");
        let target = repository
            .reference(&name)?
            .ok_or_else(|| Failure::new(unread()))?;
        let raw = repository
            .objects()
            .read(&target, ObjectKind::Tag, limits::TAG)
            .or_fail(unread)?;
        let signer = self.authority.signer_of_tag(&raw, repository.format());
        let identity = match signer {
            Ok((identity, _)) => identity.name.clone(),
            Err(reason) => return Err(not_kept(git, tag, &reason)),
        };
        let own = TagRef { name, target };
        let again = || Failure::new("the commit can't be judged again");
        let own_step = self.way.get(..1).ok_or_else(again)?;
        let &(_, newest) = self.way.first().ok_or_else(again)?;
        // Who signed it was found without a look at what took the key's authority away since. Approvals by
        // others have no part in that, however many there are and however they are called.
        let approval = |tag: &TagRef| tag.name.starts_with("refs/tags/approve/");
        let mut alone: Vec<TagRef> = self.tags.iter().filter(|t| !approval(t)).cloned().collect();
        alone.push(own.clone());
        let ignored = |note: &&Reason| {
            note.code == ReasonCode::ApprovalIgnored && note.tag.as_deref() == Some(tag)
        };
        let judged = judge(&repository, own_step, &alone, self.now).ok_or_else(again)?;
        let notes = judged.iter().flat_map(|step| &step.notes);
        if let Some(reason) = notes.into_iter().find(ignored) {
            return Err(not_kept(git, tag, reason));
        }
        let mut tags = self.tags;
        tags.push(own);
        let steps = judge(&repository, &self.way, &tags, self.now).ok_or_else(again)?;
        let mut both = self.steps.into_iter().zip(steps);
        let (before, step) = both.next().ok_or_else(again)?;
        let held = match floor::before(&repository, &tags, newest, newest) {
            Before::Held(earlier) => Some(earlier),
            Before::Accepted | Before::Unknown => None,
        };
        Ok(Worth {
            identity,
            before,
            step,
            others: both.collect(),
            held,
        })
    }
}

/// Each commit of a way as it is judged, the newest first. An approval of the newest may span the others,
/// so all are judged on the way to it.
fn judge(
    repository: &Repository,
    way: &[(Oid, Oid)],
    tags: &[TagRef],
    now: Timestamp,
) -> Option<Vec<Step>> {
    let (_, head) = way.first()?;
    way.iter()
        .map(|(parent, commit)| {
            let range = Range {
                floor: *parent,
                floor_of: FloorOf::Accepted,
                head: *head,
                tags,
                now,
            };
            let steps = judgement::judge(repository, &range).steps;
            steps.into_iter().find(|step| step.commit == *commit)
        })
        .collect()
}

/// Refuses to approve what no approval helps. What merely isn't here may be elsewhere.
fn lost(step: &Step) -> Result<Option<Scene>, Failure> {
    let missing = |reason: &Reason| reason.code == ReasonCode::MissingObject;
    let Some(reason) = step.reasons.iter().find(|reason| !missing(reason)) else {
        return Ok(None);
    };
    Err(Failure::new(format!(
        "{} can never be accepted, so nothing was signed: {reason} [{}]",
        step.commit.short(),
        reason.code
    ))
    .maybe_hint(reason.cure.clone())
    .hint(format!(
        "`plumb explain {}` says what the code means",
        reason.code
    )))
}

impl Worth {
    pub(super) fn effect(&self) -> Effect {
        let have = |step: &Step| step.needs.iter().map(|need| need.have).sum::<u32>();
        let changes = |(before, step): (&Step, &Step)| {
            !before.verdict.is_accept()
                && (have(before) != have(step) || before.reasons != step.reasons)
        };
        let others = || self.others.iter().map(|(before, step)| (before, step));
        let mut all = others().chain([(&self.before, &self.step)]);
        if !all.any(changes) {
            Effect::Nothing
        } else if self.step.verdict.is_accept()
            && others().all(|(_, step)| step.verdict.is_accept())
        {
            Effect::Completes
        } else {
            Effect::Counts
        }
    }

    /// Why it changes nothing.
    pub(super) fn vain(&self) -> String {
        let who = &self.identity;
        if self.before.verdict.is_accept() {
            "the commit has all that it needs without it".to_owned()
        } else if self.before.signers.iter().any(|s| &s.identity == who) {
            format!("{who}'s signature counts already, and one person counts once")
        } else {
            format!("{who} is in none of the groups that the changed paths need")
        }
    }

    pub(super) fn describe(&self, out: &mut String, palette: Palette) {
        let others = self
            .others
            .iter()
            .filter(|(before, _)| !before.verdict.is_accept());
        for (_, step) in others {
            let _ = writeln!(
                out,
                "{} {}",
                step.commit.short(),
                if step.verdict.is_accept() {
                    format!("has all that it needs with it, by {}.", self.identity)
                } else {
                    format!("isn't accepted yet: plumb explain {}", step.commit.short())
                }
            );
        }
        if self.before.verdict.is_accept() {
            return;
        }
        if self.step.verdict.is_accept() {
            let _ = writeln!(
                out,
                "With it, by {}, the commit has all that it needs.",
                self.identity
            );
            return;
        }
        let _ = writeln!(
            out,
            "{} by {}, and the commit isn't accepted yet:",
            palette.paint(Paint::Warn, "note:"),
            self.identity
        );
        for reason in &self.step.reasons {
            let _ = writeln!(out, "  {} [{}]", reason.message, reason.code);
        }
        for need in self.step.needs.iter().filter(|need| need.have < need.count) {
            let _ = writeln!(out, "  {}: {}", need.from, judgement::who_could(need));
        }
    }
}

/// Takes an approval away that would count for nothing, and says why it would.
fn not_kept(git: &Git, tag: &str, why: &Reason) -> Failure {
    if let Err(failure) = git.run(&["tag", "--delete", tag]) {
        return failure;
    }
    Failure::new(format!(
        "the approval would count for nothing, so it wasn't kept: {why}"
    ))
    .hint("`plumb trust show` lists the keys that count; `git config user.signingkey KEY` chooses yours")
    .hint("a new key is trusted by a change of trust/: plumb trust add NAME --key FILE --group GROUP")
}
