//! Verifies the commits of an approval before and after the tag exists.

use std::fmt::Write as _;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::object::limits;
use plumb_trust::policy::Authority;
use plumb_trust::{ObjectKind, Objects as _, Oid, Reason, ReasonCode, Step, TagRef, Verdict};
use serde::Serialize;

use super::scope::Scope;
use crate::git::Git;
use crate::output::{Paint, Palette, Shell};
use crate::report::{Failure, OrFail as _};
use crate::verdict::floor::{self, HeldBefore, PrecedingCommits};
use crate::verdict::{self, FloorSource, Range};

/// The effect of an approval on the commits that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Effect {
    /// With the approval, the commits have everything that they need.
    Completes,
    /// The approval counts, but more is missing.
    Counts,
    /// The approval changes nothing.
    Nothing,
}

/// The verdicts on the covered commits before the tag exists.
pub(super) struct BeforeApproval {
    /// The parent and the id of each covered commit on the first-parent chain, newest first.
    chain: Vec<(Oid, Oid)>,
    now: Timestamp,
    authority: Authority,
    tags: Vec<TagRef>,
    steps: Vec<Step>,
}

/// The verdicts on the covered commits before and after the tag exists.
pub(super) struct AfterApproval {
    /// The approver's identity.
    pub(super) identity: String,
    /// The verdicts on each commit before and after the approval, newest first.
    steps: Vec<(Step, Step)>,
    /// The earlier commit that isn't accepted and so blocks the covered commits.
    pub(super) held: Option<HeldBefore>,
}

impl BeforeApproval {
    /// Verifies the commits without the approval. Returns `None` if the policy or some objects aren't in this
    /// clone.
    ///
    /// # Errors
    /// Fails if the commit can never be accepted: then there is nothing to approve.
    pub(super) fn before(
        repository: &Repository,
        scope: &Scope,
        commit: Oid,
    ) -> Result<Option<Self>, Failure> {
        let chain = scope.chain(repository, commit);
        let Some((parent, _)) = chain.first() else {
            return Ok(None);
        };
        let Ok(authority) = verdict::authority(repository, parent) else {
            return Ok(None);
        };
        let (tags, now) = (repository.tags()?, Timestamp::now());
        let Some(steps) = judge(repository, &chain, &tags, now) else {
            return Ok(None);
        };
        if let Some(step) = steps.first().filter(|s| s.verdict == Verdict::Reject) {
            // A missing object may exist in another clone. A commit that is rejected for any other reason can
            // never be accepted.
            let missing = |reason: &&Reason| reason.code == ReasonCode::MissingObject;
            return step
                .reasons
                .iter()
                .find(|reason| !missing(reason))
                .map_or(Ok(None), |reason| Err(rejected(step, reason)));
        }
        Ok(Some(Self {
            chain,
            now,
            authority,
            tags,
            steps,
        }))
    }

    /// Verifies the commits again with the approval. Deletes a tag that can't count.
    pub(super) fn after(
        self,
        git: &Git,
        repository: &Repository,
        tag: &str,
    ) -> Result<AfterApproval, Failure> {
        // Open the repository again, so that it has the new tag.
        let repository = Repository::open(repository.git_dir())?;
        let name = format!("refs/tags/{tag}");
        let unread = || format!("cannot read the tag {tag}");
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
            Err(reason) => return Err(delete_useless(git, tag, &reason)),
        };
        let own = TagRef { name, target };
        let unjudged = || Failure::new("cannot judge the commit again");
        let &(_, newest) = self.chain.first().ok_or_else(unjudged)?;
        // If the signer's key has been revoked, the notes of the verdict say so. The number of notes is
        // limited, and anybody may push approvals, so approvals by others are left out here.
        let others = |tag: &&TagRef| !tag.name.starts_with("refs/tags/approve/");
        let mut alone: Vec<TagRef> = self.tags.iter().filter(others).cloned().collect();
        alone.push(own.clone());
        let judged = judge(&repository, &self.chain[..1], &alone, self.now).ok_or_else(unjudged)?;
        let ignored = |note: &&Reason| {
            note.code == ReasonCode::ApprovalIgnored && note.tag.as_deref() == Some(tag)
        };
        let mut notes = judged.iter().flat_map(|step| &step.notes);
        if let Some(reason) = notes.find(ignored) {
            return Err(delete_useless(git, tag, reason));
        }
        let mut tags = self.tags;
        tags.push(own);
        let steps = judge(&repository, &self.chain, &tags, self.now).ok_or_else(unjudged)?;
        let held = match floor::before(&repository, &tags, newest, newest) {
            PrecedingCommits::Held(earlier) => Some(earlier),
            PrecedingCommits::Accepted | PrecedingCommits::Unknown => None,
        };
        Ok(AfterApproval {
            identity,
            steps: self.steps.into_iter().zip(steps).collect(),
            held,
        })
    }
}

