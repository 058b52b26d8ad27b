//! Whether a policy's rules can be met at all, and who alone could change what.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::identity_set::IdentitySet;
use super::{Authority, Bypass, Emergency, IdentityIndex, Need, Pattern, Policy, Rule, TRUST_PATH};
use crate::signature::KeyName;

/// What `plumb trust check` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Satisfiability {
    /// Needs that can't be met.
    pub unsatisfiable: Vec<Unsatisfiable>,
    /// For each rule, those who could change what it owns without anybody else.
    pub alone: Vec<Alone>,
    /// Keys that couldn't make a signature that counts, and why.
    pub unusable: Vec<String>,
    /// Identities in more than one of the groups of one rule: one signature of theirs fills both needs.
    pub doubled: Vec<String>,
}

/// A need that can't be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsatisfiable {
    /// The rule's patterns, or `emergency`.
    pub rule: String,
    /// The group.
    pub from: String,
    /// How many are needed.
    pub count: u32,
    /// How many of the group have a usable key.
    pub usable: u32,
}

/// Those who could change what a rule owns without anybody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alone {
    /// The rule's patterns.
    pub rule: String,
    /// Their names.
    pub identities: Vec<String>,
    /// Besides these, those who could by declaring an emergency: some or all of what the rule owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emergency: Vec<String>,
}

impl Authority {
    /// Looks at every rule with the keys as they are at a time.
    pub fn check(&self, at: Timestamp) -> Satisfiability {
        self.check_without(&[], at)
    }

    /// The same, once these keys have lost their authority.
    pub fn check_without(&self, revoked: &[KeyName], at: Timestamp) -> Satisfiability {
        let usable = self.able(at, |key| self.is_among(key, revoked));
        let mut unusable = Vec::new();
        for (index, key) in self.ring.keys().iter().enumerate() {
            let why = if self.is_among(index, revoked) {
                Err("it is revoked".to_owned())
            } else {
                self.ring.usable(key, at.as_second())
            };
            if let Err(why) = why {
                unusable.push(format!(
                    "{} of {}: {why}",
                    key.name,
                    self.policy.name(key.identity)
                ));
            }
        }
        let policy = &self.policy;
        let unsatisfiable = unsatisfiable(policy, &usable);
        let alone = policy
            .rules
            .iter()
            .map(|rule| {
                let identities = alone(policy, rule, &usable);
                let mut emergency = alone_in_an_emergency(policy, rule, &usable);
                emergency.retain(|name| !identities.contains(name));
                Alone {
                    rule: rule.title(),
                    identities,
                    emergency,
                }
            })
            .collect();
        Satisfiability {
            unsatisfiable,
            alone,
            unusable,
            doubled: doubled(policy),
        }
    }

    /// Returns a need that can't be met with the keys as they are at a time.
    pub(crate) fn first_unsatisfiable(&self, at: Timestamp) -> Option<Unsatisfiable> {
        let usable = self.able(at, |_| false);
        unsatisfiable(&self.policy, &usable).into_iter().next()
    }

    /// The names of those who could make a signature at a time that counts, once these keys have lost
    /// their authority.
    pub fn able_without(&self, revoked: &[KeyName], at: Timestamp) -> BTreeSet<&str> {
        self.able(at, |key| self.is_among(key, revoked))
            .into_iter()
            .map(|who| self.policy.name(who))
            .collect()
    }

    /// Those who have a key that could sign at a time, and whose authority nobody took away.
    pub(crate) fn able(
        &self,
        at: Timestamp,
        revoked: impl Fn(usize) -> bool,
    ) -> BTreeSet<IdentityIndex> {
        let keys = self.ring.keys().iter().enumerate();
        keys.filter(|(index, key)| {
            !revoked(*index) && self.ring.usable(key, at.as_second()).is_ok()
        })
        .map(|(_, key)| key.identity)
        .collect()
    }

    /// Whether a key of the ring, or a part of it, is one of these.
    fn is_among(&self, key: usize, names: &[KeyName]) -> bool {
        names.iter().any(|name| self.ring.is_part_of(name, key))
    }
}

