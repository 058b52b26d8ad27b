//! Counts signatures against the needs of the rules.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use crate::diff::Change;
use crate::effects::Affected;
use crate::oid::Oid;
use crate::outcome::{By, NeedMet, Signer};
use crate::policy::{Authority, BindRef, IdentityIndex, Need, Policy};
use crate::reason::{Missing, Reason, ReasonCode};

/// A signature that counts.
#[derive(Debug, Clone)]
pub(super) struct CountedSignature {
    pub(super) identity: IdentityIndex,
    /// The key's index in the key ring.
    pub(super) key: usize,
    pub(super) seconds: i64,
    pub(super) by: By,
    pub(super) scope: Scope,
    /// True if the signature names this branch, or if the policy requires no binding.
    pub(super) binds: bool,
}

/// The part of a step that a signature covers.
#[derive(Debug, Clone)]
pub(super) enum Scope {
    /// The whole step.
    All,
    /// Only the changed paths that the step took from one merged branch as they were approved. Never empty,
    /// because an approval that covers nothing of a step doesn't count for it.
    Branch {
        /// The branch's last commit, a parent of the step.
        tip: Oid,
        paths: Rc<HashSet<String>>,
    },
}

impl Scope {
    /// Returns the last commit of the merged branch that the scope is limited to, if it is limited.
    fn branch(&self) -> Option<Oid> {
        match self {
            Self::All => None,
            Self::Branch { tip, .. } => Some(*tip),
        }
    }
}

impl CountedSignature {
    fn covers(&self, path: &str) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Branch { paths, .. } => paths.contains(path),
        }
    }

    fn covers_merge_of(&self, merged: &Oid) -> bool {
        self.scope.branch().is_none_or(|tip| tip == *merged)
    }
}

/// Returns the signers, sorted by the objects that carry their signatures; the commit's own signature is the
/// first.
pub(super) fn signers(authority: &Authority, signatures: &[CountedSignature]) -> Vec<Signer> {
    let signer = |signature: &CountedSignature| {
        Some(Signer {
            identity: authority.policy.name(signature.identity).to_owned(),
            key: authority.ring.get(signature.key)?.name.clone(),
            time: super::timestamp(signature.seconds),
            by: signature.by.clone(),
        })
    };
    let mut signers: Vec<Signer> = signatures.iter().filter_map(signer).collect();
    signers.sort_by(|a, b| (&a.by, &a.identity).cmp(&(&b.by, &b.identity)));
    signers
}

/// True if the signatures together cover each of the paths. Without paths, one signature is enough.
pub(super) fn vouch_for<'p>(
    signatures: &[CountedSignature],
    mut paths: impl Iterator<Item = &'p str>,
) -> bool {
    !signatures.is_empty()
        && paths.all(|path| signatures.iter().any(|signature| signature.covers(path)))
}

/// The demands that the signatures of a step must meet.
pub(super) struct Asked<'p> {
    pub(super) demands: Vec<Demand<'p>>,
    /// The last commits of the merged branches. Each must be covered like a path: a merge makes the whole
    /// branch an ancestor, even if it takes none of the branch's files.
    pub(super) merged: &'p [Oid],
    /// The hosts that the step affects, once they were compared.
    pub(super) affected: Option<Affected>,
}

impl<'p> Asked<'p> {
    /// Adds the demands of the rules that are about an affected host. Approvals of a merged branch count for them
    /// only if the step has the very tree of the branch, `same`: otherwise what the branch does to a host depends on
    /// the rest of the step.
    pub(super) fn add_effects(
        &mut self,
        policy: &'p Policy,
        affected: Affected,
        paths: impl Iterator<Item = &'p str>,
        same: Vec<Oid>,
    ) {
        let paths = Rc::new(paths.collect());
        let same = Rc::new(same);
        for rule in &policy.rules {
            let hosts = rule
                .hosts
                .as_ref()
                .and_then(|hosts| affected.selected(hosts));
            if let Some(hosts) = hosts {
                let title = format!("{} ({hosts})", rule.title());
                let demands = of(&title, &rule.need, &paths);
                self.demands
                    .extend(demands.into_iter().map(|demand| demand.of_the_whole(&same)));
            }
        }
        self.affected = Some(affected);
    }
}

