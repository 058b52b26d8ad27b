//! Chooses the floor that a range is judged from, and judges the commits before a commit.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use plumb_adapters::git::{ObjectStore, Repository};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{ObjectKind, Objects as _, Oid, Reason, ReasonCode, TagRef};

use super::{FloorSource, Range, introduction, judge};
use crate::git::remote_of;
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
        format!("the earlier commit {held} isn't accepted and holds later ones: plumb explain {held}")
    }
}

/// The state of the commits before a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before {
    /// All are accepted, from the introduction on.
    Accepted,
    /// One isn't.
    Held(HeldBefore),
    /// There is no introduction, or it isn't on the way to the commit.
    Unknown,
}

/// Judges the commits before a commit. `head` is the commit or one on top of it: an approval of a later
/// commit may span earlier ones.
pub(crate) fn before(repository: &Repository, tags: &[TagRef], commit: Oid, head: Oid) -> Before {
    let Ok((floor, source)) = default_floor(repository) else {
        return Before::Unknown;
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
        return Before::Unknown;
    };
    let first_held = outcome.steps[..at]
        .iter()
        .find(|step| !step.verdict.is_accept());
    match (first_held, source) {
        (Some(step), _) => Before::Held(HeldBefore {
            commit: step.commit,
            accepted: outcome.accepted,
        }),
        (None, FloorSource::Introduction) => Before::Accepted,
        (None, _) => Before::Unknown,
    }
}

/// Returns the tip of the server's branch as of the last fetch; `commit` has the policy that names the
/// branch. Returns `None` in a repository that nothing is fetched into, such as the server's own.
pub(crate) fn server_head(repository: &Repository, commit: &Oid) -> Option<Oid> {
    let authority = super::authority(repository, commit).ok()?;
    let branch = authority.policy.branch();
    let remote = remote_of(repository, branch);
    repository
        .resolve(&format!("refs/remotes/{remote}/{branch}"))
        .ok()
}

/// Walks first parents, beginning with `from`. Ends at a commit that can't be read.
pub(crate) fn first_parents(objects: &ObjectStore, from: Oid) -> impl Iterator<Item = Oid> {
    let parent = move |id: &Oid| {
        let raw = objects.read(id, ObjectKind::Commit, limits::COMMIT).ok()?;
        let commit = Commit::parse(&raw, id.format()).ok()?;
        commit.parents.first().copied()
    };
    std::iter::successors(Some(from), parent).take(limits::CHAIN)
}

/// Returns the commits of a range that have just arrived: those that the server's branch doesn't have.
/// Returns `None` if that branch isn't known.
pub(super) fn arriving(
    repository: &Repository,
    range: &Range<'_>,
) -> Option<BTreeMap<Oid, Timestamp>> {
    let server = server_head(repository, &range.floor)?;
    if server == range.head {
        return Some(BTreeMap::new());
    }
    let objects = repository.objects();
    let way: Vec<Oid> = first_parents(objects, range.head)
        .take_while(|id| *id != range.floor)
        .collect();
    let on_way: HashSet<&Oid> = way.iter().collect();
    let fork = first_parents(objects, server)
        .take_while(|id| *id != range.floor)
        .find(|id| on_way.contains(id));
    let new = way.iter().take_while(|id| Some(**id) != fork);
    Some(new.map(|id| (*id, range.now)).collect())
}
