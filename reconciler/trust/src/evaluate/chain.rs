//! The chain of first parents from the floor to the head.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

use super::commits::{malformed_at, parse, read};
use crate::object::{Checked, Commit, ObjectKind, Trailers, limits};
use crate::oid::Oid;
use crate::reason::{Reason, ReasonCode};

/// Maximum number of commits below the floor that are searched for an `Approve-Base:`, a lower bound, or the
/// cause of a failure.
const BELOW: usize = 20_000;

/// The commits after the floor up to the head, oldest first.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) floor: Option<Oid>,
    commits: Vec<Oid>,
    positions: OnceCell<HashMap<Oid, usize>>,
    /// The commit that the branch went back to, if the first commit of the chain is a signed rollback.
    pub(super) rollback: Option<Oid>,
    /// The floor and its first-parent ancestors, as far as they were walked, and the next commit to walk.
    ancestors: RefCell<Ancestors>,
}

#[derive(Default)]
struct Ancestors {
    seen: HashSet<Oid>,
    next: Option<Oid>,
}

fn parent_in(raw: &[u8], id: &Oid) -> Result<Option<Oid>, Reason> {
    Commit::first_parent(raw, id.format()).map_err(|error| malformed_at(id, &error))
}

fn first_parent(objects: Checked<'_>, id: &Oid) -> Result<Option<Oid>, Reason> {
    parent_in(&read(objects, id)?, id)
}

/// Returns a commit and its first-parent ancestors, newest first, at most [`BELOW`] of them.
fn below(objects: Checked<'_>, from: Oid) -> impl Iterator<Item = Oid> {
    let next = move |id: &Oid| first_parent(objects, id).ok().flatten();
    std::iter::successors(Some(from), next).take(BELOW)
}

/// Returns the commit that a `Rollback-To: FROM TO` trailer leaves (`FROM`), if `TO` is the commit's own
/// parent.
pub(super) fn left_by(trailers: &Trailers, parent: Option<Oid>) -> Option<Oid> {
    let (from, to) = trailers.get("rollback-to")?.split_once(' ')?;
    (to.parse::<Oid>().ok()? == parent?).then(|| from.parse().ok())?
}

/// Returns a commit, its first-parent ancestors, and the commits that rollbacks among them left, at most
/// [`BELOW`] in total. Revocations on commits that were left stay in force, so that a rollback can't restore
/// a revoked key. The rollbacks aren't verified: a false one can only add revocations, and never gives
/// authority.
pub(super) fn with_left_behind(objects: Checked<'_>, from: Oid) -> HashSet<Oid> {
    let (mut seen, mut pending) = (HashSet::new(), vec![from]);
    while let Some(id) = pending.pop() {
        if seen.len() == BELOW || !seen.insert(id) {
            continue;
        }
        let Ok(raw) = read(objects, &id) else {
            continue;
        };
        let Ok(commit) = parse(&raw, &id) else {
            continue;
        };
        let parent = commit.parents.first().copied();
        let trailers = Trailers::parse(commit.message).unwrap_or_default();
        pending.extend(parent.into_iter().chain(left_by(&trailers, parent)));
    }
    seen
}

impl Chain {
    /// Finds the chain from the floor to the head.
    pub(super) fn find(objects: Checked<'_>, floor: &Oid, head: &Oid) -> Result<Self, Reason> {
        let ancestors = RefCell::new(Ancestors {
            seen: HashSet::new(),
            next: Some(*floor),
        });
        let mut chain = Self {
            floor: Some(*floor),
            ancestors,
            ..Self::default()
        };
        let mut at = *head;
        while at != *floor {
            if chain.commits.len() == limits::CHAIN {
                return Err(Reason::new(
                    ReasonCode::TooLarge,
                    format!(
                        "more than {} commits lie between the floor and the head",
                        limits::CHAIN
                    ),
                ));
            }
            chain.commits.push(at);
            // The walk down doesn't verify object names. Each step later verifies the commit's name, and that
            // its first parent is the commit that was walked.
            let raw = objects.peek(&at, ObjectKind::Commit, limits::COMMIT)?;
            let Some(parent) = parent_in(&raw, &at)? else {
                return chain.rolled_back(objects, floor, head);
            };
            at = parent;
        }
        chain.commits.reverse();
        Ok(chain)
    }

