//! Verdicts on the command line: judging a range of a repository in place, and saying what came of
//! it. Who could give what is missing is said here and not in alerts, which others may read.

pub(crate) mod cure;
pub(crate) mod departure;
mod describe;
pub(crate) mod emergency;
pub(crate) mod floor;
pub(crate) mod message;
pub(crate) mod others;
pub(crate) mod place;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, RepositoryError, spare_threads};
use plumb_document::{Diagnostic, Span};
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::{Authority, POLICY_PATH, codes};
use plumb_trust::{
    Detail, Inputs, KeyName, ObjectKind, Objects as _, Oid, Outcome, Progress, TagRef, Verdict,
    verify,
};

use crate::git::nothing_committed;
use crate::report::{Exit, Failure};

pub(crate) use describe::{describe, describe_as, describe_cures, unjudged, who_could};

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        // `HEAD` is missing only where its branch isn't born.
        if matches!(&error, RepositoryError::Unknown(name) if name == "HEAD") {
            return nothing_committed();
        }
        let hint = match &error {
            RepositoryError::Missing { .. } => Some("name the repository's folder, or its .git"),
            RepositoryError::Unknown(_) => {
                Some("a branch, a tag or a commit's id; `git fetch` may bring it")
            }
            RepositoryError::Ambiguous { .. } => Some(
                "write the whole name, such as refs/heads/main, or the whole id; a tag that is called like a branch or an id may come from anybody who may push: git tag -d NAME",
            ),
            RepositoryError::Foreign(_) => Some(
                "its settings could say what is trusted: work in a clone of your own; what is there, `plumb verify --git-dir DIR` judges",
            ),
            RepositoryError::NoCommit(_)
            | RepositoryError::Objects { .. }
            | RepositoryError::Refs { .. } => None,
        };
        Self::new(error.to_string()).maybe_hint(hint.map(str::to_owned))
    }
}

/// What is judged.
pub(crate) struct Range<'a> {
    /// The commit that is trusted as given.
    pub(crate) floor: Oid,
    /// Who says so. What follows what was accepted before has just come. In any other range, what the
    /// server's branch has is history, as it came in its time: emergencies and freezes that are over don't
    /// count against it. Where it isn't known what the server has, all that follows an introduction is
    /// history, and what follows any other floor has just come.
    pub(crate) floor_of: FloorOf,
    /// The candidate.
    pub(crate) head: Oid,
    /// The tags that count.
    pub(crate) tags: &'a [TagRef],
    /// The time.
    pub(crate) now: Timestamp,
}

/// Who said that a floor is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloorOf {
    /// It is what was accepted before.
    Accepted,
    /// Whoever asks has given it.
    Given,
    /// Git's `plumb.introduction`.
    Introduction,
    /// The upstream branch.
    Upstream,
}

/// How much is told of accepted commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// That they are, and who signed.
    Short,
    /// Everything that each needed and got.
    Full,
}

impl Telling {
    /// What the text needs to know of accepted commits.
    pub(crate) const fn detail(self) -> Detail {
        match self {
            Self::Short => Detail::Newest(describe::LISTED),
            Self::Full => Detail::Explain,
        }
    }
}

/// How the outcome of a range is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Showing {
    /// Who said that the floor is one.
    pub(crate) floor: FloorOf,
    /// How much is told.
    pub(crate) telling: Telling,
    /// The newest commit of what the range is a part of.
    pub(crate) tip: Oid,
    /// Who reads it.
    pub(crate) reader: place::Reader,
}

/// Judges a range; who signed what is told of accepted commits too.
pub(crate) fn judge(repository: &Repository, range: &Range<'_>) -> Outcome {
    judge_telling(repository, range, Detail::Explain, &|_| {})
}

/// Judges a range with so much detail, and tells how far it is.
pub(crate) fn judge_telling(
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
    let arriving = match range.floor_of {
        FloorOf::Accepted => None,
        _ => floor::arriving(repository, range),
    };
    inputs = match (range.floor_of, &arriving) {
        (_, Some(arriving)) => inputs.first_seen(arriving),
        (FloorOf::Introduction, None) => inputs,
        (_, None) => inputs.floor(range.floor),
    };
    verify(repository.objects(), &inputs)
}

/// The keys that `revoke/` tags have taken authority from, as of a commit that is taken as accepted.
pub(crate) fn revoked(
    repository: &Repository,
    on: Oid,
    now: Timestamp,
) -> Result<Vec<KeyName>, Failure> {
    Ok(taken_as_accepted(repository, on, now)?.revoked)
}

/// What is found at a commit that is taken as accepted.
pub(crate) fn taken_as_accepted(
    repository: &Repository,
    on: Oid,
    now: Timestamp,
) -> Result<Outcome, Failure> {
    let tags = repository.tags()?;
    let range = Range {
        floor: on,
        floor_of: FloorOf::Accepted,
        head: on,
        tags: &tags,
        now,
    };
    Ok(judge(repository, &range))
}

/// The commit that git's `plumb.introduction` names.
pub(crate) fn introduction(repository: &Repository, text: &str) -> Result<Oid, Failure> {
    repository.resolve(text).map_err(|_| {
        let git = crate::git::Git::at(repository.git_dir());
        let shallow = git.try_ask(&["rev-parse", "--is-shallow-repository"]);
        let fetch = if shallow.as_deref() == Some("true") {
            "this clone is shallow: `git fetch --unshallow`"
        } else {
            "`git fetch` may bring it"
        };
        Failure::new(format!(
            "git's `plumb.introduction` is {text}, and there is no such commit here"
        ))
        .hint(format!(
            "{fetch}; `git config plumb.introduction COMMIT` names another"
        ))
    })
}

/// The policy that a commit has, with its keys.
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

/// The exit code of a verdict.
pub(crate) fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Accept => Exit::OK,
        Verdict::Pending | Verdict::PendingAlarm => Exit::PENDING,
        Verdict::Reject => Exit::REJECTED,
    }
}
