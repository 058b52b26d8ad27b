//! The revocations by `revoke/` tags, as far as this clone knows them. They aren't in `trust/`, but revoke
//! keys that are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::policy::{Authority, Satisfiability, Unsatisfiable, Unusable};
use plumb_trust::{By, KeyName, Oid, RevocationBegun, Signer};

use super::folder::{Folder, owner};
use crate::verdict::{self, FloorSource, Range};

/// The keys that `revoke/` tags have revoked.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    since: BTreeMap<KeyName, Timestamp>,
    names: Vec<KeyName>,
    begun: BTreeMap<KeyName, RevocationBegun>,
}

impl Revocations {
    /// Finds the revocations that count for the newest commit here, and for the server's branch as of the
    /// last fetch. Without `plumb.introduction`, both commits are assumed to be accepted.
    pub(super) fn of(folder: &Folder, now: Timestamp) -> Self {
        let mut found = Self::read(folder, now).unwrap_or_default();
        found.names = found.since.keys().cloned().collect();
        let Self { since, begun, .. } = &mut found;
        begun.retain(|key, _| !since.contains_key(key));
        found
    }

    fn read(folder: &Folder, now: Timestamp) -> Option<Self> {
        let repository = Repository::open(&folder.root).ok()?;
        let tags = repository.tags().ok()?;
        if !tags
            .iter()
            .any(|tag| tag.name.starts_with("refs/tags/revoke/"))
        {
            return None;
        }
        let introduction = repository
            .config("plumb.introduction")
            .and_then(|text| repository.resolve(&text).ok());
        let newest = repository.resolve("HEAD").ok();
        let fetched = folder.upstream().and_then(|u| repository.resolve(&u).ok());
        let mut heads: Vec<Oid> = newest.into_iter().chain(fetched).collect();
        heads.dedup();
        let mut all = Self::default();
        for head in heads {
            let judged = |floor, source| {
                let range = Range {
                    floor,
                    source,
                    head,
                    tags: &tags,
                    now,
                };
                let outcome = verdict::judge(&repository, &range);
                outcome.revision().is_some().then_some(outcome)
            };
            let outcome = introduction
                .and_then(|floor| judged(floor, FloorSource::Introduction))
                .or_else(|| judged(head, FloorSource::Accepted));
            let found = outcome.iter().flat_map(plumb_trust::Outcome::revoked_since);
            all.since.extend(found.map(|(key, at)| (key.clone(), at)));
            let begun = outcome.into_iter().flat_map(|outcome| outcome.begun);
            all.begun
                .extend(begun.map(|begun| (begun.key.clone(), begun)));
        }
        Some(all)
    }

    /// Returns the revoked keys and subkeys.
    pub(super) fn names(&self) -> &[KeyName] {
        &self.names
    }

    /// Returns the time since when a key of a policy is revoked.
    pub(super) fn since(&self, authority: &Authority, key: &KeyName) -> Option<Timestamp> {
        self.since
            .iter()
            .find(|(part, _)| *part == key || authority.is_part_of(part, key))
            .map(|(_, since)| *since)
    }

    /// Returns the reason if a key can't make signatures that count now, or `None` if it can.
    pub(super) fn unusable(
        &self,
        authority: &Authority,
        key: &KeyName,
        now: Timestamp,
    ) -> Option<Unusable> {
        self.since(authority, key)
            .map(|since| Unusable::revoked(format!("it is {}", describe(since))))
            .or_else(|| authority.unusable(key, now))
    }

    /// Returns the revocations that lack signatures.
    pub(super) fn begun(&self) -> impl Iterator<Item = &RevocationBegun> {
        self.begun.values()
    }

    /// Describes the revocations that lack signatures: who signed them, and what is missing.
    pub(super) fn incomplete(&self, authority: &Authority) -> Vec<String> {
        let text = |begun: &RevocationBegun| {
            let whose = owner(&authority.policy, &begun.key)
                .map_or_else(String::new, |name| format!(" of {name}"));
            let mut most: BTreeMap<&str, u32> = BTreeMap::new();
            for need in &begun.missing {
                let count = most.entry(&need.from).or_default();
                *count = need.count.saturating_sub(need.have).max(*count);
            }
            let missing: Vec<_> = most
                .into_iter()
                .map(|(group, count)| format!("{count} more of {group}"))
                .collect();
            format!(
                "the revocation of the key {}{whose} has begun and doesn't count yet: signed by {}, it still needs {}. To complete it: plumb trust revoke {0}",
                begun.key,
                signers(&begun.signers, |key| self.since(authority, key).is_some()),
                missing.join(" and "),
            )
        };
        self.begun.values().map(text).collect()
    }

    /// Checks whether a policy can be met without the revoked keys.
    pub(super) fn check(&self, authority: &Authority, at: Timestamp) -> Satisfiability {
        authority.check_without(&self.names, at)
    }
}

/// Lists the signers of revocation tags, each with the tag's name and date, and marks those whose own key is
/// revoked.
pub(super) fn signers(signers: &[Signer], is_revoked: impl Fn(&KeyName) -> bool) -> String {
    let text = |signer: &Signer| {
        let tag = match &signer.by {
            By::Tag(name) => name.as_str(),
            _ => "",
        };
        let revoked = if is_revoked(&signer.key) {
            ", whose own key is revoked"
        } else {
            ""
        };
        format!("{}{revoked} ({tag} of {})", signer.identity, signer.time)
    };
    signers.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Describes a revocation in the same words as verdicts do.
pub(super) fn describe(since: Timestamp) -> String {
    format!("revoked by a revoke/ tag since {since}")
}

/// True if a policy that can't be met lacks fewer signers than before: nothing lacks more, and something
/// lacks less. So a policy with too few people can be repaired one person at a time.
pub(super) fn is_nearer(before: &[Unsatisfiable], now: &[Unsatisfiable]) -> bool {
    let mut gained = before.len() > now.len();
    for lacking in now {
        let same = before.iter().find(|old| {
            old.rule == lacking.rule && old.from == lacking.from && old.count == lacking.count
        });
        match same {
            Some(old) if old.usable <= lacking.usable => gained |= old.usable < lacking.usable,
            _ => return false,
        }
    }
    gained
}

#[cfg(test)]
mod tests {
    use plumb_trust::policy::NeedOrigin;

    use super::*;

    fn lacking(rule: &str, count: u32, usable: u32) -> Unsatisfiable {
        Unsatisfiable {
            rule: NeedOrigin::Rule(rule.to_owned()),
            from: "ops".to_owned(),
            count,
            usable,
        }
    }

    #[test]
    fn an_unmet_policy_may_only_come_nearer() {
        let before = [lacking("**", 3, 1), lacking("trust/**", 3, 1)];
        let nearer = [lacking("**", 3, 2), lacking("trust/**", 3, 1)];
        assert!(is_nearer(&before, &nearer));
        assert!(is_nearer(&before, &before[..1]));
        assert!(!is_nearer(&before, &before));
        assert!(!is_nearer(&nearer, &before));
        assert!(!is_nearer(&before[..1], &nearer));
        assert!(!is_nearer(&[], &before));
    }
}
