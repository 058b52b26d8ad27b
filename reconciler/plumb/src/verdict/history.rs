//! Reads the inputs of a verdict from a repository: policies, the introduction, and first parents.

use jiff::Timestamp;
use plumb_adapters::git::{ObjectStore, Repository};
use plumb_document::{Diagnostic, Span};
use plumb_trust::object::{Commit, limits};
use plumb_trust::policy::{Authority, POLICY_PATH, codes};
use plumb_trust::{ObjectKind, Objects as _, Oid};

use crate::git::remote_of;
use crate::report::Failure;

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

/// Returns the tip of the server's branch as of the last fetch. The policy in `commit` names the branch.
/// Returns `None` if the branch was never fetched, as in the server's own repository.
pub(crate) fn server_head(repository: &Repository, commit: &Oid) -> Option<Oid> {
    let authority = authority(repository, commit).ok()?;
    let branch = authority.policy.branch();
    let remote = remote_of(repository, branch);
    repository
        .resolve(&format!("refs/remotes/{remote}/{branch}"))
        .ok()
}

/// Iterates over `from` and its first-parent ancestors. Ends at a commit that can't be read.
pub(crate) fn first_parents(objects: &ObjectStore, from: Oid) -> impl Iterator<Item = Oid> {
    let parent = move |id: &Oid| {
        let raw = objects.read(id, ObjectKind::Commit, limits::COMMIT).ok()?;
        let commit = Commit::parse(&raw, id.format()).ok()?;
        commit.parents.first().copied()
    };
    std::iter::successors(Some(from), parent).take(limits::CHAIN)
}