/// Returns the needs that can't be met, the members of each group counted once.
fn unsatisfiable(policy: &Policy, usable: &BTreeSet<IdentityIndex>) -> Vec<Unsatisfiable> {
    let of_group = |(name, members): (&String, &Vec<IdentityIndex>)| {
        let members = members.iter().filter(|member| usable.contains(member));
        let members = u32::try_from(members.count()).unwrap_or(u32::MAX);
        (name.clone(), members)
    };
    let groups: BTreeMap<String, u32> = policy.groups.iter().map(of_group).collect();
    let mut found = Vec::new();
    let mut check = |needs: &[Need], rule: &dyn Fn() -> String| {
        for need in needs {
            let members = groups.get(&need.from).copied().unwrap_or_default();
            if members < need.count {
                found.push(Unsatisfiable {
                    rule: rule(),
                    from: need.from.clone(),
                    count: need.count,
                    usable: members,
                });
            }
        }
    };
    for rule in &policy.rules {
        check(&rule.need, &|| rule.title());
    }
    if let Some(emergency) = &policy.emergency {
        check(&emergency.need, &|| "emergency".to_owned());
    }
    found
}

/// Whoever meets each need of the rule, and of every rule that owns at least as much, as one of one.
fn alone(policy: &Policy, rule: &Rule, usable: &BTreeSet<IdentityIndex>) -> Vec<String> {
    let everything =
        |other: &&Rule| other.owns(TRUST_PATH) && other.paths.iter().any(|p| p.as_str() == "**");
    let needs: Vec<&Need> = rule
        .need
        .iter()
        .chain(policy.rules.iter().filter(everything).flat_map(|r| &r.need))
        .collect();
    one_of_one(policy, usable, &needs)
}

/// Those of the usable who meet each need by themselves.
fn one_of_one(policy: &Policy, usable: &BTreeSet<IdentityIndex>, needs: &[&Need]) -> Vec<String> {
    if needs.iter().any(|need| need.count != 1) {
        return Vec::new();
    }
    let mut all = IdentitySet::new(policy.identities.len(), usable.iter().copied());
    let groups: BTreeSet<&str> = needs.iter().map(|need| need.from.as_str()).collect();
    for group in groups {
        all.intersect(&members(policy, group));
    }
    all.iter().map(|who| policy.name(who).to_owned()).collect()
}

/// Whoever meets each need of an emergency as one of one, where it takes the place of the rule's counts.
fn alone_in_an_emergency(
    policy: &Policy,
    rule: &Rule,
    usable: &BTreeSet<IdentityIndex>,
) -> Vec<String> {
    let Some(emergency) = policy
        .emergency
        .as_ref()
        .filter(|emergency| emergency.bypasses.contains(&Bypass::Counts))
        .filter(|emergency| !rule.paths.iter().all(|path| is_kept(emergency, path)))
    else {
        return Vec::new();
    };
    let needs: Vec<&Need> = emergency.need.iter().collect();
    one_of_one(policy, usable, &needs)
}

/// Whether an emergency touches nothing of what a pattern owns. Unclear cases count as no, so that
/// nobody is left out who could.
fn is_kept(emergency: &Emergency, pattern: &Pattern) -> bool {
    let text = pattern.as_str();
    let folder: Vec<&str> = text.split('/').take_while(|part| *part != "**").collect();
    if folder
        .first()
        .is_some_and(|top| top.eq_ignore_ascii_case(TRUST_PATH))
    {
        return true;
    }
    let folder = folder.join("/");
    emergency
        .never
        .iter()
        .any(|never| never.as_str() == text || !folder.is_empty() && never.owns(&folder))
}

fn members(policy: &Policy, group: &str) -> IdentitySet {
    let members = policy.group(group).iter().copied();
    IdentitySet::new(policy.identities.len(), members)
}

fn doubled(policy: &Policy) -> Vec<String> {
    let mut found = BTreeSet::new();
    for rule in &policy.rules {
        let mut groups: Vec<(&str, IdentitySet)> = Vec::new();
        for need in &rule.need {
            if groups.iter().any(|(name, _)| *name == need.from) {
                continue;
            }
            let own = members(policy, &need.from);
            for (name, set) in &groups {
                let mut both = own.clone();
                both.intersect(set);
                for who in both.iter() {
                    found.insert(format!(
                        "{} is in {name} and in {}: one signature fills both needs of {}",
                        policy.name(who),
                        need.from,
                        rule.title()
                    ));
                }
            }
            groups.push((&need.from, own));
        }
    }
    found.into_iter().collect()
}
