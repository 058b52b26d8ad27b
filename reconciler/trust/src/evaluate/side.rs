//! Verifies the merged branches of a merge: their fork points, their changes, and their approvals.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::rc::Rc;

use super::bounds::Bounds;
use super::commits::{parse, read};
use super::coverage::{CountedSignature, Scope};
use super::fork::{Fork, fork};
use super::step::{Candidate, add_note};
use super::{Evaluation, Parent, approvals};
use crate::diff::Judge;
use crate::object::{Commit, ObjectKind, Tag, Trailers, limits};
use crate::oid::Oid;
use crate::outcome::By;
use crate::reason::{Reason, ReasonCode};
use crate::signature::Finding;
use crate::work::count;

/// Maximum number of empty commits at the end of a branch that are examined as approvals.
const EMPTY_COMMITS: usize = 64;

/// The approvals of the branches that a merge commit merges.
pub(super) struct Side {
    pub(super) signatures: Vec<CountedSignature>,
    /// The time of the latest signature by a key of the policy that the merge carries in embedded tags and
    /// empty commits, whether or not it counts: a revocation must not make a commit older than it is.
    pub(super) latest: Option<i64>,
}

/// A counted signature that approves the last commit (tip) of a branch.
struct Approver {
    signature: CountedSignature,
    /// The value of the approval's `Approve-Base:` trailer. Commits up to and including the base aren't
    /// approved.
    base: Option<String>,
}

