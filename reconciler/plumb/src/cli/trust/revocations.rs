//! The revocations that are in force, as far as this clone knows: they aren't in `trust/`, and take
//! away what it gives.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_adapters::git::Repository;
use plumb_trust::policy::{Authority, Satisfiability, Unsatisfiable};
use plumb_trust::{KeyName, Oid};

use super::folder::Folder;
use crate::judgement::{self, FloorOf, Range};

/// The keys that `revoke/` tags have taken authority from.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    since: BTreeMap<KeyName, Timestamp>,
    names: Vec<KeyName>,
}

impl Revocations {
    /// Those that count for the newest commit here, and for what the server has as far as it was
    /// fetched. Where git knows no introduction, each of the two is taken as accepted.
    pub(super) fn of(folder: &Folder, now: Timestamp) -> Self {
        let since = Self::read(folder, now).unwrap_or_default();
        let names = since.keys().cloned().collect();
        Self { since, names }
    }

    fn read(folder: &Folder, now: Timestamp) -> Option<BTreeMap<KeyName, Timestamp>> {
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
        let mut since = BTreeMap::new();
        for head in heads {
            let judged = |floor, floor_of| {
                let range = Range {
                    floor,
                    floor_of,
                    head,
                    tags: &tags,
                    now,
                };
                let outcome = judgement::judge(&repository, &range);
                outcome.revision().is_some().then_some(outcome)
            };
            let outcome = introduction
                .and_then(|floor| judged(floor, FloorOf::Introduction))
                .or_else(|| judged(head, FloorOf::Accepted));
            let found = outcome.iter().flat_map(plumb_trust::Outcome::revoked_since);
            since.extend(found.map(|(key, at)| (key.clone(), at)));
        }
        Some(since)
    }

    /// The keys, or parts of them.
    pub(super) fn names(&self) -> &[KeyName] {
        &self.names
    }

    /// Since when a key of a policy counts for nothing, if it is revoked.
    pub(super) fn since(&self, authority: &Authority, key: &KeyName) -> Option<Timestamp> {
        self.since
            .iter()
            .find(|(part, _)| *part == key || authority.is_part_of(part, key))
            .map(|(_, since)| *since)
    }

    /// Why a key of a policy could make no signature now that counts; nothing if it could.
    pub(super) fn unusable(
        &self,
        authority: &Authority,
        key: &KeyName,
        now: Timestamp,
    ) -> Option<String> {
        self.since(authority, key)
            .map(|since| format!("it is {}", told(since)))
            .or_else(|| authority.unusable(key, now))
    }

    /// A policy as it can be met without them.
    pub(super) fn check(&self, authority: &Authority, at: Timestamp) -> Satisfiability {
        authority.check_without(&self.names, at)
    }
}

/// That a key is revoked, as verdicts say it.
pub(super) fn told(since: Timestamp) -> String {
    format!("revoked by a revoke/ tag since {since}")
}

/// Whether a policy that can't be met is nearer to it than before: nothing lacks more, and something
/// less. What revocations have left with too few is mended person by person.
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
    use super::*;

    fn lacking(rule: &str, count: u32, usable: u32) -> Unsatisfiable {
        Unsatisfiable {
            rule: rule.to_owned(),
            from: "ops".to_owned(),
            count,
            usable,
        }
    }

    #[test]
    fn what_is_left_with_too_few_may_come_nearer_and_no_farther() {
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
