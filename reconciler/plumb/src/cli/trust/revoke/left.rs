//! What a revocation leaves: rules that nobody could meet any more, and who could still change `trust/`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_trust::policy::{Authority, TRUST_PATH};
use plumb_trust::{KeyName, Policy};
use serde::Serialize;

use crate::cli::trust::folder::owner;
use crate::cli::trust::next::{Wanted, in_words, wanted};
use crate::report::Failure;

/// A policy once a key has lost its authority, beside those that had before.
pub(super) struct Left<'a> {
    authority: &'a Authority,
    key: &'a KeyName,
    /// Every key without authority, this one among them.
    revoked: Vec<KeyName>,
    now: Timestamp,
    /// What couldn't be met any more, and could before.
    pub(super) lacking: Vec<Lacking>,
}

/// A rule that couldn't be met any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lacking {
    /// The rule's patterns, or `emergency`.
    rule: String,
    from: String,
    count: u32,
    /// Those of the group whose keys still count.
    left: Vec<String>,
}

impl Lacking {
    /// In words: which rule, and who is left.
    pub(super) fn told(&self) -> String {
        let left = match self.left.as_slice() {
            [] => "nobody of them".to_owned(),
            some => format!("only {}", some.join(" and ")),
        };
        format!(
            "{} needs {} of {}, and {left} could sign",
            self.rule, self.count, self.from
        )
    }
}

impl<'a> Left<'a> {
    /// Looks at a policy of which some keys have lost their authority already.
    pub(super) fn of(
        authority: &'a Authority,
        already: &[KeyName],
        key: &'a KeyName,
        now: Timestamp,
    ) -> Self {
        let before = authority.check_without(already, now).unsatisfiable;
        let revoked = [already, std::slice::from_ref(key)].concat();
        let able = authority.able_without(&revoked, now);
        let policy = &authority.policy;
        let lacking = authority
            .check_without(&revoked, now)
            .unsatisfiable
            .into_iter()
            .filter(|need| !before.contains(need))
            .map(|need| Lacking {
                left: members(policy, &need.from)
                    .filter(|name| able.contains(name))
                    .map(str::to_owned)
                    .collect(),
                rule: need.rule,
                from: need.from,
                count: need.count,
            })
            .collect();
        Self {
            authority,
            key,
            revoked,
            now,
            lacking,
        }
    }

    /// Whether enough are left to change `trust/`.
    fn is_open(&self) -> bool {
        let needs = self.changers();
        needs
            .iter()
            .all(|need| need.members.len() >= usize::try_from(need.count).unwrap_or(usize::MAX))
    }

    /// What a change of `trust/` takes, with those of each group who are left.
    pub(super) fn changers(&self) -> Vec<Wanted> {
        let able = self.authority.able_without(&self.revoked, self.now);
        wanted(&self.authority.policy, [TRUST_PATH].into_iter())
            .into_iter()
            .map(|need| need.only(&able))
            .collect()
    }

    /// Why nothing is revoked yet, what to do first, and how to revoke all the same.
    pub(super) fn refused(&self) -> Failure {
        let policy = &self.authority.policy;
        let whose = owner(policy, self.key);
        let lacking: Vec<_> = self.lacking.iter().map(Lacking::told).collect();
        let groups: BTreeSet<&str> = self.lacking.iter().map(|l| l.from.as_str()).collect();
        let group = groups.into_iter().next().unwrap_or("GROUP");
        let failure = Failure::new(format!(
            "without {}{} too few are left: {}; nothing was revoked",
            self.key,
            whose.map_or_else(String::new, |name| format!(" of {name}")),
            lacking.join("; ")
        ))
        .hint(format!(
            "if the key is stolen, don't wait. On the controller's machine, which acts at once and takes nobody else: {}",
            super::at_once(self.key).join(" && ")
        ))
        .hint(format!(
            "then for everyone who follows the repository: plumb trust revoke {} --yes",
            self.key
        ));
        let rotate =
            whose.map(|name| format!("plumb trust rotate {name} --key FILE --old {}", self.key));
        if self.is_open() {
            return failure
                .hint(format!(
                    "if the key is lost, or it can wait: first let somebody join, and push that: plumb trust add NAME --key FILE --group {group}"
                ))
                .maybe_hint(rotate.map(|command| format!("or first give {} another key: {command}", whose.unwrap_or_default())))
                .hint("what lacks somebody can't be changed then until somebody has joined; enough are left to change trust/");
        }
        // Without the key nobody can change trust/, so what comes first takes the key itself.
        failure
            .hint(format!(
                "if the key is lost, {NEW_ROOT}; there is no need to revoke it"
            ))
            .maybe_hint(rotate.map(|command| {
                format!("if it is still at hand and can wait, first put another in its place, in a commit or an approval that it signs: {command}")
            }))
    }

    /// What takes the key out of the policy afterwards and works: the commands, the nearest first.
    pub(super) fn afterwards(&self) -> Vec<String> {
        let policy = &self.authority.policy;
        let Some(name) = owner(policy, self.key) else {
            return Vec::new();
        };
        let key = self.key;
        let own: Vec<KeyName> = policy
            .identities
            .iter()
            .filter(|identity| identity.name == name)
            .flat_map(|identity| identity.keys.iter().map(|key| key.name.clone()))
            .collect();
        let rotate = format!("plumb trust rotate {name} --key FILE --old {key}");
        let can_go = |keys: &[KeyName]| {
            let check = self.authority.check_without(keys, self.now);
            check.unsatisfiable.is_empty()
        };
        let mut commands = Vec::new();
        if own.len() > 1 && can_go(std::slice::from_ref(key)) {
            commands.push(format!("plumb trust remove {name} --key {key}"));
        }
        commands.push(rotate);
        if own.len() == 1 && can_go(&own) {
            commands.push(format!("plumb trust remove {name}"));
        }
        commands
    }

    /// Who may sign the commit that does so, in words; why nobody may, where too few are left.
    pub(super) fn signers(&self) -> Result<String, &'static str> {
        if !self.is_open() {
            return Err(TOO_FEW);
        }
        Ok(in_words(&self.changers()))
    }
}

macro_rules! new_root {
    () => {
        "no commit can mend it: whoever keeps the server and the controller names a commit with a mended policy as the new root of trust (git config plumb.introduction COMMIT; docs/walk-lost-key.md, \"Without a spare key\")"
    };
}

/// What is left where too few are left to change `trust/`.
pub(in crate::cli::trust) const NEW_ROOT: &str = new_root!();
const TOO_FEW: &str = concat!("too few are left then to change trust/, so ", new_root!());

fn members<'p>(policy: &'p Policy, group: &str) -> impl Iterator<Item = &'p str> {
    let members = policy.group(group);
    members.iter().map(|member| policy.name(*member))
}
