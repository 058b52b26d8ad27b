//! Checks that a policy's rules can be met, and finds identities that could change paths alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::identity_set::IdentitySet;
use super::{
    Authority, Bypass, Emergency, IdentityIndex, Need, Pattern, Policy, Rule, TRUST_PATH, Unusable,
};
use crate::key_name::KeyName;
use crate::reason::ReasonCode;

/// The result of `plumb trust check`.
#[derive(Debug, Clone, Serialize)]
pub struct Satisfiability {
    /// Needs that can't be met.
    pub unsatisfiable: Vec<Unsatisfiable>,
    /// For each rule, the identities that could change its paths alone.
    pub alone: Vec<Alone>,
    /// Keys that can't make a signature that counts, with the reasons; text for people.
    pub unusable: Vec<String>,
    /// Unusable keys of the identities that the policy needs and that have no usable key, with the reasons.
    #[serde(skip)]
    pub locked_out: Vec<LockedOut>,
    /// Identities that are in two groups of one rule: one signature by such an identity meets both needs.
    pub doubled: Vec<String>,
}

/// The part of a policy that a need belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeedOrigin {
    /// The rule with these patterns.
    Rule(String),
    /// The emergency.
    Emergency,
}

impl std::fmt::Display for NeedOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Rule(patterns) => patterns,
            Self::Emergency => "emergency",
        })
    }
}

impl Serialize for NeedOrigin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A need that can't be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsatisfiable {
    /// The rule or emergency that has the need.
    pub rule: NeedOrigin,
    /// Name of the group.
    pub from: String,
    /// Number of identities that are needed.
    pub count: u32,
    /// Number of identities of the group that have a usable key.
    pub usable: u32,
}

/// An unusable key of an identity that the policy needs and that has no usable key.
#[derive(Debug, Clone)]
pub struct LockedOut {
    /// The identity, which has no usable key.
    pub identity: String,
    /// The fingerprint of the key.
    pub key: KeyName,
    /// The reason why the key can't sign.
    pub unusable: Unusable,
}

impl std::fmt::Display for LockedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            identity,
            key,
            unusable,
        } = self;
        write!(f, "{identity} can't sign with the key {key}: {unusable}")
    }
}

/// Identities that could change a rule's paths alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alone {
    /// The rule's patterns.
    pub rule: String,
    /// The names of the identities.
    pub identities: Vec<String>,
    /// Other identities that could change some or all of the rule's paths alone by declaring an emergency.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emergency: Vec<String>,
}

impl Authority {
    /// Checks whether every need can be met with the keys that are usable at a time.
    pub fn check(&self, at: Timestamp) -> Satisfiability {
        self.check_without(&[], at)
    }

    /// Like [`check`](Self::check), as if the keys `revoked` were revoked.
    pub fn check_without(&self, revoked: &[KeyName], at: Timestamp) -> Satisfiability {
        let usable = self.able(at, |key| self.is_among(key, revoked));
        let mut unusable = Vec::new();
        let mut locked_out = Vec::new();
        let policy = &self.policy;
        for (index, key) in self.ring.keys().iter().enumerate() {
            let checked = if self.is_among(index, revoked) {
                Err(Unusable::revoked("it is revoked"))
            } else {
                self.ring.usable(index, at.as_second())
            };
            let Err(why) = checked else { continue };
            let (name, identity) = (key.name.clone(), policy.name(key.identity));
            unusable.push(format!("{name} of {identity}: {why}"));
            // A revocation or `validBefore` takes the key's authority away on purpose.
            let meant = why.code == ReasonCode::KeyRevoked || key.is_past(at.as_second());
            if !meant && !usable.contains(&key.identity) && policy.asks_for(key.identity) {
                locked_out.push(LockedOut {
                    identity: identity.to_owned(),
                    key: name,
                    unusable: why,
                });
            }
        }
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
            locked_out,
            doubled: doubled(policy),
        }
    }

    /// Returns the first need that can't be met with the keys that are usable at a time.
    pub(crate) fn first_unsatisfiable(&self, at: Timestamp) -> Option<Unsatisfiable> {
        let usable = self.able(at, |_| false);
        unsatisfiable(&self.policy, &usable).into_iter().next()
    }

    /// Returns the names of the identities that have a usable key at a time, as if the keys `revoked` were
    /// revoked.
    pub fn able_without(&self, revoked: &[KeyName], at: Timestamp) -> BTreeSet<&str> {
        self.able(at, |key| self.is_among(key, revoked))
            .into_iter()
            .map(|who| self.policy.name(who))
            .collect()
    }

    /// Returns the identities that have a key that is usable at a time and for which `revoked` is false.
    pub(crate) fn able(
        &self,
        at: Timestamp,
        revoked: impl Fn(usize) -> bool,
    ) -> BTreeSet<IdentityIndex> {
        let keys = self.ring.keys().iter().enumerate();
        keys.filter(|(index, _)| {
            !revoked(*index) && self.ring.usable(*index, at.as_second()).is_ok()
        })
        .map(|(_, key)| key.identity)
        .collect()
    }

    /// True if one of `names` is the fingerprint of a key of the key ring, or of one of its subkeys.
    fn is_among(&self, key: usize, names: &[KeyName]) -> bool {
        names.iter().any(|name| self.ring.is_part_of(name, key))
    }
}

/// Returns the needs that can't be met. Counts the members of each group once.
fn unsatisfiable(policy: &Policy, usable: &BTreeSet<IdentityIndex>) -> Vec<Unsatisfiable> {
    let of_group = |(name, members): (&String, &Vec<IdentityIndex>)| {
        let members = members.iter().filter(|member| usable.contains(member));
        let members = u32::try_from(members.count()).unwrap_or(u32::MAX);
        (name.clone(), members)
    };
    let groups: BTreeMap<String, u32> = policy.groups.iter().map(of_group).collect();
    let mut found = Vec::new();
    let mut check = |needs: &[Need], rule: &dyn Fn() -> NeedOrigin| {
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
        check(&rule.need, &|| NeedOrigin::Rule(rule.title()));
    }
    if let Some(emergency) = &policy.emergency {
        check(&emergency.need, &|| NeedOrigin::Emergency);
    }
    found
}

/// Returns the identities that can alone meet all needs of the rule, and all needs of every rule that owns
/// all paths.
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

/// Returns the usable identities that can alone meet all needs.
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

/// Returns the identities that can alone meet all needs of an emergency, if the emergency bypasses counts and
/// may change some of the rule's paths.
fn alone_in_an_emergency(
    policy: &Policy,
    rule: &Rule,
    usable: &BTreeSet<IdentityIndex>,
) -> Vec<String> {
    let Some(emergency) = policy
        .emergency
        .as_ref()
        .filter(|emergency| emergency.bypasses.contains(&Bypass::Counts))
        .filter(|emergency| {
            rule.hosts.is_some() || !rule.paths.iter().all(|path| is_kept(emergency, path))
        })
    else {
        return Vec::new();
    };
    let needs: Vec<&Need> = emergency.need.iter().collect();
    one_of_one(policy, usable, &needs)
}

/// True if an emergency can't change anything that a pattern owns. Returns `false` in unclear cases, so that
/// no identity is left out that could change a path alone.
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
