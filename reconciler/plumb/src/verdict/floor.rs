//! Chooses the floor that a range is judged from, and judges the commits before a commit.

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::{Oid, Reason, ReasonCode, TagRef};

use super::history::introduction;
use super::judge::judge;
use super::range::{FloorSource, Range};
use crate::report::Failure;

/// Returns the floor for a range without a given one: git's `plumb.introduction`, or the upstream branch.
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

/// A commit that isn't accepted and holds those after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldBefore {
    /// The first commit that isn't accepted.
    pub(crate) commit: Oid,
    /// The last accepted commit.
    pub(crate) accepted: Oid,
}

impl HeldBefore {
    /// Returns the reason that a later commit gets because this one holds it.
    pub(crate) fn reason(&self) -> Reason {
        let message = format!("the earlier commit {} isn't accepted", self.commit.short());
        Reason::new(ReasonCode::Ancestor, message)
    }

    /// Describes the hold in a sentence, with the command that explains more.
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
    /// All are accepted, from the introduction on.
    Accepted,
    /// One isn't.
    Held(HeldBefore),
    /// There is no introduction, or it isn't on the way to the commit.
    Unknown,
}

/// Judges the commits before a commit. `head` is the commit or one on top of it: an approval of a later
/// commit may span earlier ones.
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