/// A need, and the paths that it applies to.
pub(super) struct Demand<'p> {
    title: String,
    need: &'p Need,
    paths: Rc<Vec<&'p str>>,
    counts: Counts,
}

/// The signatures that count for a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Counts {
    /// Those that cover its paths.
    Covering,
    /// Those of the whole step, and those of these merged branches.
    Whole(Rc<Vec<Oid>>),
}

impl Counts {
    /// True if approvals of a merged branch count.
    fn has(&self, tip: &Oid) -> bool {
        match self {
            Self::Covering => true,
            Self::Whole(tips) => tips.contains(tip),
        }
    }
}

/// Returns the demands of all rules that own one of the paths. Fails if no rule owns one.
pub(super) fn asked<'p>(
    policy: &'p Policy,
    paths: impl Iterator<Item = &'p str>,
    merged: &'p [Oid],
) -> Result<Asked<'p>, Reason> {
    let mut owned: Vec<Vec<&str>> = vec![Vec::new(); policy.rules.len()];
    let mut stray: Vec<&str> = Vec::new();
    for path in paths {
        let mut any = false;
        for (index, _) in policy.rules_for(path) {
            owned[index].push(path);
            any = true;
        }
        if !any {
            stray.push(path);
        }
    }
    if !stray.is_empty() {
        let message = "no rule of the policy owns what it changes";
        return Err(Reason::new(ReasonCode::NoRule, message).paths(stray));
    }
    let rules = policy
        .rules
        .iter()
        .zip(owned)
        .filter(|(_, paths)| !paths.is_empty());
    let demands = rules
        .flat_map(|(rule, paths)| of(&rule.title(), &rule.need, &Rc::new(paths)))
        .collect();
    Ok(Asked {
        demands,
        merged,
        affected: None,
    })
}

/// Returns the demands of an emergency: the emergency's own needs, for every changed path.
pub(super) fn emergency<'p>(
    need: &'p [Need],
    changes: &'p [Change],
    merged: &'p [Oid],
) -> Asked<'p> {
    let paths = Rc::new(changes.iter().map(|c| c.path.as_str()).collect());
    Asked {
        demands: of("emergency", need, &paths),
        merged,
        affected: None,
    }
}

fn of<'p>(title: &str, needs: &'p [Need], paths: &Rc<Vec<&'p str>>) -> Vec<Demand<'p>> {
    needs
        .iter()
        .map(|need| Demand {
            title: title.to_owned(),
            need,
            paths: paths.clone(),
            counts: Counts::Covering,
        })
        .collect()
}

/// The result of counting signatures for a demand.
struct Had<'p> {
    have: usize,
    /// Identities that cover all paths of the demand.
    identities: BTreeSet<IdentityIndex>,
    lacking: Vec<&'p str>,
}

impl<'p> Demand<'p> {
    fn of_the_whole(self, tips: &Rc<Vec<Oid>>) -> Self {
        Self {
            counts: Counts::Whole(tips.clone()),
            ..self
        }
    }

