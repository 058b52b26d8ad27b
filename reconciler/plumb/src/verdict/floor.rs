//! Chooses the floor of a range, which is the commit after which verification begins. Verifies the commits
//! before a given commit.

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::{Oid, Reason, ReasonCode, TagRef};

use super::history::introduction;
use super::judge::judge;
use super::range::{FloorSource, Range};
use crate::report::Failure;

/// Returns the default floor of a range: the commit that git's `plumb.introduction` names, or else the tip of
/// the upstream branch.
pub(crate) fn default_floor(repository: &Repository) -> Result<(Oid, FloorSource), Failure> {
    if let Some(text) = repository.config("plumb.introduction") {
        return Ok((introduction(repository, &text)?, FloorSource::Introduction));
    }
    let upstream = repository.resolve("@{upstream}").map_err(|_| {
        Failure::new("no floor to judge from")
            .hint("name a range: plumb verify FLOOR..HEAD")
            .hint("or set the root of trust once: git config plumb.introduction COMMIT")
    })?;
    Ok((upstream, FloorSource::Upstream))
}

/// A commit that isn't accepted and so blocks all later commits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldBefore {
    /// The first commit that isn't accepted.
    pub(crate) commit: Oid,
    /// The last accepted commit.
    pub(crate) accepted: Oid,
}

impl HeldBefore {
    /// Returns the reason that a later commit gets because this commit blocks it.
    pub(crate) fn reason(&self) -> Reason {
        let message = format!("the earlier commit {} isn't accepted", self.commit.short());
        Reason::new(ReasonCode::Ancestor, message)
    }

    /// Describes the blocking commit in a sentence, with the command that explains more.
    pub(crate) fn describe(&self) -> String {
        let held = self.commit.short();
        format!(
            "the earlier commit {held} isn't accepted and holds later ones: plumb explain {held}"
        )
    }
}

/// The state of the commits before a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PrecedingCommits {
    /// All commits since the introduction are accepted.
    Accepted,
    /// One of them isn't accepted.
    Held(HeldBefore),
    /// The introduction isn't set, or the commit doesn't descend from it.
    Unknown,
}

/// Verifies the commits before a commit. `head` is the commit itself or a later one, because an approval of a
/// later commit may cover earlier commits.
pub(crate) fn before(
    repository: &Repository,
    tags: &[TagRef],
    commit: Oid,
    head: Oid,
) -> PrecedingCommits {
    let Ok((floor, source)) = default_floor(repository) else {
        return PrecedingCommits::Unknown;
    };
    let range = Range {
        floor,
        source,
        head,
        tags,
        now: Timestamp::now(),
    };
    let outcome = judge(repository, &range);
    let Some(at) = outcome.steps.iter().position(|step| step.commit == commit) else {
        return PrecedingCommits::Unknown;
    };
    let first_held = outcome.steps[..at]
        .iter()
        .find(|step| !step.verdict.is_accept());
    match (first_held, source) {
        (Some(step), _) => PrecedingCommits::Held(HeldBefore {
            commit: step.commit,
            accepted: outcome.accepted,
        }),
        (None, FloorSource::Introduction) => PrecedingCommits::Accepted,
        (None, _) => PrecedingCommits::Unknown,
    }
}
