//! The scope of an approval: one commit of the followed branch, or all commits of a branch that is to be
//! merged. The tag states the scope (`Approve-Base:`), so that the approval covers only what was shown,
//! wherever the branch is merged.

use plumb_adapters::git::Repository;
use plumb_trust::Oid;

use crate::git::Git;
use crate::output::short;
use crate::report::Failure;
use crate::verdict::history::first_parents;

/// Maximum number of commits that are shown one by one.
pub(super) const SHOWN: usize = 64;

/// Maximum number of commits that are verified before and after the tag is created.
const JUDGED: usize = 16;

/// The commits that an approval covers.
pub(super) struct Scope {
    /// The last commit before the covered commits, if there is a single one.
    pub(super) base: Option<Oid>,
    /// The covered commits; the approved commit is the first.
    pub(super) commits: Vec<Oid>,
    pub(super) reach: Reach,
}

/// The extent of a scope, from the approved commit back in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The commit alone.
    Commit,
    /// All commits of its branch that the followed branch doesn't have.
    Branch,
    /// All commits since the base that the user gave.
    Given,
}

impl Scope {
    /// Finds the scope of an approval of `commit`. `given` is the user's base; `branch` is the followed
    /// branch's short name.
    ///
    /// # Errors
    /// Fails if the base isn't an ancestor of the commit.
    pub(super) fn of(
        repository: &Repository,
        git: &Git,
        branch: &str,
        commit: Oid,
        given: Option<Oid>,
    ) -> Result<Self, Failure> {
        if let Some(base) = given {
            let (before, after) = (base.to_string(), commit.to_string());
            let is_before = git.ask(&["merge-base", "--is-ancestor", &before, &after]);
            if base == commit || is_before.is_err() {
                return Err(Failure::new(format!(
                    "{} isn't an ancestor of {}, so there is nothing between them to approve",
                    short(&before),
                    short(&after)
                ))
                .hint("give --base the last commit that this approval should not cover"));
            }
            return Ok(Self::reaching(git, commit, Some(base), Reach::Given));
        }
        let parent = first_parents(repository.objects(), commit).nth(1);
        let own = || Ok(Self::reaching(git, commit, parent, Reach::Commit));
        let remote = git.remote_of(branch);
        let watched: Vec<Oid> = [
            format!("refs/remotes/{remote}/{branch}"),
            format!("refs/heads/{branch}"),
        ]
        .iter()
        .filter_map(|name| repository.resolve(name).ok())
        .collect();
        let Some(main) = watched.first() else {
            return own();
        };
        let tip = commit.to_string();
        let on_main = |main: &Oid| {
            // This is cheaper than walking the whole branch.
            let before = ["merge-base", "--is-ancestor", &tip, &main.to_string()];
            git.ask(&before).is_ok()
                && first_parents(repository.objects(), *main).any(|id| id == commit)
        };
        if watched.iter().any(on_main) {
            return own();
        }
        let main = main.to_string();
        let bases = git
            .try_ask(&["merge-base", "--all", &main, &tip])
            .unwrap_or_default();
        let bases: Vec<Oid> = bases.lines().filter_map(|id| id.parse().ok()).collect();
        match bases[..] {
            // The commit is already merged.
            [base] if base == commit => own(),
            [base] => Ok(Self::reaching(git, commit, Some(base), Reach::Branch)),
            _ => {
                let range = format!("{main}..{tip}");
                Ok(Self {
                    base: None,
                    commits: list(git, &range),
                    reach: Reach::Branch,
                })
            }
        }
    }

    fn reaching(git: &Git, commit: Oid, base: Option<Oid>, reach: Reach) -> Self {
        let commits = match (reach, base) {
            // An approval of a merge commit also covers the commits that it merges.
            (Reach::Commit, _) | (_, None) => vec![commit],
            (_, Some(base)) => list(git, &format!("{base}..{commit}")),
        };
        Self {
            base,
            commits,
            reach,
        }
    }

    /// Returns the covered commits on the first-parent chain of `commit`, newest first, each as a pair of its
    /// parent and itself. These are the commits that are verified if the followed branch is set to `commit`.
    pub(super) fn chain(&self, repository: &Repository, commit: Oid) -> Vec<(Oid, Oid)> {
        let chain: Vec<Oid> = first_parents(repository.objects(), commit)
            .take(JUDGED + 1)
            .collect();
        let pairs = chain.windows(2).map(|pair| (pair[1], pair[0]));
        let on_it = |(_, id): &(Oid, Oid)| self.commits.contains(id);
        pairs.take_while(on_it).collect()
    }
}

fn list(git: &Git, range: &str) -> Vec<Oid> {
    let listed = git
        .try_ask(&["rev-list", "--topo-order", range])
        .unwrap_or_default();
    listed.lines().filter_map(|id| id.parse().ok()).collect()
}
