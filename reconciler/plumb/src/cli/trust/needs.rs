//! The signatures that a policy requires, with the people who can give them.

use std::collections::{BTreeMap, BTreeSet};

use plumb_trust::Policy;
use plumb_trust::policy::Need;
use serde::Serialize;

/// A number of signatures from one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupNeed {
    pub(super) from: String,
    pub(super) count: u32,
    pub(super) members: Vec<String>,
}

impl GroupNeed {
    /// Keeps only those members who are able to sign.
    pub(super) fn only(mut self, able: &BTreeSet<&str>) -> Self {
        self.members.retain(|member| able.contains(member.as_str()));
        self
    }

    /// True if fewer members are listed than the need requires.
    pub(super) fn lacks_members(&self) -> bool {
        self.members.len() < usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Returns the need that is left after these people have signed, or `None` if it is met.
    pub(super) fn after(mut self, signed: &BTreeSet<String>) -> Option<Self> {
        let all = self.members.len();
        self.members.retain(|member| !signed.contains(member));
        let have = u32::try_from(all - self.members.len()).unwrap_or(u32::MAX);
        self.count = self.count.saturating_sub(have);
        (self.count > 0).then_some(self)
    }
}

/// Describes needs, such as `2 of ops (alice, bob) and 1 of sec (dave)`.
pub(super) fn describe(needs: &[GroupNeed]) -> String {
    let need = |need: &GroupNeed| {
        let members = need.members.join(", ");
        format!("{} of {} ({members})", need.count, need.from)
    };
    needs.iter().map(need).collect::<Vec<_>>().join(" and ")
}

/// Returns the needs of a change of these paths. For each group, the largest count of all matching rules
/// applies.
pub(super) fn of_paths<'p>(
    policy: &Policy,
    paths: impl Iterator<Item = &'p str>,
) -> Vec<GroupNeed> {
    let rules = paths.flat_map(|path| {
        let rules = policy.rules.iter().filter(move |rule| rule.owns(path));
        rules.flat_map(|rule| &rule.need)
    });
    strongest(policy, rules)
}

/// Reduces needs to the largest count of each group.
pub(super) fn strongest<'n>(
    policy: &Policy,
    needs: impl Iterator<Item = &'n Need>,
) -> Vec<GroupNeed> {
    let mut most: BTreeMap<&str, u32> = BTreeMap::new();
    for need in needs {
        let count = most.entry(&need.from).or_default();
        *count = need.count.max(*count);
    }
    let group = |(from, count): (&str, u32)| GroupNeed {
        from: from.to_owned(),
        count,
        members: policy
            .group(from)
            .iter()
            .map(|member| policy.name(*member).to_owned())
            .collect(),
    };
    most.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_signer_once() {
        let need = GroupNeed {
            from: "ops".to_owned(),
            count: 2,
            members: ["alice", "bob", "carol"].map(str::to_owned).to_vec(),
        };
        let after = |signed: &[&str]| {
            let signed = signed.iter().map(|name| (*name).to_owned()).collect();
            let left = need.clone().after(&signed)?;
            Some((left.count, left.members))
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(after(&["alice"]), Some((1, names(&["bob", "carol"]))));
        assert_eq!(after(&["alice", "bob", "dave"]), None);
        assert_eq!(after(&[]), Some((2, names(&["alice", "bob", "carol"]))));
    }
}
