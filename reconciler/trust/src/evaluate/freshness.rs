//! The heartbeat: a signed sign of life that names the head, so that withholding commits shows.
//!
//! STRATEGY. What counts is what the policy at the end of the accepted way asks for, so that the verdict is
//! the same wherever one begins. A stale heartbeat that holds lets nothing be accepted after the commit since
//! which the policy asks for it in these words, or after the floor if that is later:
//!
//! - The commit that first asks for a heartbeat needs none itself: the key that makes heartbeats is known
//!   only from there on. Nothing after it is accepted without one.
//! - The commit that ends or changes it is judged by its signatures alone, however stale the old one is.
//!   Whoever withholds commits can show no change that nobody signed, and whoever has such a commit has seen
//!   the branch up to there; to hold it because of a heartbeat that no job makes any more would hold
//!   everybody for good who begins before it. From there on the branch is as safe from being withheld as
//!   that commit says.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::counted_signature::Bounds;
use super::{Evaluation, Parent, approvals};
use crate::inputs::TagRef;
use crate::object::{ObjectKind, Trailers, limits};
use crate::outcome::Outcome;
use crate::policy::{Authority, Freshness, OnStale};
use crate::reason::{Reason, ReasonCode};
use crate::signature::KeyName;

/// Where the way ends, and since when its heartbeat is asked for in the same words.
pub(super) struct End<'e> {
    /// The last accepted commit, whose policy is in force.
    pub(super) parent: &'e Parent,
    /// How many commits of the chain lead up to the one that first asked what is asked now, itself included;
    /// none if the floor asks it.
    pub(super) asked: usize,
}

/// What a stale heartbeat holds: everything after so many commits of the chain.
pub(super) struct Hold {
    pub(super) after: usize,
    pub(super) reason: Reason,
}

impl Evaluation<'_> {
    /// Notes a stale heartbeat by the policy at the end of the way, and says what it holds.
    pub(super) fn heartbeat(&self, end: &End<'_>, outcome: &mut Outcome) -> Option<Hold> {
        let freshness = end.parent.authority.policy.freshness.as_ref()?;
        let reason = self.stale(end.parent, freshness)?;
        outcome.reasons.push(reason.clone());
        (freshness.on_stale == OnStale::Hold).then_some(Hold {
            after: end.asked,
            reason,
        })
    }

    /// Why the heartbeat is stale, if it is.
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

    /// When a tag was signed, if it is a heartbeat for this branch that names a commit of its chain.
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

/// By their names, so that no number of other tags leaves these out.
fn is_beat(freshness: &Freshness, tag: &TagRef) -> bool {
    tag.name
        .strip_prefix("refs/tags/")
        .is_some_and(|name| freshness.tag.owns(name))
}

/// Whether two policies ask for the same heartbeat, of the same keys.
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
