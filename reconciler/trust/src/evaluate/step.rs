//! Verifies one step: whether the commit `C` may follow its parent `P`.

use std::borrow::Cow;

use super::bounds::Bounds;
use super::commits::malformed;
use super::coverage::{self, Asked, CountedSignature, Coverage};
use super::history::History;
use super::prefetch::Prefetched;
use super::{Evaluation, Parent, revision, timestamp};
use crate::diff::{Change, Judge};
use crate::effects::Affected;
use crate::object::{Commit, ObjectKind, Tag, Trailers, limits};
use crate::oid::Oid;
use crate::outcome::Step;
use crate::policy::{Bypass, Freeze, Policy};
use crate::reason::{Missing, Reason, ReasonCode};
use crate::signature::Finding;
use crate::verdict::Verdict;
use crate::verified::Revision;

/// The path that says when rollouts halt.
const ROLLOUT_SETTINGS: &str = "fleet.yaml";

/// Maximum number of ignored approvals that are reported. Whoever may push tags can push many.
const NOTES: usize = 100;

/// Adds a note unless the limit is reached.
pub(super) fn add_note(notes: &mut Vec<Reason>, note: Reason) {
    if notes.len() < NOTES {
        notes.push(note);
    }
}

/// The state that an accepted step leaves for the next.
type Next = (Parent, Revision);

/// The facts about a commit before its approvals are examined.
pub(super) struct Candidate<'c> {
    pub(super) id: Oid,
    /// The commit's position in the chain.
    pub(super) at: usize,
    pub(super) commit: Commit<'c>,
    pub(super) changes: Vec<Change>,
    /// The commit's own signature if it counts, or the reason why it doesn't.
    own: Result<CountedSignature, Reason>,
    trailers: Trailers,
    /// Time of the commit in seconds since 1970: the latest of its parent's time, its own date, and the time
    /// of its signature if a key of the policy made it, revoked or not. Depends only on the commit and its
    /// ancestors, so that nobody can change it by adding a tag or a revocation. A commit dated in the future
    /// waits, so an accepted commit is never ahead of the clock by more than the skew.
    pub(super) seconds: i64,
    /// The same time without the parent's. The lifetime of an emergency is counted from it.
    declared: i64,
}

impl Candidate<'_> {
    /// Returns the last commits of the branches that this commit merges.
    fn merged(&self) -> &[Oid] {
        self.commit.parents.get(1..).unwrap_or_default()
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.path.as_str())
    }

    /// Returns the path whose approvals the commit needs although it may not change it. A commit that resumes
    /// a rollout needs those of fleet.yaml, which says when rollouts halt.
    fn also(&self) -> Option<&'static str> {
        let resumes = self.trailers.get("rollout-resume").is_some();
        let changed = self.paths().any(|path| path == ROLLOUT_SETTINGS);
        (resumes && !changed).then_some(ROLLOUT_SETTINGS)
    }
}

/// The result of checking a candidate's signatures.
struct Covered {
    coverage: Coverage,
    /// The time that the next commit mustn't be before: the candidate's time, or that of the last signature
    /// by a key of the policy that the commit itself carries. Approval tags don't count, because a commit on
    /// top may have been made before them.
    seconds: i64,
    by: Means,
    /// Needs of a declared emergency that aren't met.
    emergency_lacks: Vec<Missing>,
}

/// The conditions that a candidate was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Rules,
    /// An emergency that bypasses freezes.
    Emergency,
}