impl Evaluation<'_> {
    /// Returns the signatures that approve the tips of merged branches. Each covers the paths that the merge
    /// took from the branch as they were approved.
    pub(super) fn side_signatures(
        &self,
        parent: &Parent,
        candidate: &Candidate<'_>,
        notes: &mut Vec<Reason>,
    ) -> Result<Side, Reason> {
        let (mut signatures, mut latest) = (Vec::new(), None);
        for tip in candidate.commit.parents.iter().skip(1) {
            let mut approved = self.approvers(parent, candidate, tip, notes, &mut latest)?;
            drop_expired(parent, candidate, tip, &mut approved, notes);
            if approved.is_empty() {
                continue;
            }
            let taken = fork(&self.graph, parent.id, *tip).and_then(|fork| {
                self.drop_narrow(candidate, &fork, &mut approved, notes);
                self.taken(parent, candidate, tip, &fork)
            });
            let ignored = |why: &dyn std::fmt::Display| {
                let message = format!("the approvals of {} count for nothing: {why}", tip.short());
                Reason::new(ReasonCode::ApprovalIgnored, message)
            };
            match taken {
                Ok(_) if approved.is_empty() => {}
                // The merge may still be covered without these approvals, so this is only a note.
                Err(reason) => notes.push(ignored(&reason)),
                Ok(Err(path)) => {
                    let why = "the merge didn't take all of it as it was approved";
                    notes.push(ignored(&why).paths([path]));
                }
                Ok(Ok(paths)) if paths.is_empty() => {
                    notes.push(ignored(&"the merge changes nothing that they cover"));
                }
                Ok(Ok(paths)) => {
                    let paths = Rc::new(paths);
                    for Approver { mut signature, .. } in approved {
                        signature.scope = Scope::Branch {
                            tip: *tip,
                            paths: paths.clone(),
                        };
                        signatures.push(signature);
                    }
                }
            }
        }
        Ok(Side { signatures, latest })
    }

    /// Drops the approvals that don't cover a branch from its fork point on: an approval with a base covers
    /// nothing before that base. A base on the mainline before the merge is no restriction.
    fn drop_narrow(
        &self,
        candidate: &Candidate<'_>,
        fork: &Fork,
        approved: &mut Vec<Approver>,
        notes: &mut Vec<Reason>,
    ) {
        let reaches = |base: &Oid| {
            fork.bases.contains(base)
                || self
                    .chain
                    .position(base)
                    .is_some_and(|at| at < candidate.at)
                || self.chain.is_at_or_below_floor(self.objects, base)
        };
        approved.retain(|approver| {
            let Some(said) = &approver.base else {
                return true;
            };
            let whole = said.parse().is_ok_and(|base| reaches(&base));
            if !whole {
                let name = match &approver.signature.by {
                    By::Tag(name) | By::Mergetag(name) => name.clone(),
                    By::EmptyCommit(id) => format!("by the empty commit {}", id.short()),
                    By::Commit => String::new(),
                };
                let why = "its `Approve-Base:` isn't where the merged branch left, or before: it approves only a part of that";
                let reason = approvals::ignored(&name, why);
                notes.push(match approver.signature.by {
                    By::Tag(_) => reason.of_tag(&name),
                    _ => reason,
                });
            }
            whole
        });
    }

    /// Returns the changed paths for which the merge has the tip's content, if the merge took the whole
    /// change of the tip. Otherwise returns a path that it didn't take, as the inner error.
    ///
    /// Whoever approved the tip approved the change from its merge bases to it. If the mainline has meanwhile
    /// changed a path too, the merge starts from content that they never saw: taking the tip's side would
    /// silently undo the newer change with an old approval. So a path counts only if the parent still has it
    /// as every base has it.
    fn taken(
        &self,
        parent: &Parent,
        candidate: &Candidate<'_>,
        tip: &Oid,
        fork: &Fork,
    ) -> Result<Result<HashSet<String>, String>, Reason> {
        let tip_tree = self.graph.node(tip)?.tree;
        // The paths that the tip changed since every base. If there is no base, all paths of the tip.
        let mut bases = Vec::new();
        for base in &fork.bases {
            bases.push(Some(self.graph.node(base)?.tree));
        }
        if bases.is_empty() {
            bases.push(None);
        }
        let mut own: Option<BTreeSet<String>> = None;
        for base in &bases {
            let diff = self
                .trees
                .diff(base.as_ref(), Some(&tip_tree), Judge::Nothing)?;
            let paths: BTreeSet<String> = diff.into_iter().map(|change| change.path).collect();
            own = Some(match own {
                Some(own) => own.intersection(&paths).cloned().collect(),
                None => paths,
            });
        }
        let own = own.unwrap_or_default();
        let leaves = |tree: &Oid| self.trees.leaves(tree, &own);
        let (approved, before) = (leaves(&tip_tree)?, leaves(&parent.tree)?);
        let here = leaves(&candidate.commit.tree)?;
        for path in &own {
            let there = approved.get(path.as_str());
            if here.get(path.as_str()) != there && before.get(path.as_str()) != there {
                return Ok(Err(path.clone()));
            }
        }
        let mut taken: HashSet<String> = candidate
            .changes
            .iter()
            .filter(|change| own.contains(&change.path))
            .filter(|change| approved.get(change.path.as_str()) == change.after.as_ref())
            .map(|change| change.path.clone())
            .collect();
        for base in &bases {
            let base = base.as_ref().map(leaves).transpose()?.unwrap_or_default();
            taken.retain(|path| base.get(path.as_str()) == before.get(path.as_str()));
        }
        Ok(Ok(taken))
    }

    /// Returns the approvals of a tip: by embedded tags, by approval tags, and by empty commits at the
    /// branch's end.
    fn approvers(
        &self,
        parent: &Parent,
        candidate: &Candidate<'_>,
        tip: &Oid,
        notes: &mut Vec<Reason>,
        latest: &mut Option<i64>,
    ) -> Result<Vec<Approver>, Reason> {
        let mut signatures = Vec::new();
        let mut note_time = |finding: &Finding| {
            let past = |seconds: &i64| *seconds <= self.latest_time(&parent.authority);
            let made = finding.made().map(|made| made.seconds).filter(past);
            *latest = (*latest).max(made);
        };
        // The first sight of embedded tags and of a branch's commits isn't always recorded. They arrived with
        // the merge at the latest, so the time at which the merge was first seen is used.
        let carried = self.seen(&candidate.id);
        let raw = read(self.objects, tip)?;
        let at = parse(&raw, tip)?;
        let mut note = |result: Result<CountedSignature, Reason>, message: &[u8]| match result {
            Ok(signature) => signatures.push(Approver {
                signature,
                base: base_in(message),
            }),
            Err(reason) => add_note(notes, reason),
        };
        for raw in &candidate.commit.mergetags {
            // It was checked before that each embedded tag parses and names a parent.
            let Ok(tag) = Tag::parse(raw, tip.format()) else {
                continue;
            };
            if tag.target == *tip {
                let name = tag.name.to_owned();
                let bounds = Bounds::after(at.committer.seconds).seen(carried);
                let by = By::Mergetag(crate::object::shown(&name).into_owned());
                let finding = self.tag_finding(parent, &tag, &name, tip);
                let signature = finding.and_then(|finding| {
                    note_time(&finding);
                    let signature = self.signature(parent, finding, bounds, by);
                    signature.map_err(|reason| approvals::ignored(&name, reason))
                });
                note(signature, tag.message);
            }
        }
        for tag in self.approvals.of(tip) {
            let raw = self.objects.read(tag, ObjectKind::Tag, limits::TAG);
            let parsed = raw
                .as_ref()
                .ok()
                .and_then(|raw| Tag::parse(raw, tip.format()).ok());
            let message = parsed.map_or(&[][..], |tag| tag.message);
            let signature = self.approval_of(parent, tag, &raw, tip, at.committer.seconds);
            note(signature, message);
        }
        // Walk down the empty commits, each of which approves its parent, to the first commit that isn't
        // empty.
        let (mut id, mut raw) = (*tip, raw.into_owned());
        let mut room = limits::EMPTY_COMMITS;
        for _ in 0..EMPTY_COMMITS {
            let Some(rest) = room.checked_sub(count(raw.len())) else {
                break;
            };
            room = rest;
            let at = parse(&raw, &id)?;
            let ([below], true) = (&at.parents[..], at.signature.is_some()) else {
                break;
            };
            let below = *below;
            let below_raw = read(self.objects, &below)?.into_owned();
            let next = parse(&below_raw, &below)?;
            if next.tree != at.tree {
                break;
            }
            let bounds =
                Bounds::after(next.committer.seconds).seen(earlier(self.seen(&id), carried));
            let name = format!("by the empty commit {}", id.short());
            let signature = self
                .approved_by_commit(parent, &at, &below)
                .and_then(|finding| {
                    note_time(&finding);
                    self.signature(parent, finding, bounds, By::EmptyCommit(id))
                        .map_err(|reason| reason.to_string())
                });
            note(
                signature.map_err(|why| approvals::ignored(&name, why)),
                at.message,
            );
            (id, raw) = (below, below_raw);
        }
        Ok(signatures)
    }

    /// Verifies the signature of an empty commit. Fails if the commit doesn't say that it approves its parent
    /// (`below`).
    fn approved_by_commit(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        below: &Oid,
    ) -> Result<Finding, String> {
        let trailers = Trailers::parse(commit.message).map_err(|e| e.to_string())?;
        approvals::claims(&trailers, &parent.authority.policy, below)?;
        Ok(self.examine_commit(&parent.authority, commit))
    }

    /// Checks `sideBranches: allSigned`. Returns a reason about the first commit of the merged branches that
    /// isn't signed by an identity of this policy and of the policies of all the commit's parents.
    pub(super) fn unsigned_on_side(
        &mut self,
        parent: &Parent,
        id: &Oid,
        commit: &Commit<'_>,
    ) -> Result<Option<Reason>, Reason> {
        let carried = self.seen(id);
        let mut signed = HashSet::new();
        for tip in commit.parents.iter().skip(1) {
            let side = fork(&self.graph, parent.id, *tip)?.side;
            let side: HashSet<Oid> = side.into_iter().collect();
            // Walk from the tip down. If a stranger merges many copies of a signed commit (in other armor),
            // the merge itself fails first, so that the copies aren't verified.
            let mut pending = VecDeque::from([*tip]);
            while let Some(id) = pending.pop_front() {
                if !side.contains(&id) || !signed.insert(id) {
                    continue;
                }
                let raw = read(self.objects, &id)?;
                let at = parse(&raw, &id)?;
                let seen = earlier(self.seen(&id), carried);
                if let Err(why) = self.signed_for_all(parent, &at, seen)? {
                    let message = format!(
                        "the merged commit {} isn't signed by an identity of every policy that it builds on: {why}",
                        id.short()
                    );
                    return Ok(Some(Reason::new(ReasonCode::SideUnsigned, message)));
                }
                pending.extend(&at.parents);
            }
        }
        Ok(None)
    }

    fn signed_for_all(
        &mut self,
        parent: &Parent,
        commit: &Commit<'_>,
        seen: Option<i64>,
    ) -> Result<Result<(), String>, Reason> {
        let mut after = None;
        for below in &commit.parents {
            after = after.max(Some(self.graph.node(below)?.seconds));
        }
        let bounds = after.map_or(Bounds::none(), Bounds::after);
        let bounds = bounds.seen(seen).of_any_age();
        // The policies of a side branch are parsed only for commits that this policy's identities have
        // signed.
        let finding = self.examine_commit(&parent.authority, commit);
        if let Err(reason) = self.signature(parent, finding, bounds, By::Commit) {
            return Ok(Err(reason.to_string()));
        }
        for below in &commit.parents {
            let Some(trust) = self.trees.trust(&self.graph.node(below)?.tree)? else {
                return Ok(Err(format!("{} has no policy", below.short())));
            };
            let authority = match self.authority(&trust) {
                Ok(authority) => authority,
                Err(reason) => return Ok(Err(reason.to_string())),
            };
            let finding = self.examine_commit(&authority, commit);
            let signed = self.authorize(&authority, &self.revoked, finding, bounds, By::Commit);
            if let Err(reason) = signed {
                return Ok(Err(reason.to_string()));
            }
        }
        Ok(Ok(()))
    }
}

