//! The heartbeat: a signed sign of life that names the head, so that withholding commits shows.

use super::voice::Bounds;
use super::{Evaluation, Parent, approvals};
use crate::inputs::TagRef;
use crate::object::{ObjectKind, Trailers, limits};
use crate::outcome::Outcome;
use crate::policy::{Freshness, OnStale};
use crate::reason::{Reason, ReasonCode};
use crate::signature::examine;
use crate::verdict::Verdict;

impl Evaluation<'_> {
    /// Notes a stale heartbeat; one that holds leaves the verdict at pending with alarm.
    pub(super) fn heartbeat(&self, parent: &Parent, outcome: &mut Outcome) {
        let policy = &parent.authority.policy;
        let Some(freshness) = &policy.freshness else {
            return;
        };
        let newest = self
            .inputs
            .tags
            .iter()
            .filter(|tag| is_beat(freshness, tag))
            .take(limits::TAGS)
            .filter_map(|tag| self.beat(parent, freshness, tag))
            .max();
        if newest.is_some_and(|newest| self.now - newest <= freshness.max_age.0) {
            return;
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
        let reason = Reason::new(ReasonCode::HeartbeatStale, message);
        if !outcome.reasons.contains(&reason) {
            outcome.reasons.push(reason.cure("look whether the git server shows the newest commits, and whether the heartbeat's job runs"));
        }
        if freshness.on_stale == OnStale::Hold && outcome.verdict.is_accept() {
            outcome.verdict = Verdict::PendingAlarm;
        }
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
        let on_chain = self.chain.position(&parsed.target).is_some()
            || self
                .chain
                .is_at_or_below_floor(self.objects, &parsed.target);
        let finding = examine(
            &parent.authority.ring,
            parsed.payload(),
            parsed.signature?,
            parsed.tagger.seconds,
        );
        let (key, seconds) = self
            .lives(
                &parent.authority,
                &self.revoked,
                finding,
                Bounds::none().seen(self.seen(&tag.target)),
            )
            .ok()?;
        let ours = parent.authority.ring.get(key)?.identity == freshness.from;
        (on_chain && ours).then_some(seconds)
    }
}

/// By their names, so that no number of other tags leaves these out.
fn is_beat(freshness: &Freshness, tag: &TagRef) -> bool {
    tag.name
        .strip_prefix("refs/tags/")
        .is_some_and(|name| freshness.tag.owns(name))
}
