//! The scope of an approval: one commit of the branch, or everything of a branch that is to be merged. The tag
//! states it (`Approve-Base:`), so that it covers no more than was shown, wherever it is merged.

use plumb_adapters::git::Repository;
use plumb_trust::Oid;

use crate::git::Git;
use crate::output::short;
use crate::report::Failure;
use crate::verdict::history::first_parents;

/// The number of commits that are shown one by one.
pub(super) const SHOWN: usize = 64;

/// The number of commits that are verified before and after.
const JUDGED: usize = 16;

/// The commits that an approval covers.
pub(super) struct Scope {
    /// The commit before all of them, if there is one.
    pub(super) base: Option<Oid>,
    /// The commits, the approved one first.
    pub(super) commits: Vec<Oid>,
    pub(super) reach: Reach,
}

/// The extent of a scope, from the approved commit down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The commit alone.
    Commit,
    /// Everything that its branch has and the watched branch doesn't.
    Branch,
    /// Down to the base that the user gave.
    Given,
}

impl Scope {
    /// Finds the scope of a commit. `given` is the user's base; `branch` is the watched branch's short name.
    ///
    /// # Errors
    /// Fails if the base isn't before the commit.
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
            // It is merged already.
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
            // The commits that a merge brings are covered by the merge.
            (Reach::Commit, _) | (_, None) => vec![commit],
            (_, Some(base)) => list(git, &format!("{base}..{commit}")),
        };
        Self {
            base,
            commits,
            reach,
        }
    }

    /// The covered commits of the first-parent chain, each with its parent, the approved one first. These are
    /// the ones that a verification judges if they become the watched branch's own.
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
