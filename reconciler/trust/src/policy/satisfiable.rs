//! Whether a policy's rules can be met at all, and who alone could change what.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::{Authority, IdentityIndex, Need, Policy, Rule, TRUST_PATH};

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
}

impl Authority {
    /// Looks at every rule with the keys as they are at a time.
    pub fn check(&self, at: Timestamp) -> Satisfiability {
        let (mut usable, mut unusable) = (BTreeSet::new(), Vec::new());
        for key in self.ring.keys() {
            match self.ring.usable(key, at.as_second()) {
                Ok(()) => {
                    usable.insert(key.identity);
                }
                Err(why) => unusable.push(format!(
                    "{} of {}: {why}",
                    key.name,
                    self.policy.name(key.identity)
                )),
            }
        }
        let policy = &self.policy;
        let mut unsatisfiable = Vec::new();
        let mut check = |rule: String, needs: &[Need]| {
            for need in needs {
                let members = policy
                    .group(&need.from)
                    .iter()
                    .filter(|member| usable.contains(member))
                    .count();
                let members = u32::try_from(members).unwrap_or(u32::MAX);
                if members < need.count {
                    unsatisfiable.push(Unsatisfiable {
                        rule: rule.clone(),
                        from: need.from.clone(),
                        count: need.count,
                        usable: members,
                    });
                }
            }
        };
        for rule in &policy.rules {
            check(rule.title(), &rule.need);
        }
        if let Some(emergency) = &policy.emergency {
            check("emergency".to_owned(), &emergency.need);
        }
        let alone = policy
            .rules
            .iter()
            .map(|rule| Alone {
                rule: rule.title(),
                identities: alone(policy, rule, &usable),
            })
            .collect();
        Satisfiability {
            unsatisfiable,
            alone,
            unusable,
            doubled: doubled(policy),
        }
    }
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
    let meets = |who: &&IdentityIndex| {
        needs
            .iter()
            .all(|need| need.count == 1 && policy.group(&need.from).contains(who))
    };
    usable
        .iter()
        .filter(meets)
        .map(|who| policy.name(*who).to_owned())
        .collect()
}

fn doubled(policy: &Policy) -> Vec<String> {
    let mut found = BTreeSet::new();
    for rule in &policy.rules {
        for (i, a) in rule.need.iter().enumerate() {
            for b in rule.need.iter().skip(i + 1).filter(|b| b.from != a.from) {
                for who in policy
                    .group(&a.from)
                    .iter()
                    .filter(|who| policy.group(&b.from).contains(who))
                {
                    found.insert(format!(
                        "{} is in {} and in {}: one signature fills both needs of {}",
                        policy.name(*who),
                        a.from,
                        b.from,
                        rule.title()
                    ));
                }
            }
        }
    }
    found.into_iter().collect()
}