    fn had(&self, policy: &Policy, signatures: &[&CountedSignature]) -> Had<'p> {
        let group = policy.group(&self.need.from);
        let of_group = |signature: &&&CountedSignature| group.contains(&signature.identity);
        let everywhere: BTreeSet<IdentityIndex> = signatures
            .iter()
            .filter(of_group)
            .filter(|v| matches!(v.scope, Scope::All))
            .map(|v| v.identity)
            .collect();
        let count = self.need.count as usize;
        let partial: Vec<&&CountedSignature> = signatures
            .iter()
            .filter(of_group)
            .filter(|v| v.scope.branch().is_some_and(|tip| self.counts.has(&tip)))
            .collect();
        if partial.is_empty() || everywhere.len() >= count {
            let lacking = if everywhere.len() < count {
                self.paths.to_vec()
            } else {
                Vec::new()
            };
            return Had {
                have: everywhere.len(),
                identities: everywhere,
                lacking,
            };
        }
        let mut least = usize::MAX;
        let mut lacking = Vec::new();
        let mut all: Option<BTreeSet<IdentityIndex>> = None;
        for path in self.paths.iter() {
            let mut here = everywhere.clone();
            here.extend(
                partial
                    .iter()
                    .filter(|signature| signature.covers(path))
                    .map(|signature| signature.identity),
            );
            least = least.min(here.len());
            if here.len() < count {
                lacking.push(*path);
            }
            all = Some(all.map_or_else(
                || here.clone(),
                |all| all.intersection(&here).copied().collect(),
            ));
        }
        let identities = all.unwrap_or_else(|| everywhere.clone());
        Had {
            have: if least == usize::MAX {
                everywhere.len()
            } else {
                least
            },
            identities,
            lacking,
        }
    }
}

/// The result of counting the signatures of a step.
#[derive(Default)]
pub(super) struct Coverage {
    /// Reasons why the signatures aren't enough; empty if they are.
    pub(super) reasons: Vec<Reason>,
    /// Every need, with the identities that meet it.
    pub(super) needs: Vec<NeedMet>,
    /// The signatures that were counted.
    pub(super) counted: Vec<CountedSignature>,
}