/// Drops approvals that were older than `approvals.maxAge` when their branch was merged. There is no clock
/// for the past, and an unsigned merge may claim any date, so the merge never counts as older than the commit
/// that it follows.
fn drop_expired(
    parent: &Parent,
    candidate: &Candidate<'_>,
    tip: &Oid,
    approved: &mut Vec<Approver>,
    notes: &mut Vec<Reason>,
) {
    let policy = &parent.authority.policy;
    let oldest = candidate.seconds - policy.approvals_max_age.0 - policy.skew.0;
    approved.retain(|Approver { signature, .. }| {
        let lasts = signature.seconds >= oldest;
        if !lasts {
            let message = format!(
                "an approval of {} by {} counts for nothing: it is of {}, more than {} before the merge",
                tip.short(),
                policy.name(signature.identity),
                super::timestamp(signature.seconds),
                policy.approvals_max_age
            );
            notes.push(Reason::new(ReasonCode::ApprovalIgnored, message));
        }
        lasts
    });
}

/// Returns the value of an approval's `Approve-Base:` trailer.
fn base_in(message: &[u8]) -> Option<String> {
    let trailers = Trailers::parse(message).ok()?;
    trailers.get("approve-base").map(str::to_owned)
}

/// Returns the earlier of two times, either of which may be unknown.
fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}