    /// Handles a head that doesn't descend from the floor along first parents, which only a signed rollback
    /// allows.
    fn rolled_back(
        mut self,
        objects: Checked<'_>,
        floor: &Oid,
        head: &Oid,
    ) -> Result<Self, Reason> {
        // The branch went back to the newest commit of its chain that is the floor or one of its ancestors.
        let ancestors: HashSet<Oid> = below(objects, *floor).collect();
        if ancestors.contains(head) {
            let message = format!(
                "the branch was set back to {}, which lies before the accepted {}",
                head.short(),
                floor.short()
            );
            return Err(Reason::new(ReasonCode::Rewound, message).hint(REWIND_HINT));
        }
        let refuse = || {
            let message = format!(
                "{} doesn't descend from the accepted {} along first parents",
                head.short(),
                floor.short()
            );
            Reason::new(ReasonCode::NotDescendant, message)
                .hint(format!("reset the branch to {} and build on that; a merge of the branch belongs on top of it, not the other way around", floor.short()))
        };
        let at = self
            .commits
            .iter()
            .position(|id| ancestors.contains(id))
            .ok_or_else(refuse)?;
        let (to, first) = (
            self.commits[at],
            *at.checked_sub(1)
                .and_then(|i| self.commits.get(i))
                .ok_or_else(refuse)?,
        );
        let raw = read(objects, &first)?;
        let commit = parse(&raw, &first).map_err(|_| refuse())?;
        let trailers = Trailers::parse(commit.message).unwrap_or_default();
        let Some(said) = trailers.get("rollback-to") else {
            return Err(refuse());
        };
        if said != format!("{floor} {to}") {
            let message = format!(
                "the rollback in {} says \"{said}\", and goes from {floor} to {to}",
                first.short()
            );
            return Err(Reason::new(ReasonCode::RollbackRefused, message));
        }
        self.commits.truncate(at);
        self.commits.reverse();
        self.rollback = Some(to);
        Ok(self)
    }

    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    pub(super) fn get(&self, at: usize) -> Oid {
        self.commits[at]
    }

    /// Returns the position of a commit in the chain.
    pub(super) fn position(&self, id: &Oid) -> Option<usize> {
        let index = || {
            self.commits
                .iter()
                .enumerate()
                .map(|(at, id)| (*id, at))
                .collect()
        };
        self.positions.get_or_init(index).get(id).copied()
    }

    /// True if a commit is the floor or one of its first-parent ancestors, within [`BELOW`]. Each call
    /// continues the walk of the previous call, so that many calls cost one walk.
    pub(super) fn is_at_or_below_floor(&self, objects: Checked<'_>, id: &Oid) -> bool {
        let mut ancestors = self.ancestors.borrow_mut();
        while !ancestors.seen.contains(id) && ancestors.seen.len() < BELOW {
            let Some(next) = ancestors.next else {
                return false;
            };
            ancestors.seen.insert(next);
            ancestors.next = first_parent(objects, &next).ok().flatten();
        }
        ancestors.seen.contains(id)
    }

    /// Returns the commits from `base` to the commit at position `to`, both included, oldest first. `base`
    /// must be an earlier commit of the chain, or the floor, or one of the floor's ancestors within
    /// [`BELOW`]; otherwise, returns `None`.
    pub(super) fn between(&self, objects: Checked<'_>, base: &Oid, to: usize) -> Option<Vec<Oid>> {
        if let Some(from) = self.position(base) {
            return (from < to).then(|| self.commits[from..=to].to_vec());
        }
        let floor = self.floor?;
        let mut path: Vec<Oid> = Vec::new();
        for id in below(objects, floor) {
            path.push(id);
            if id == *base {
                path.reverse();
                path.extend_from_slice(&self.commits[..=to]);
                return Some(path);
            }
        }
        None
    }
}

const REWIND_HINT: &str = "push the accepted commits again; to go back on purpose, commit on top of them (git revert), or sign a commit with `Rollback-To: FROM TO`";