/// Verifies each commit of a chain by its parent's policy. Each time, the whole chain up to the newest commit
/// is verified, because an approval of the newest commit may cover the others.
fn judge(
    repository: &Repository,
    chain: &[(Oid, Oid)],
    tags: &[TagRef],
    now: Timestamp,
) -> Option<Vec<Step>> {
    let (_, head) = chain.first()?;
    chain
        .iter()
        .map(|(parent, commit)| {
            let range = Range {
                floor: *parent,
                source: FloorSource::Accepted,
                head: *head,
                tags,
                now,
            };
            let steps = verdict::judge(repository, &range).steps;
            steps.into_iter().find(|step| step.commit == *commit)
        })
        .collect()
}

fn rejected(step: &Step, reason: &Reason) -> Failure {
    Failure::new(format!(
        "{} can never be accepted, so nothing was signed: {reason} [{}]",
        step.commit.short(),
        reason.code
    ))
    .maybe_hint(reason.hint.clone())
    .hint(format!(
        "run `plumb explain {}` to see what the code means",
        reason.code
    ))
}

impl AfterApproval {
    /// Returns the effect of the approval, and warns if it has none.
    pub(super) fn effect(&self, shell: &Shell) -> Effect {
        let have = |step: &Step| step.needs.iter().map(|need| need.have).sum::<u32>();
        let changes = |(before, after): &(Step, Step)| {
            !before.verdict.is_accept()
                && (have(before) != have(after) || before.reasons != after.reasons)
        };
        if self.steps.iter().any(changes) {
            let complete = self
                .steps
                .iter()
                .all(|(_, after)| after.verdict.is_accept());
            return if complete {
                Effect::Completes
            } else {
                Effect::Counts
            };
        }
        let complete = self
            .steps
            .iter()
            .all(|(before, _)| before.verdict.is_accept());
        shell.warn(if complete {
            "this approval changes nothing: the commit needs no more approvals".to_owned()
        } else {
            format!(
                "this approval changes nothing: {} counts already, or is in no group that the changed paths need",
                self.identity
            )
        });
        Effect::Nothing
    }

    /// Appends the approvals that each commit now has, and those that it still lacks.
    pub(super) fn describe(&self, out: &mut String, palette: Palette) {
        let waiting = |(before, _): &&(Step, Step)| !before.verdict.is_accept();
        for (_, step) in self.steps.iter().filter(waiting) {
            let commit = step.commit.short();
            if step.verdict.is_accept() {
                let _ = writeln!(
                    out,
                    "{commit} now has every approval that it needs; yours counts as {}",
                    self.identity
                );
                continue;
            }
            let note = palette.paint(Paint::Warn, "note:");
            let _ = writeln!(
                out,
                "{note} yours counts as {}, but {commit} isn't accepted yet:",
                self.identity
            );
            for reason in &step.reasons {
                let _ = writeln!(out, "  {} [{}]", reason.message, reason.code);
            }
            for need in step.needs.iter().filter(|need| need.have < need.count) {
                let _ = writeln!(out, "  {}: {}", need.from, verdict::who_could(need));
            }
        }
    }
}

/// Deletes an approval that can't count, and returns a failure that explains why.
fn delete_useless(git: &Git, tag: &str, why: &Reason) -> Failure {
    if let Err(failure) = git.run(&["tag", "--delete", tag]) {
        return failure;
    }
    Failure::new(format!(
        "the approval would count for nothing, so it was deleted: {why}"
    ))
    .hint("sign with a key of the policy: `plumb trust show` lists them, `git config user.signingkey KEY` sets yours")
    .hint("to trust a new key, change trust/: plumb trust add NAME --key FILE --group GROUP")
}
