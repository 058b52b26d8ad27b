//! Verdicts on the command line: judges a range of a repository and describes the result. Only this describes
//! who could give a missing approval; alerts don't, because others may read them.

mod describe;
pub(crate) mod divergence;
pub(crate) mod floor;
pub(crate) mod hint;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_document::{Diagnostic, Span};
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::{Authority, POLICY_PATH, codes};
use plumb_trust::{
    Detail, Inputs, ObjectKind, Objects as _, Oid, Outcome, Progress, TagRef, verify,
};

use crate::report::Failure;

pub(crate) use describe::{describe, describe_with, unjudged, who_could};

/// A range of commits to judge.
pub(crate) struct Range<'a> {
    /// The commit that is trusted as given.
    pub(crate) floor: Oid,
    /// The source of the floor. Commits after an accepted floor have just arrived. In any other range,
    /// commits that the server's branch has are history: emergencies and freezes that are over don't count
    /// against them. Without a known server branch, everything after an introduction is history, and
    /// everything after any other floor has just arrived.
    pub(crate) source: FloorSource,
    /// The candidate.
    pub(crate) head: Oid,
    /// The tags that count.
    pub(crate) tags: &'a [TagRef],
    /// The time of the verdict.
    pub(crate) now: Timestamp,
}

/// The source of a range's floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloorSource {
    /// An earlier verdict accepted it.
    Accepted,
    /// The user named it.
    Given,
    /// Git's `plumb.introduction` names it.
    Introduction,
    /// It is the upstream branch.
    Upstream,
}

/// The amount of detail about accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// The verdict and the signers.
    Brief,
    /// Everything that each commit needed and got.
    Full,
}

impl Verbosity {
    /// The detail that the description needs.
    pub(crate) const fn detail(self) -> Detail {
        match self {
            Self::Brief => Detail::Newest(describe::LISTED),
            Self::Full => Detail::Explain,
        }
    }
}

/// Judges a range with every detail.
pub(crate) fn judge(repository: &Repository, range: &Range<'_>) -> Outcome {
    judge_with(repository, range, Detail::Explain, &|_| {})
}

/// Judges a range with the given detail and reports progress.
pub(crate) fn judge_with(
    repository: &Repository,
    range: &Range<'_>,
    detail: Detail,
    progress: &dyn Fn(Progress),
) -> Outcome {
    let mut inputs = Inputs::new(range.floor, range.head, range.now)
        .tags(range.tags)
        .progress(progress)
        .detail(detail)
        .threads(spare_threads());
    let arriving = match range.source {
        FloorSource::Accepted => None,
        _ => floor::arriving(repository, range),
    };
    inputs = match (range.source, &arriving) {
        (_, Some(arriving)) => inputs.first_seen(arriving),
        (FloorSource::Introduction, None) => inputs,
        (_, None) => inputs.floor(range.floor),
    };
    verify(repository.objects(), &inputs)
}

/// Judges a commit that is taken as accepted, for the effect of its tags.
pub(crate) fn judge_accepted(
    repository: &Repository,
    commit: Oid,
    now: Timestamp,
) -> Result<Outcome, Failure> {
    let tags = repository.tags()?;
    let range = Range {
        floor: commit,
        source: FloorSource::Accepted,
        head: commit,
        tags: &tags,
        now,
    };
    Ok(judge(repository, &range))
}

/// Resolves the commit that git's `plumb.introduction` names.
pub(crate) fn introduction(repository: &Repository, text: &str) -> Result<Oid, Failure> {
    repository.resolve(text).map_err(|_| {
        Failure::new(format!(
            "git's `plumb.introduction` is {text}, and this clone has no such commit"
        ))
        .hint("run `git fetch`, or `git fetch --unshallow` in a shallow clone; or name another commit: git config plumb.introduction COMMIT")
    })
}

/// Reads the policy of a commit, with its keys.
pub(crate) fn authority(
    repository: &Repository,
    commit: &Oid,
) -> Result<Authority, Vec<Diagnostic>> {
    let unread = |error: String| {
        let span = Span::of_file(POLICY_PATH);
        vec![Diagnostic::error(codes::POLICY_KIND, &span, error)]
    };
    let raw = repository
        .objects()
        .read(commit, ObjectKind::Commit, limits::COMMIT)
        .map_err(|error| unread(error.to_string()))?;
    let parsed = Commit::parse(&raw, commit.format()).map_err(|error| unread(error.to_string()))?;
    plumb_trust::authority(repository.objects(), &parsed.tree, Timestamp::now())
}