impl Coverage {
    pub(super) fn is_met(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Removes from `could` of each need the identities that aren't in `able`.
    pub(super) fn keep_able(&mut self, policy: &Policy, able: &BTreeSet<IdentityIndex>) {
        let able: BTreeSet<&str> = able.iter().map(|who| policy.name(*who)).collect();
        for need in &mut self.needs {
            need.could.retain(|name| able.contains(name.as_str()));
        }
    }
}

/// Maximum number of signatures of one identity, for the same part of a step, that are counted. More make no
/// difference, and anybody could add copies to slow the verification down.
const PER_IDENTITY: usize = 16;

/// Counts signatures that lie within `approvals.maxAge` of each other. Tries every such window of time, and
/// returns the first that meets all demands, or else the one that comes closest. Additional signatures can't
/// spoil a result, because they only add windows or extend them.
pub(super) fn judge(
    policy: &Policy,
    asked: &Asked<'_>,
    signatures: &[CountedSignature],
) -> Coverage {
    let mut sorted: Vec<&CountedSignature> = signatures.iter().collect();
    sorted.sort_by_key(|signature| std::cmp::Reverse(signature.seconds));
    // Anybody can put a signature into other armor, which makes another object. Such copies count once, so
    // that they can't crowd out the other signatures of their identity.
    let mut seen: BTreeMap<(IdentityIndex, bool, Option<Oid>), BTreeSet<i64>> = BTreeMap::new();
    sorted.retain(|signature| {
        let said = seen
            .entry((
                signature.identity,
                signature.binds,
                signature.scope.branch(),
            ))
            .or_default();
        matches!(signature.by, By::Commit)
            || said.len() < PER_IDENTITY && said.insert(signature.seconds)
    });
    let mut best: Option<Coverage> = None;
    let mut last = None;
    for newest in 0..sorted.len().max(1) {
        let within: Vec<&CountedSignature> = match sorted.get(newest) {
            Some(first) => sorted[newest..]
                .iter()
                .copied()
                .take_while(|v| first.seconds - v.seconds <= policy.approvals_max_age.0)
                .collect(),
            None => Vec::new(),
        };
        // A window with the same end as the previous one is a part of it.
        let end = newest + within.len();
        if last == Some(end) && !within.is_empty() {
            continue;
        }
        last = Some(end);
        let coverage = of_window(policy, asked, &within);
        if coverage.is_met() {
            return coverage;
        }
        let lacks = |c: &Coverage| {
            c.reasons
                .iter()
                .flat_map(|r| &r.missing)
                .map(|m| m.count - m.have.min(m.count))
                .sum::<u32>()
        };
        if best
            .as_ref()
            .is_none_or(|best| lacks(&coverage) < lacks(best))
        {
            best = Some(coverage);
        }
    }
    best.unwrap_or_default()
}

fn of_window(policy: &Policy, asked: &Asked<'_>, signatures: &[&CountedSignature]) -> Coverage {
    let mut coverage = Coverage {
        counted: signatures.iter().map(|v| (*v).clone()).collect(),
        ..Coverage::default()
    };
    if signatures.is_empty() {
        let message = "no identity of the policy has signed or approved it";
        coverage
            .reasons
            .push(Reason::new(ReasonCode::Uncovered, message));
    }
    let mut lacking: BTreeMap<&str, (Vec<Missing>, BTreeSet<&str>)> = BTreeMap::new();
    for demand in &asked.demands {
        let had = demand.had(policy, signatures);
        let have = u32::try_from(had.have).unwrap_or(u32::MAX);
        let identities: Vec<&str> = had
            .identities
            .iter()
            .map(|index| policy.name(*index))
            .collect();
        if have < demand.need.count {
            let (missing, paths) = lacking.entry(&demand.title).or_default();
            missing.push(Missing {
                from: demand.need.from.clone(),
                count: demand.need.count,
                have,
            });
            paths.extend(had.lacking);
        }
        coverage.needs.push(NeedMet {
            rule: demand.title.clone(),
            from: demand.need.from.clone(),
            count: demand.need.count,
            have,
            could: if have < demand.need.count {
                policy
                    .who_could(&demand.need.from, &identities)
                    .into_iter()
                    .map(str::to_owned)
                    .collect()
            } else {
                Vec::new()
            },
            identities: identities.into_iter().map(str::to_owned).collect(),
        });
    }
    let unapproved = asked.merged.iter().find(|tip| {
        !signatures
            .iter()
            .any(|signature| signature.covers_merge_of(tip))
    });
    if let Some(tip) = unapproved.filter(|_| !signatures.is_empty() && lacking.is_empty()) {
        let message = format!(
            "no identity of the policy has signed the merge, and it takes nothing of the merged commit {} that is approved",
            tip.short()
        );
        coverage
            .reasons
            .push(Reason::new(ReasonCode::Uncovered, message));
    }
    for (rule, (missing, paths)) in lacking {
        let message = format!("the rule {rule} has {}", Missing::listed(&missing));
        let reason = Reason::new(ReasonCode::ApprovalsMissing, message)
            .paths(paths)
            .missing(missing);
        coverage.reasons.push(
            reason
                .hint("signatures or approval tags by so many of the group: plumb approve COMMIT"),
        );
    }
    if !is_bound(policy, asked, signatures) && !signatures.is_empty() {
        let message = format!(
            "no signature says that it is meant for {} of {}",
            policy.reference, policy.repository
        );
        let hint = format!(
            "an approval tag, or the trailer `Deploy-Ref: {} {}` in the signed commit",
            policy.repository, policy.reference
        );
        coverage
            .reasons
            .push(Reason::new(ReasonCode::Unbound, message).hint(hint));
    }
    coverage
}

/// True if signatures that name this branch cover the whole step, or if the policy requires no binding.
fn is_bound(policy: &Policy, asked: &Asked<'_>, signatures: &[&CountedSignature]) -> bool {
    // A signature that binds a merged branch binds only that part of the merge: the rest may have been signed
    // for another branch.
    let binding: Vec<&&CountedSignature> = signatures
        .iter()
        .filter(|signature| signature.binds)
        .collect();
    let binds = |path: &&str| binding.iter().any(|signature| signature.covers(path));
    let binds_merge = |tip: &Oid| {
        binding
            .iter()
            .any(|signature| signature.covers_merge_of(tip))
    };
    let mut paths = asked.demands.iter().flat_map(|d| d.paths.iter());
    policy.bind_ref == BindRef::None
        || !binding.is_empty() && paths.all(binds) && asked.merged.iter().all(binds_merge)
}