impl Evaluation<'_> {
    pub(super) fn step(
        &mut self,
        parent: &Parent,
        at: usize,
        looked: Option<Prefetched>,
        history: &mut History,
    ) -> (Step, Option<Next>) {
        let mut step = Step::new(self.chain.get(at), Verdict::Accept);
        match self.judge(parent, at, looked, &mut step, history) {
            Ok(next) => {
                self.revoke_after(parent, &next.0, &next.1, at);
                step.notes.truncate(NOTES);
                (step, Some(next))
            }
            Err(mut reasons) => {
                step.verdict = reasons
                    .iter()
                    .map(|r| r.code.verdict())
                    .max()
                    .unwrap_or(Verdict::Reject);
                // If the commit is rejected, what else is missing doesn't help the reader.
                if step.verdict == Verdict::Reject {
                    reasons.retain(|r| r.code.verdict() == Verdict::Reject);
                }
                step.reasons = reasons;
                step.notes.truncate(NOTES);
                (step, None)
            }
        }
    }

    fn judge(
        &mut self,
        parent: &Parent,
        at: usize,
        looked: Option<Prefetched>,
        step: &mut Step,
        history: &mut History,
    ) -> Result<Next, Vec<Reason>> {
        let id = step.commit;
        let (raw, finding) = if let Some(looked) = looked {
            let (raw, finding) = looked.by(&parent.authority);
            (raw.map(Cow::Owned), finding)
        } else {
            let read = self.objects.read(&id, ObjectKind::Commit, limits::COMMIT);
            (read, None)
        };
        let raw = raw.map_err(Reason::from)?;
        let commit = Commit::parse(&raw, id.format()).map_err(|e| malformed(&e))?;
        step.set_header(&commit);
        let finding = self.finding_of(&parent.authority, &commit, finding);
        let candidate = self.candidate(parent, at, id, commit, finding)?;
        let policy = &parent.authority.policy;
        let mut asked = coverage::asked(
            policy,
            candidate.paths().chain(candidate.also()),
            candidate.merged(),
        )?;
        let new_trust = self.new_trust(parent, &candidate.commit, &candidate.changes)?;
        let mut reasons = Vec::new();
        let Covered {
            mut coverage,
            seconds,
            by,
            emergency_lacks,
        } = self.covered(parent, &candidate, &mut asked, step)?;
        // A new policy is read only after identities of the old one have approved everything in its commit.
        let next = if coverage::vouch_for(&coverage.counted, candidate.paths()) {
            let next = self.next_policy(parent, new_trust, &candidate.changes, candidate.seconds);
            Some(next?)
        } else {
            None
        };
        if coverage.is_met() && self.inputs.tombstones.is_some_and(|t| t.contains(&id)) {
            let message = "it was accepted once and then taken off the branch";
            reasons.push(
                Reason::new(ReasonCode::Tombstoned, message)
                    .hint("make the change again as a commit of its own"),
            );
        }
        if candidate.commit.committer.seconds > self.latest_time(&parent.authority) {
            let message = format!(
                "it is dated {}, which is yet to come",
                timestamp(candidate.commit.committer.seconds)
            );
            reasons.push(Reason::new(ReasonCode::Future, message));
        }
        if by == Means::Rules {
            let frozen = self.frozen(policy, &candidate, asked.affected.as_ref());
            reasons.extend(frozen.map(|reason| with_lacks(reason, emergency_lacks)));
        }
        if coverage.is_met() && policy.side_branches == crate::policy::SideBranches::AllSigned {
            reasons.extend(self.unsigned_on_side(parent, &id, &candidate.commit)?);
        }
        if !coverage.is_met() {
            coverage.keep_able(policy, &self.able(&parent.authority));
        }
        reasons.append(&mut coverage.reasons);
        step.needs = coverage.needs;
        step.signers = coverage::signers(&parent.authority, &coverage.counted);
        let Some((trust, authority)) = next.filter(|_| reasons.is_empty()) else {
            // Report why the commit's own signature doesn't count only if something is missing: a signature
            // must never spoil a step that is accepted without it.
            if let Err(own) = candidate.own
                && !(own.code == ReasonCode::Uncovered
                    && reasons.iter().any(|r| r.code != ReasonCode::Uncovered))
            {
                merge_uncovered(&mut reasons, own);
            }
            return Err(reasons);
        };
        if let Err(own) = candidate.own {
            step.notes.push(own);
        }
        history.note(&parent.authority, id, &coverage.counted);
        if trust != parent.trust {
            self.revoked.remember(&authority);
            self.recorded.add(&authority);
        }
        let revision = revision(&candidate.commit, id, Some(candidate.trailers));
        Ok((
            Parent {
                id,
                tree: candidate.commit.tree,
                trust,
                seconds,
                authority,
            },
            revision,
        ))
    }

    /// Checks everything about a commit that no approval can change.
    fn candidate<'c>(
        &self,
        parent: &Parent,
        at: usize,
        id: Oid,
        commit: Commit<'c>,
        finding: Finding,
    ) -> Result<Candidate<'c>, Reason> {
        let follows = match self.chain.rollback.filter(|_| at == 0) {
            Some(to) => to,
            None => parent.id,
        };
        if commit.parents.first() != Some(&follows) {
            let message = "the store gave other bytes for it than before";
            return Err(Reason::new(ReasonCode::CorruptObject, message));
        }
        let mut after = parent.seconds;
        for side in commit.parents.iter().skip(1) {
            after = after.max(self.graph.node(side)?.seconds);
        }
        for raw in &commit.mergetags {
            let wrong = |why: &dyn std::fmt::Display| {
                Reason::new(
                    ReasonCode::MergetagMismatch,
                    format!("an embedded tag isn't one of a merged commit: {why}"),
                )
            };
            let tag = Tag::parse(raw, id.format()).map_err(|e| wrong(&e))?;
            if !commit
                .parents
                .iter()
                .skip(1)
                .any(|side| *side == tag.target)
            {
                return Err(wrong(&format!(
                    "{} is of {}",
                    tag.name.escape_debug(),
                    tag.target.short()
                )));
            }
        }
        let bounds = Bounds::after(after).seen(self.seen(&id));
        let past = |seconds: &i64| *seconds <= self.latest_time(&parent.authority);
        let is_made = finding.made().is_some();
        let signed = finding.made().map(|made| made.seconds).filter(past);
        let own = self.own_signature(parent, &commit, finding, bounds);
        if let Err(reason) = &own
            && reason.code.verdict() == Verdict::Reject
        {
            return Err(reason.clone());
        }
        // If a trailer is there twice, one program uses the first and another the last. This is a reject even
        // if the signer no longer counts: losing authority must not make such a commit acceptable.
        let said = match Trailers::parse(commit.message) {
            Err(e) if is_made => {
                return Err(Reason::new(ReasonCode::DuplicateTrailer, e.to_string()));
            }
            said => said.unwrap_or_default(),
        };
        let trailers = if own.is_ok() {
            said
        } else {
            Trailers::default()
        };
        let changes = self
            .trees
            .diff(Some(&parent.tree), Some(&commit.tree), Judge::New)?;
        if at == 0 && self.chain.rollback.is_some() {
            self.rollback(parent, &commit, &own)?;
        }
        let said = commit.committer.seconds;
        let declared = signed.map_or(said, |signed| said.max(signed));
        let seconds = parent.seconds.max(declared);
        Ok(Candidate {
            id,
            at,
            commit,
            changes,
            own,
            trailers,
            seconds,
            declared,
        })
    }

    /// Checks a rollback: it must be signed, and the policy must be the same at both ends.
    fn rollback(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        own: &Result<CountedSignature, Reason>,
    ) -> Result<(), Reason> {
        let refused = |message: &str| Reason::new(ReasonCode::RollbackRefused, message);
        if own.is_err() {
            return Err(refused(
                "a rollback must be signed by an identity of the policy",
            ));
        }
        if self.trees.trust(&commit.tree)? != Some(parent.trust) {
            return Err(refused(
                "a rollback can't cross a change of trust/: its serial never falls",
            ));
        }
        Ok(())
    }

    /// Counts signatures against the rules. Compares hosts only if the policy has rules about hosts and the
    /// signatures cover every path, because strangers' commits mustn't cause this work.
    fn counted<'p>(
        &self,
        parent: &'p Parent,
        candidate: &'p Candidate<'_>,
        asked: &mut Asked<'p>,
        signatures: &[CountedSignature],
    ) -> Coverage {
        let policy = &parent.authority.policy;
        if policy.selects_hosts()
            && asked.affected.is_none()
            && coverage::vouch_for(signatures, candidate.paths())
        {
            let after = &candidate.commit.tree;
            let affected = match self.inputs.effects {
                _ if parent.tree == *after => Affected::Hosts(Vec::new()),
                Some(effects) => effects.between(&parent.tree, after),
                None => Affected::Every,
            };
            let is_same = |tip: &&Oid| self.graph.node(tip).is_ok_and(|node| node.tree == *after);
            let same = candidate.merged().iter().filter(is_same).copied().collect();
            asked.add_effects(policy, affected, candidate.paths(), same);
        }
        coverage::judge(policy, asked, signatures)
    }

    /// Checks the candidate's signatures against the rules or, if they aren't enough, as an emergency.
    fn covered<'p>(
        &self,
        parent: &'p Parent,
        candidate: &'p Candidate<'_>,
        asked: &mut Asked<'p>,
        step: &mut Step,
    ) -> Result<Covered, Reason> {
        let policy = &parent.authority.policy;
        let said = candidate
            .trailers
            .get("emergency")
            .filter(|reason| !reason.is_empty());
        let emergency = policy.emergency.as_ref().filter(|_| said.is_some());
        let mut signatures: Vec<CountedSignature> = candidate.own.iter().cloned().collect();
        self.direct_signatures(parent, candidate, &mut signatures, &mut step.notes);
        let mut coverage = self.counted(parent, candidate, asked, &signatures);
        let frozen = |asked: &Asked<'_>| {
            let affected = asked.affected.as_ref();
            self.frozen(policy, candidate, affected).is_some()
        };
        let mut seconds = candidate.seconds;
        // Even if the rules are met, an emergency that has to bypass a freeze may need more identities.
        let wants_more = !coverage.is_met() || emergency.is_some() && frozen(asked);
        if wants_more && !candidate.merged().is_empty() {
            let side = self.side_signatures(parent, candidate, &mut step.notes)?;
            signatures.extend(side.signatures);
            seconds = side.latest.map_or(seconds, |latest| seconds.max(latest));
            coverage = self.counted(parent, candidate, asked, &signatures);
        }
        let covered = |coverage, by| Covered {
            coverage,
            seconds,
            by,
            emergency_lacks: Vec::new(),
        };
        let Some(emergency) = emergency else {
            return Ok(covered(coverage, Means::Rules));
        };
        if coverage.is_met() && !frozen(asked) {
            return Ok(covered(coverage, Means::Rules));
        }
        let forbidden = |change: &&Change| {
            super::policy_step::in_trust(&change.path)
                || emergency.never.iter().any(|p| p.owns(&change.path))
        };
        if let Some(change) = candidate.changes.iter().find(forbidden) {
            let message = "an emergency can't touch what the policy keeps from emergencies";
            return Err(Reason::new(ReasonCode::EmergencyForbidden, message).paths([&change.path]));
        }
        // The age is counted up to the commit's arrival. Without a floor, a commit whose first sight isn't
        // recorded is history, which was accepted in its time.
        let came = self
            .seen(&candidate.id)
            .or(self.inputs.floor.is_some().then_some(self.now));
        if came.is_some_and(|came| came - candidate.declared > emergency.ttl.0) {
            let message = format!(
                "the emergency of {} was over after {}",
                timestamp(candidate.declared),
                emergency.ttl
            );
            return Err(Reason::new(ReasonCode::EmergencyExpired, message));
        }
        // Signatures made after the emergency ended don't declare it. Otherwise a commit that waits for the
        // second signature of an emergency could bypass the rules for as long as it waits.
        signatures.retain(|signature| signature.seconds - candidate.declared <= emergency.ttl.0);
        let declared = coverage::judge(
            policy,
            &coverage::emergency(&emergency.need, &candidate.changes, candidate.merged()),
            &signatures,
        );
        let bypasses = |what| emergency.bypasses.contains(&what);
        if !declared.is_met() {
            let lacking = declared.reasons.into_iter();
            return Ok(Covered {
                emergency_lacks: lacking.flat_map(|reason| reason.missing).collect(),
                ..covered(coverage, Means::Rules)
            });
        }
        let counts = if bypasses(Bypass::Counts) {
            declared
        } else {
            coverage
        };
        let by = if bypasses(Bypass::Freeze) {
            Means::Emergency
        } else {
            Means::Rules
        };
        Ok(covered(counts, by))
    }

    /// Returns the reason if a freeze that is in force now covers a changed path or an affected host. With a
    /// floor, this concerns
    /// every commit. Without a floor, it concerns only commits that were first seen, or claim to be made,
    /// after the freeze began.
    fn frozen(
        &self,
        policy: &Policy,
        candidate: &Candidate<'_>,
        affected: Option<&Affected>,
    ) -> Option<Reason> {
        let frozen = |freeze: &Freeze| {
            if let (Some(hosts), Some(affected)) = (&freeze.hosts, affected) {
                let hosts = affected.selected(hosts)?;
                let message = format!("the policy freezes {hosts} until {}", freeze.to);
                return Some(Reason::new(ReasonCode::Frozen, message));
            }
            let paths: Vec<&str> = candidate.paths().filter(|path| freeze.owns(path)).collect();
            let message = format!("the policy freezes what it changes until {}", freeze.to);
            (!paths.is_empty()).then(|| Reason::new(ReasonCode::Frozen, message).paths(paths))
        };
        let lasts = |freeze: &&Freeze| {
            let (from, to) = (freeze.from.as_second(), freeze.to.as_second());
            let came = self.inputs.floor.is_some()
                || self.seen(&candidate.id).is_some_and(|seen| seen >= from)
                || candidate.seconds >= from;
            came && (from..to).contains(&self.now)
        };
        policy.freeze.iter().filter(lasts).find_map(frozen)
    }
}

/// Adds to the reason of a freeze the needs that the declared emergency lacks to bypass the freeze.
fn with_lacks(frozen: Reason, lacks: Vec<Missing>) -> Reason {
    if lacks.is_empty() {
        return frozen;
    }
    let message = format!(
        "{}; the emergency that it declares has {}",
        frozen.message,
        Missing::listed(&lacks)
    );
    Reason { message, ..frozen }.missing(lacks)
}

/// Adds the reason why the commit's own signature doesn't count, and adapts the message about missing
/// signatures to it.
fn merge_uncovered(reasons: &mut Vec<Reason>, own: Reason) {
    let uncovered = reasons.iter_mut().find(|r| r.code == ReasonCode::Uncovered);
    if let Some(uncovered) = uncovered {
        match own.code {
            ReasonCode::Uncovered => {
                let approved = uncovered.message.replace("signed or ", "");
                uncovered.message = format!("{}, and {approved}", own.message);
            }
            ReasonCode::UnknownKey => {}
            // An identity has signed it.
            _ => "no signature or approval of it counts".clone_into(&mut uncovered.message),
        }
    }
    if own.code != ReasonCode::Uncovered {
        reasons.push(own);
    }
}
