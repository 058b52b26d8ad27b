//! What a merge brings in: where the branch left, what it changed, and who approved that.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use super::coverage::{Scope, Voice};
use super::{Evaluation, Parent, approvals};
use crate::diff::{Change, Judge, unread};
use crate::object::{Checked, Commit, ObjectKind, Tag, Trailers, limits};
use crate::oid::Oid;
use crate::outcome::By;
use crate::reason::{Reason, ReasonCode};
use crate::signature::{Finding, examine};

/// Where two commits have last been one, and what only the second has.
struct Fork {
    bases: Vec<Oid>,
    /// The commits of the side alone.
    side: Vec<Oid>,
}

/// How many empty commits at the end of a branch are looked at.
const EMPTY_COMMITS: usize = 64;

const MAIN: u8 = 1;
const SIDE: u8 = 2;
const BELOW_BASE: u8 = 4;

fn read<'a>(objects: Checked<'a>, id: &Oid) -> Result<std::borrow::Cow<'a, [u8]>, Reason> {
    objects
        .read(id, ObjectKind::Commit, limits::COMMIT)
        .map_err(|e| unread(&e))
}

fn parse<'a>(raw: &'a [u8], id: &Oid) -> Result<Commit<'a>, Reason> {
    Commit::parse(raw, id.format())
        .map_err(|e| Reason::new(ReasonCode::MalformedCommit, format!("{}: {e}", id.short())))
}

/// Paints the ancestors of both, newest first, until all that is left is an ancestor of both. Dates
/// are only an order of looking: a commit that gets new paint is looked at again, so false ones cost
/// time and can't hide a base.
fn fork(objects: Checked<'_>, main: Oid, side: Oid) -> Result<Fork, Reason> {
    let mut paint: HashMap<Oid, u8> = HashMap::new();
    let mut queue: BinaryHeap<(i64, Oid)> = BinaryHeap::new();
    // How many entries of the queue could still lead to a base.
    let mut open = 0_usize;
    let mut steps = 0_usize;
    for (id, color) in [(main, MAIN), (side, SIDE)] {
        let old = paint.entry(id).or_default();
        *old |= color;
        let seconds = parse(&read(objects, &id)?, &id)?.committer.seconds;
        queue.push((seconds, id));
        open += 1;
    }
    let mut bases: BTreeSet<Oid> = BTreeSet::new();
    let mut counted: HashMap<Oid, usize> = HashMap::from([(main, 1)]);
    *counted.entry(side).or_default() += 1;
    while open > 0 {
        let Some((_, id)) = queue.pop() else { break };
        let mut color = paint.get(&id).copied().unwrap_or_default();
        if let Some(count) = counted.get_mut(&id).filter(|count| **count > 0) {
            *count -= 1;
            open -= 1;
        }
        steps += 1;
        if steps > limits::SIDE {
            let message = format!(
                "more than {} commits lie between the merged branch and where it left",
                limits::SIDE
            );
            return Err(Reason::new(ReasonCode::ApprovalIgnored, message));
        }
        if color & (MAIN | SIDE) == MAIN | SIDE && color & BELOW_BASE == 0 {
            bases.insert(id);
            color |= BELOW_BASE;
        }
        let raw = read(objects, &id)?;
        for parent in parse(&raw, &id)?.parents {
            let old = paint.entry(parent).or_default();
            if *old | color != *old {
                *old |= color;
                let below = *old & BELOW_BASE != 0;
                let parent_raw = read(objects, &parent)?;
                queue.push((parse(&parent_raw, &parent)?.committer.seconds, parent));
                if below {
                    // What waits for it no longer leads to a base.
                    open -= counted.remove(&parent).unwrap_or_default();
                } else {
                    *counted.entry(parent).or_default() += 1;
                    open += 1;
                }
            }
        }
    }
    bases.retain(|id| paint.get(id).is_some_and(|color| color & BELOW_BASE == 0));
    let side = paint
        .iter()
        .filter(|(_, color)| **color == SIDE)
        .map(|(id, _)| *id)
        .collect();
    Ok(Fork {
        bases: bases.into_iter().collect(),
        side,
    })
}

