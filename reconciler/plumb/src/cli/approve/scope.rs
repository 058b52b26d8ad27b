//! Of what an approval is: a commit of the branch alone, or all of a branch that is to be merged. What is
//! signed says it (`Approve-Base:`), so that it is of no more than was shown, wherever it ends up.

use plumb_adapters::git::Repository;
use plumb_trust::Oid;

use crate::git::Git;
use crate::judgement::floor::first_parents;
use crate::output::short;
use crate::report::Failure;

/// How many commits are looked at one by one.
pub(super) const LOOKED_AT: usize = 64;

/// How many commits are judged with an approval and without it.
const JUDGED: usize = 16;

/// Of what an approval is.
pub(super) struct Scope {
    /// The commit before all of it; none where there is no such commit.
    pub(super) base: Option<Oid>,
    /// The commits, the approved one first.
    pub(super) commits: Vec<Oid>,
    pub(super) reach: Reach,
}

/// How far down an approval reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What the commit itself changes.
    Commit,
    /// All that its branch has and the watched branch hasn't.
    Branch,
    /// To the commit that was said.
    Said,
}

impl Scope {
    /// Of a commit. `said` is the base that was said; `branch` is the watched one's short name.
    ///
    /// # Errors
    /// When the base isn't before the commit.
    pub(super) fn of(
        repository: &Repository,
        git: &Git,
        branch: &str,
        commit: Oid,
        said: Option<Oid>,
    ) -> Result<Self, Failure> {
        if let Some(base) = said {
            let (before, after) = (base.to_string(), commit.to_string());
            let is_before = git.ask(&["merge-base", "--is-ancestor", &before, &after]);
            if base == commit || is_before.is_err() {
                return Err(Failure::new(format!(
                    "{} isn't before {}, so there is nothing between them to approve",
                    short(&before),
                    short(&after)
                ))
                .hint("--base is the last commit that isn't approved by this"));
            }
            return Ok(Self::reaching(git, commit, Some(base), Reach::Said));
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
            // Before the whole branch is walked for nothing.
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
            // A merge brings others, which it answers for itself.
            (Reach::Commit, _) | (_, None) => vec![commit],
            (_, Some(base)) => list(git, &format!("{base}..{commit}")),
        };
        Self {
            base,
            commits,
            reach,
        }
    }

    /// The commits of it that a verification goes through if they become the watched branch's own, the
    /// approved one first, each with the one before; as many as are looked at.
    pub(super) fn way(&self, repository: &Repository, commit: Oid) -> Vec<(Oid, Oid)> {
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
