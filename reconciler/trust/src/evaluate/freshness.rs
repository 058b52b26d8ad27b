//! Checks the heartbeat: a signed tag that names the head from time to time, so that withheld commits show.
//!
//! STRATEGY. The policy of the last accepted commit decides, so that the verdict is the same for every floor.
//! With `onStale: hold`, a stale heartbeat blocks every commit after the one that introduced the present
//! definition of the heartbeat, or after the floor if that is later:
//!
//! - The commit that introduces a heartbeat needs none itself: the heartbeat's key is known only from there
//!   on. No later commit is accepted without a heartbeat.
//! - The commit that removes or changes the heartbeat is verified by its signatures alone, even if the old
//!   heartbeat is stale. Whoever withholds commits can't forge such a commit, and whoever has received it has
//!   seen the branch up to there. If it needed the old heartbeat, which perhaps no job makes any more,
//!   everybody whose floor is before it would be blocked for good. From there on, the new definition protects
//!   the branch from withheld commits, if there is one.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::bounds::Bounds;
use super::{Evaluation, Parent, approvals};
use crate::inputs::TagRef;
use crate::key_name::KeyName;
use crate::object::{ObjectKind, Trailers, limits};
use crate::outcome::Outcome;
use crate::policy::{Authority, Freshness, OnStale};
use crate::reason::{Reason, ReasonCode};

/// The end of the accepted chain, and the position of the commit that introduced the present heartbeat.
pub(super) struct End<'e> {
    /// The last accepted commit, whose policy is in force.
    pub(super) parent: &'e Parent,
    /// Number of commits of the chain up to and including the one that introduced the present definition of
    /// the heartbeat; 0 if the floor has the same definition.
    pub(super) asked: usize,
}

/// The effect of a stale heartbeat: every commit of the chain except the first `after` is blocked.
pub(super) struct Hold {
    pub(super) after: usize,
    pub(super) reason: Reason,
}

impl Evaluation<'_> {
    /// Adds a reason to the outcome if the heartbeat is stale by the policy of the last accepted commit.
    /// Returns a hold if that policy has `onStale: hold`.
    pub(super) fn heartbeat(&self, end: &End<'_>, outcome: &mut Outcome) -> Option<Hold> {
        let freshness = end.parent.authority.policy.freshness.as_ref()?;
        let reason = self.stale(end.parent, freshness)?;
        outcome.reasons.push(reason.clone());
        (freshness.on_stale == OnStale::Hold).then_some(Hold {
            after: end.asked,
            reason,
        })
    }

    /// Returns the reason if the heartbeat is stale.
    fn stale(&self, parent: &Parent, freshness: &Freshness) -> Option<Reason> {
        let policy = &parent.authority.policy;
        let newest = self
            .inputs
            .tags
            .iter()
            .filter(|tag| is_beat(freshness, tag))
            .take(limits::TAGS)
            .filter_map(|tag| self.beat(parent, freshness, tag))
            .max();
        if newest.is_some_and(|newest| self.now - newest <= freshness.max_age.0) {
            return None;
        }
        let since = newest.map_or_else(
            || "there is none".to_owned(),
            |newest| format!("the last is of {}", super::timestamp(newest)),
        );
        let message = format!(
            "no heartbeat {} of {} is newer than {}: {since}",
            freshness.tag,
            policy.name(freshness.from),
            freshness.max_age
        );
        Some(Reason::new(ReasonCode::HeartbeatStale, message).hint("look whether the git server shows the newest commits, and whether the heartbeat's job runs"))
    }

    /// Returns the time of a tag's signature if the tag is a heartbeat for this branch and names a commit of
    /// the chain, the floor, or an ancestor of the floor.
    fn beat(&self, parent: &Parent, freshness: &Freshness, tag: &TagRef) -> Option<i64> {
        let policy = &parent.authority.policy;
        let raw = self
            .objects
            .read(&tag.target, ObjectKind::Tag, limits::TAG)
            .ok()?;
        let parsed = approvals::parse(&raw, &tag.target, &tag.name).ok()?;
        let trailers = Trailers::parse(parsed.message).ok()?;
        if trailers.get("alive")?
            != format!(
                "{} {} {}",
                policy.repository, policy.reference, parsed.target
            )
        {
            return None;
        }
        let finding = self.examine_tag(&parent.authority, &parsed)?;
        let (key, seconds) = self
            .check_validity(
                &parent.authority,
                &self.revoked,
                finding,
                Bounds::none().seen(self.seen(&tag.target)),
            )
            .ok()?;
        if parent.authority.ring.get(key)?.identity != freshness.from {
            return None;
        }
        let on_chain = self.chain.position(&parsed.target).is_some()
            || self
                .chain
                .is_at_or_below_floor(self.objects, &parsed.target);
        on_chain.then_some(seconds)
    }
}

/// True if a tag's name is that of a heartbeat. Names are compared before the limit on tags applies, so that
/// other tags can't crowd out heartbeats.
fn is_beat(freshness: &Freshness, tag: &TagRef) -> bool {
    tag.name
        .strip_prefix("refs/tags/")
        .is_some_and(|name| freshness.tag.owns(name))
}

/// True if two policies define the same heartbeat, by the same keys.
pub(super) fn asks_the_same(one: &Authority, other: &Authority) -> bool {
    let asked = |authority: &Authority| {
        let policy = &authority.policy;
        let freshness = policy.freshness.as_ref()?;
        let from = policy.identities.get(freshness.from)?;
        let keys: BTreeSet<(KeyName, Option<Timestamp>)> = from
            .keys
            .iter()
            .map(|key| (key.name.clone(), key.valid_before))
            .collect();
        let (max_age, on_stale) = (freshness.max_age.0, freshness.on_stale);
        Some((freshness.tag.clone(), keys, max_age, on_stale))
    };
    asked(one) == asked(other)
}
