//! Commits that aren't built on what the server has, and a server's branch that isn't what it was.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;
use plumb_adapters::git::{Repository, spare_threads};
use plumb_trust::{Inputs, Oid, Outcome, TagRef, verify};

use super::floor::first_parents;
use crate::git::Git;
use crate::output::quoted;

/// How many earlier places of the server's branch are looked at.
const PLACES: usize = 8;

/// By what a branch on the server is judged here.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<'a> {
    repository: &'a Repository,
    introduction: Oid,
    tags: &'a [TagRef],
    now: Timestamp,
    /// The branch's newest commit, as far as it was fetched.
    tip: Oid,
}

/// What the server has accepted and a commit isn't built on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    /// The newest of it.
    pub(crate) accepted: Oid,
    pub(crate) how: How,
}

/// How a commit came to leave what is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// As the branch itself, or by a merge that has the branch as its second parent: the server refuses it.
    AsTheBranch,
    /// On a branch of its own, which may be merged yet.
    Beside,
}

impl<'a> Upstream<'a> {
    /// The server's branch; none where nothing was fetched of it.
    pub(crate) fn of(
        repository: &'a Repository,
        introduction: Oid,
        tags: &'a [TagRef],
        now: Timestamp,
    ) -> Option<Self> {
        let tip = super::floor::server_head(repository, &introduction)?;
        Some(Self {
            repository,
            introduction,
            tags,
            now,
            tip,
        })
    }

    /// What comes of the way to a commit, as of history.
    fn way(&self, head: Oid) -> Outcome {
        let inputs = Inputs::new(self.introduction, head, self.now)
            .tags(self.tags)
            .threads(spare_threads());
        verify(self.repository.objects(), &inputs)
    }

    fn chain(&self, from: Oid) -> HashSet<Oid> {
        let mut chain: HashSet<Oid> = first_parents(self.repository.objects(), from)
            .take_while(|id| *id != self.introduction)
            .collect();
        chain.insert(self.introduction);
        chain
    }

    /// What the server has accepted that a commit isn't built on, if it has; not of one that the server's
    /// branch has already.
    pub(crate) fn departure(&self, head: Oid) -> Option<Departure> {
        if head == self.tip || self.chain(self.tip).contains(&head) {
            return None;
        }
        let chain = self.chain(head);
        if chain.contains(&self.tip) {
            return None;
        }
        let accepted = self.way(self.tip).accepted;
        if chain.contains(&accepted) {
            return None;
        }
        let git = Git::at(self.repository.git_dir());
        let merged = [
            "merge-base",
            "--is-ancestor",
            &accepted.to_string(),
            &head.to_string(),
        ];
        let how = if git.ask(&merged).is_ok() || self.is_the_branch(&git, head) {
            How::AsTheBranch
        } else {
            How::Beside
        };
        Some(Departure { accepted, how })
    }

    /// Whether a commit is the newest one of the branch here, where that is checked out.
    fn is_the_branch(&self, git: &Git, head: Oid) -> bool {
        let Ok(authority) = super::authority(self.repository, &self.introduction) else {
            return false;
        };
        let own = &authority.policy.reference;
        git.try_ask(&["symbolic-ref", "--quiet", "HEAD"]).as_ref() == Some(own)
            && self.repository.resolve(own).is_ok_and(|tip| tip == head)
    }

    /// The newest accepted commit that the server's branch had when it was fetched before, and has no more.
    pub(crate) fn lost(&self) -> Option<Lost> {
        let authority = super::authority(self.repository, &self.introduction).ok()?;
        let branch = authority.policy.branch().to_owned();
        let git = Git::at(self.repository.git_dir());
        let remote = git.remote_of(&branch);
        let chain = self.chain(self.tip);
        let accepted = places(&git, &format!("refs/remotes/{remote}/{branch}"))
            .into_iter()
            .filter(|place| !chain.contains(place) && self.repository.objects().has(place))
            .take(PLACES)
            .map(|place| self.way(place).accepted)
            .find(|accepted| !chain.contains(accepted))?;
        Some(Lost {
            accepted,
            remote,
            branch,
        })
    }
}

/// What a server's branch had and has no more, though it is accepted.
pub(crate) struct Lost {
    pub(crate) accepted: Oid,
    remote: String,
    branch: String,
}

impl Lost {
    /// In words, with what shows more and what puts it right.
    pub(crate) fn told(&self) -> String {
        let Self {
            accepted,
            remote,
            branch,
        } = self;
        let theirs = quoted(&format!("{remote}/{branch}")).into_owned();
        format!(
            "{remote}/{branch} doesn't have {0} any more, which it had when it was fetched before and which is accepted: hosts and controllers that have seen {0} take nothing that isn't built on it. Look at what is there instead: git log {accepted}..{theirs}; unless it is meant so, whoever keeps the server puts it back, in the bare repository: git update-ref refs/heads/{branch} {accepted}",
            accepted.short(),
        )
    }

    /// Whether a commit is built on what was lost.
    pub(crate) fn is_kept_by(&self, repository: &Repository, head: Oid) -> bool {
        first_parents(repository.objects(), head).any(|id| id == self.accepted)
    }
}

/// Where a ref was, newest first, as its log says; nothing where none is kept.
fn places(git: &Git, name: &str) -> Vec<Oid> {
    let path = git.try_ask(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        &format!("logs/{name}"),
    ]);
    let log = path.and_then(|path| std::fs::read_to_string(Path::new(&path)).ok());
    let mut seen = HashSet::new();
    let ids = log
        .iter()
        .flat_map(|log| log.lines().rev())
        .flat_map(|line| {
            // The place before it, and the new one: the newer first.
            let ids: Vec<Oid> = line
                .splitn(3, ' ')
                .take(2)
                .filter_map(|id| id.parse().ok())
                .collect();
            ids.into_iter().rev()
        });
    ids.filter(|id| seen.insert(*id)).collect()
}