impl Evaluation<'_> {
    /// The voices of those who approved the tips of merged branches, each for the paths that the
    /// merge took as they were approved.
    pub(super) fn side_voices(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        changes: &[Change],
        notes: &mut Vec<Reason>,
    ) -> Result<Vec<Voice>, Reason> {
        let mut voices = Vec::new();
        for tip in commit.parents.iter().skip(1) {
            let mut approved = self.approvers(parent, commit, tip, notes)?;
            if approved.is_empty() {
                continue;
            }
            let taken = match self.taken(parent, commit, tip, changes) {
                Ok(taken) => taken,
                Err(reason) if reason.code == ReasonCode::ApprovalIgnored => {
                    notes.push(reason);
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            match taken {
                Ok(paths) => {
                    let paths = Rc::new(paths);
                    for voice in &mut approved {
                        voice.scope = Scope::These(paths.clone());
                    }
                    voices.append(&mut approved);
                }
                Err(path) => {
                    let message = format!(
                        "the approvals of {} count for nothing: the merge didn't take all of it as it was approved",
                        tip.short()
                    );
                    notes.push(Reason::new(ReasonCode::ApprovalIgnored, message).paths([path]));
                }
            }
        }
        Ok(voices)
    }

    /// The changed paths that the merge has as the tip has them, if it took the tip's whole change;
    /// otherwise a path that it didn't take.
    fn taken(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        tip: &Oid,
        changes: &[Change],
    ) -> Result<Result<HashSet<String>, String>, Reason> {
        let tree_of =
            |id: &Oid| -> Result<Oid, Reason> { Ok(parse(&read(self.objects, id)?, id)?.tree) };
        let tip_tree = tree_of(tip)?;
        let fork = fork(self.objects, parent.id, *tip)?;
        // What the tip changed since every base; without a base, everything that it has.
        let mut own: Option<HashSet<String>> = None;
        for base in fork
            .bases
            .iter()
            .map(Some)
            .chain(fork.bases.is_empty().then_some(None))
        {
            let base_tree = base.map(&tree_of).transpose()?;
            let diff = self
                .trees
                .diff(base_tree.as_ref(), Some(&tip_tree), Judge::Nothing)?;
            let paths: HashSet<String> = diff.into_iter().map(|change| change.path).collect();
            own = Some(match own {
                Some(own) => own.intersection(&paths).cloned().collect(),
                None => paths,
            });
        }
        let own = own.unwrap_or_default();
        for path in &own {
            let (here, there) = (
                self.trees.entry(&commit.tree, path)?,
                self.trees.entry(&tip_tree, path)?,
            );
            if here != there && self.trees.entry(&parent.tree, path)? != there {
                return Ok(Err(path.clone()));
            }
        }
        let mut taken = HashSet::new();
        for change in changes.iter().filter(|change| own.contains(&change.path)) {
            if self.trees.entry(&tip_tree, &change.path)? == change.after {
                taken.insert(change.path.clone());
            }
        }
        Ok(Ok(taken))
    }

    /// Who approved a tip: embedded tags, tags of it, and empty commits at its end.
    fn approvers(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        tip: &Oid,
        notes: &mut Vec<Reason>,
    ) -> Result<Vec<Voice>, Reason> {
        let mut voices = Vec::new();
        let raw = read(self.objects, tip)?;
        let at = parse(&raw, tip)?;
        let mut note = |result: Result<Voice, Reason>, voices: &mut Vec<Voice>| match result {
            Ok(voice) => voices.push(voice),
            Err(reason) => notes.push(reason),
        };
        for raw in &commit.mergetags {
            // That each embedded tag parses and names a parent is known already.
            let Ok(tag) = Tag::parse(raw, tip.format()) else {
                continue;
            };
            if tag.target == *tip {
                let name = tag.name.to_owned();
                note(
                    self.tag_voice(
                        parent,
                        &tag,
                        &name,
                        tip,
                        at.committer.seconds,
                        None,
                        By::Mergetag(name.clone()),
                    ),
                    &mut voices,
                );
            }
        }
        for tag in self.approvals.of(tip) {
            note(
                self.approval(parent, tag, tip, at.committer.seconds),
                &mut voices,
            );
        }
        // Empty commits, each approving the one below it, down to the last that isn't one.
        let (mut id, mut raw) = (*tip, raw.into_owned());
        for _ in 0..EMPTY_COMMITS {
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
            note(
                self.empty_commit_voice(parent, &at, id, &below, next.committer.seconds),
                &mut voices,
            );
            (id, raw) = (below, below_raw);
        }
        Ok(voices)
    }

    fn empty_commit_voice(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        id: Oid,
        below: &Oid,
        seconds: i64,
    ) -> Result<Voice, Reason> {
        let name = format!("by the empty commit {}", id.short());
        let finding = super::voice::examine_commit(parent, commit);
        let seen = self.seen(&id);
        let weighed = self.weigh(
            &parent.authority,
            &self.revoked,
            finding,
            Some(seconds),
            seen,
        );
        let (key, seconds) = weighed.map_err(|reason| approvals::ignored(&name, reason))?;
        let trailers = Trailers::parse(commit.message).map_err(|e| approvals::ignored(&name, e))?;
        approvals::claims(&trailers, &parent.authority.policy, below)
            .map_err(|why| approvals::ignored(&name, why))?;
        let identity = parent
            .authority
            .ring
            .get(key)
            .map(|k| k.identity)
            .unwrap_or_default();
        Ok(Voice {
            identity,
            key,
            seconds,
            by: By::EmptyCommit(id),
            scope: Scope::All,
            binds: true,
        })
    }

    /// Under `allSigned`: the first commit of the merged branches that isn't signed by an identity of
    /// this policy and of the policies of all of its parents.
    pub(super) fn unsigned_on_side(
        &mut self,
        parent: &Parent,
        commit: &Commit<'_>,
    ) -> Result<Option<Reason>, Reason> {
        for tip in commit.parents.iter().skip(1) {
            let mut side = fork(self.objects, parent.id, *tip)?.side;
            side.sort();
            for id in side {
                let raw = read(self.objects, &id)?;
                let at = parse(&raw, &id)?;
                if let Err(why) = self.signed_for_all(parent, &at)? {
                    let message = format!(
                        "the merged commit {} isn't signed by an identity of every policy that it builds on: {why}",
                        id.short()
                    );
                    return Ok(Some(Reason::new(ReasonCode::SideUnsigned, message)));
                }
            }
        }
        Ok(None)
    }

    fn signed_for_all(
        &mut self,
        parent: &Parent,
        commit: &Commit<'_>,
    ) -> Result<Result<(), String>, Reason> {
        let mut authorities = vec![parent.authority.clone()];
        for below in &commit.parents {
            let raw = read(self.objects, below)?;
            let Some(trust) = self.trees.trust(&parse(&raw, below)?.tree)? else {
                return Ok(Err(format!("{} has no policy", below.short())));
            };
            match self.authority(&trust) {
                Ok(authority) => authorities.push(authority),
                Err(reason) => return Ok(Err(reason.to_string())),
            }
        }
        for authority in authorities {
            let finding = match &commit.signature {
                Some(block) => examine(
                    &authority.ring,
                    commit.payload(),
                    block,
                    commit.committer.seconds,
                ),
                None => Finding::Not(Reason::new(ReasonCode::Uncovered, "it isn't signed")),
            };
            if let Err(reason) = self.weigh(&authority, &self.revoked, finding, None, None) {
                return Ok(Err(reason.to_string()));
            }
        }
        Ok(Ok(()))
    }
}
