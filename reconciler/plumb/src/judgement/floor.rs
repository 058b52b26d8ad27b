//! From where it is judged if nobody says so, and what that leaves unknown.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::{ObjectStore, Repository, RepositoryError};
use plumb_trust::object::{Commit, limits};
use plumb_trust::{ObjectKind, Objects as _, Oid, Reason, ReasonCode, TagRef};

use super::{FloorOf, Range, introduction, judge};
use crate::git::Git;
use crate::report::Failure;

/// From where it is judged if nothing is said, and who says so.
pub(crate) fn default_floor(repository: &Repository) -> Result<(Oid, FloorOf), Failure> {
    if let Some(text) = repository.config("plumb.introduction") {
        return Ok((introduction(repository, &text)?, FloorOf::Introduction));
    }
    let upstream = repository.resolve("@{upstream}").map_err(|_| {
        Failure::new("it isn't known from where to judge")
            .hint("say a range: plumb verify FLOOR..HEAD")
            .hint("or the root of trust, once: git config plumb.introduction COMMIT")
    })?;
    Ok((upstream, FloorOf::Upstream))
}

/// Refuses to call a head accepted because it is its own floor: what the server shows was judged by
/// nobody then.
pub(crate) fn something_to_judge(floor: Oid, of: FloorOf, head: Oid) -> Result<(), Failure> {
    if of != FloorOf::Upstream || floor != head {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing was judged: {} is the upstream branch, which is taken as given",
        head.short()
    ))
    .hint("say the root of trust, once: git config plumb.introduction COMMIT; ask a colleague for it, or read it in the controller's configuration")
    .hint("or from where: plumb verify FLOOR..HEAD"))
}

/// What of the commits before one isn't accepted, and so holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldBefore {
    /// The first of them.
    pub(crate) commit: Oid,
    /// The last accepted commit.
    pub(crate) accepted: Oid,
}

impl HeldBefore {
    /// As a reason of a commit that is held by it.
    pub(crate) fn reason(&self) -> Reason {
        let message = format!("{} before it isn't accepted", self.commit.short());
        Reason::new(ReasonCode::Ancestor, message)
    }

    /// In words, with the command that says more.
    pub(crate) fn told(&self) -> String {
        let held = self.commit.short();
        format!(
            "{held} before it isn't accepted, and holds what comes after it: plumb explain {held}"
        )
    }
}

/// Whether the commits before one are accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before {
    /// They are, from the introduction on.
    Accepted,
    /// One isn't.
    Held(HeldBefore),
    /// Nothing says so: there is no introduction, or it isn't on the way to the commit.
    Unknown,
}

/// Judges what lies before a commit. `head` is the commit or one on top of it: an approval of a later
/// commit may span earlier ones.
pub(crate) fn before(repository: &Repository, tags: &[TagRef], commit: Oid, head: Oid) -> Before {
    let Ok((floor, floor_of)) = default_floor(repository) else {
        return Before::Unknown;
    };
    let range = Range {
        floor,
        floor_of,
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
    match (first_held, floor_of) {
        (Some(step), _) => Before::Held(HeldBefore {
            commit: step.commit,
            accepted: outcome.accepted,
        }),
        (None, FloorOf::Introduction) => Before::Accepted,
        (None, _) => Before::Unknown,
    }
}

/// The newest commit of the branch that a commit's policy is of, as the server had it when it was fetched
/// last. None in a repository that nothing is fetched into, such as the server's own.
pub(crate) fn server_head(repository: &Repository, commit: &Oid) -> Option<Oid> {
    let authority = super::authority(repository, commit).ok()?;
    let branch = authority.policy.branch();
    let remote = repository
        .config(&format!("branch.{branch}.remote"))
        .unwrap_or_else(|| "origin".to_owned());
    repository
        .resolve(&format!("refs/remotes/{remote}/{branch}"))
        .ok()
}

/// First parents from a commit on, itself first. It ends where a commit can't be read.
pub(crate) fn first_parents(objects: &ObjectStore, from: Oid) -> impl Iterator<Item = Oid> {
    let parent = move |id: &Oid| {
        let raw = objects.read(id, ObjectKind::Commit, limits::COMMIT).ok()?;
        let commit = Commit::parse(&raw, id.format()).ok()?;
        commit.parents.first().copied()
    };
    std::iter::successors(Some(from), parent).take(limits::CHAIN)
}

/// The commits of a range that just come, where it is known what the server has: those that its branch
/// hasn't. What it has came in its time, and is history.
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

/// Opens the repository that holds a folder, which may lie anywhere in it, as git does.
pub(crate) fn repository_of(folder: &Path) -> Result<Repository, RepositoryError> {
    let whole = folder.canonicalize().ok();
    let around = whole
        .iter()
        .flat_map(|folder| folder.ancestors())
        .find(|folder| folder.join(".git").exists());
    let repository = Repository::open(around.unwrap_or(folder))?;
    if repository.is_own() {
        Ok(repository)
    } else {
        Err(RepositoryError::Foreign(repository.git_dir().to_owned()))
    }
}

/// How many commits the server's branch has, as far as it was fetched, that a commit hasn't.
pub(crate) fn ahead(git: &Git, commit: &str, remote_branch: &str) -> Option<u32> {
    let range = format!("{commit}..{remote_branch}");
    git.try_ask(&["rev-list", "--count", &range])?
        .parse()
        .ok()
        .filter(|count| *count > 0)
}
