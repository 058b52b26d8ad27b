//! Describes emergencies and freezes, the exceptions from a policy's rules.

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_trust::Policy;
use plumb_trust::policy::{Alone, Bypass, Emergency, Freeze, POLICY_PATH, Pattern};

use super::needs;
use crate::output::one_of;

/// Describes who may declare an emergency, what it bypasses, for how long, and what it never touches. Names
/// only those members of its groups who are `able` to sign.
pub(super) fn emergency(policy: &Policy, able: &BTreeSet<&str>) -> Option<String> {
    let Emergency {
        need,
        ttl,
        bypasses,
        never,
    } = policy.emergency.as_ref()?;
    let all: Vec<_> = needs::strongest(policy, need.iter())
        .into_iter()
        .map(|need| need.only(able))
        .collect();
    let bypasses: Vec<_> = bypasses
        .iter()
        .map(|bypass| match bypass {
            Bypass::Freeze => "freezes",
            Bypass::Counts => "the counts of the rules",
        })
        .collect();
    let around = match bypasses.as_slice() {
        [] => "nothing".to_owned(),
        some => some.join(" and "),
    };
    let never: Vec<_> = std::iter::once("trust/")
        .chain(never.iter().map(Pattern::as_str))
        .collect();
    Some(format!(
        "{}, in a commit with the line `Emergency: WHY`, bypass {around} for {ttl} after signing, except for {}",
        needs::describe(&all),
        never.join(", ")
    ))
}

/// Lists the freezes that are in force at a time or begin after it.
pub(super) fn freezes(policy: &Policy, at: Timestamp) -> impl Iterator<Item = &Freeze> {
    policy.freeze.iter().filter(move |freeze| freeze.to > at)
}

/// Describes when a freeze is in force, and what it covers.
pub(super) fn describe_freeze(freeze: &Freeze, at: Timestamp) -> String {
    let paths: Vec<_> = freeze.paths.iter().map(Pattern::as_str).collect();
    let hosts = freeze.hosts.as_ref().map(|hosts| format!("hosts {hosts}"));
    let covers = hosts.unwrap_or_else(|| paths.join(", "));
    let when = if freeze.from <= at {
        format!("in force until {}", freeze.to)
    } else {
        format!("from {} until {}", freeze.from, freeze.to)
    };
    format!("{when}: {covers}")
}

/// Warns of a freeze that nobody can end early, because an emergency never touches `trust/`.
pub(super) fn endless_freeze_warning(freeze: &Freeze) -> Option<String> {
    let policy = freeze.owns(POLICY_PATH);
    policy.then(|| {
        format!(
            "the freeze from {} until {} covers {POLICY_PATH}, so nobody can end it early, not even in an emergency: list paths that leave out trust/",
            freeze.from, freeze.to
        )
    })
}

/// Describes who could change a rule's paths alone, and how.
pub(super) fn describe_alone(alone: &Alone) -> String {
    match (alone.identities.as_slice(), alone.emergency.as_slice()) {
        ([], []) => "nobody alone".to_owned(),
        (some, []) => format!("{} alone", one_of(some)),
        ([], some) => format!("nobody alone, except {} in an emergency", one_of(some)),
        (some, more) => format!(
            "{} alone, and {} alone in an emergency",
            one_of(some),
            one_of(more)
        ),
    }
}
