//! Detects a head that isn't built on the last accepted commit of the server's branch. The result can only
//! make a verdict stricter.

use std::collections::HashSet;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_trust::{Inputs, Oid, TagRef, verify};

use super::history::{authority, first_parents, server_head};
use crate::git::Git;

/// The accepted commit that a head isn't built on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divergence {
    /// The newest accepted commit of the server's branch.
    pub(crate) accepted: Oid,
    pub(crate) kind: DivergenceKind,
}

/// The kind of a divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DivergenceKind {
    /// The head is the tip of the followed branch, or has merged that branch as a second parent. The server
    /// rejects it.
    Branch,
    /// The head is on another branch, which may still be merged.
    Beside,
}

/// Returns the last accepted commit of the server's branch if `head` isn't built on it. Returns `None` if it
/// is, if that branch was never fetched, or if that branch already contains `head`.
pub(crate) fn divergence(
    repository: &Repository,
    introduction: Oid,
    tags: &[TagRef],
    now: Timestamp,
    head: Oid,
) -> Option<Divergence> {
    let server = server_head(repository, &introduction)?;
    let chain = |from: Oid| -> HashSet<Oid> {
        first_parents(repository.objects(), from)
            .take_while(|id| *id != introduction)
            .chain([introduction])
            .collect()
    };
    if chain(server).contains(&head) {
        return None;
    }
    let own = chain(head);
    if own.contains(&server) {
        return None;
    }
    // Verify the server's branch as of the commits' own time: its emergencies and freezes may be over.
    let inputs = Inputs::new(introduction, server, now)
        .effects(repository)
        .tags(tags)
        .threads(spare_threads());
    let accepted = verify(repository.objects(), &inputs).accepted;
    if own.contains(&accepted) {
        return None;
    }
    let git = Git::at(repository.git_dir());
    let (before, after) = (accepted.to_string(), head.to_string());
    let merged = git.ask(&["merge-base", "--is-ancestor", &before, &after]);
    let kind = if merged.is_ok() || is_the_branch(repository, &git, &introduction, head) {
        DivergenceKind::Branch
    } else {
        DivergenceKind::Beside
    };
    Some(Divergence { accepted, kind })
}

/// True if `head` is the tip of the followed branch, and that branch is checked out.
fn is_the_branch(repository: &Repository, git: &Git, introduction: &Oid, head: Oid) -> bool {
    let Ok(authority) = authority(repository, introduction) else {
        return false;
    };
    let own = &authority.policy.reference;
    git.try_ask(&["symbolic-ref", "--quiet", "HEAD"]).as_ref() == Some(own)
        && repository.resolve(own).is_ok_and(|tip| tip == head)
}
