//! Decides whether a signature counts, by its identity, its key and its time.

use std::borrow::Cow;

use super::approvals::{self, ignored};
use super::bounds::{Age, Bounds};
use super::coverage::{CountedSignature, Scope};
use super::revocation::Revoked;
use super::{Evaluation, Parent};
use crate::object::{Commit, ObjectKind, ReadError, Tag, Trailers, limits};
use crate::oid::Oid;
use crate::outcome::By;
use crate::policy::{Authority, BindRef};
use crate::reason::{Reason, ReasonCode};
use crate::signature::{Finding, Made, examine, named_key};

/// If it is known when a signature was first seen, its key must still have been valid this number of seconds
/// before the first sight. So an expired key can't sign with a date in the past.
const LIVE_BEFORE_SEEN: i64 = 48 * 3600;

/// Verifies the signature of a commit with the keys of a policy.
pub(super) fn examine_commit(authority: &Authority, commit: &Commit<'_>) -> Finding {
    match &commit.signature {
        Some(block) => examine(
            &authority.ring,
            commit.payload(),
            block,
            commit.committer.seconds,
        ),
        None => Finding::Not(Reason::new(ReasonCode::Uncovered, "it isn't signed")),
    }
}

impl Evaluation<'_> {
    /// Verifies the signature of a commit, and counts the work.
    pub(super) fn examine_commit(&self, authority: &Authority, commit: &Commit<'_>) -> Finding {
        self.finding_of(authority, commit, None)
    }

    /// Returns `found`, the finding of another thread, or verifies the signature if it is `None`. Counts the
    /// work in both cases, so that the counts are the same for any number of threads.
    pub(super) fn finding_of(
        &self,
        authority: &Authority,
        commit: &Commit<'_>,
        found: Option<Finding>,
    ) -> Finding {
        if commit.signature.is_some() {
            self.work.add(|work| work.signatures += 1);
        }
        found.unwrap_or_else(|| examine_commit(authority, commit))
    }

    /// Verifies the signature of a tag; `None` if the tag has none.
    pub(super) fn examine_tag(&self, authority: &Authority, tag: &Tag<'_>) -> Option<Finding> {
        let block = tag.signature?;
        self.work.add(|work| work.signatures += 1);
        let ring = &authority.ring;
        Some(examine(ring, tag.payload(), block, tag.tagger.seconds))
    }

    /// Returns the time at which this machine first saw an object, if known.
    pub(super) fn seen(&self, id: &Oid) -> Option<i64> {
        self.inputs
            .first_seen
            .and_then(|seen| seen.get(id))
            .map(|seen| seen.as_second())
    }

    /// Checks that a good signature counts: its key is neither revoked nor expired, and its time is within
    /// the bounds and not in the future. Returns the key's index in the key ring and the signature's time.
    pub(super) fn check_validity(
        &self,
        authority: &Authority,
        revoked: &Revoked,
        finding: Finding,
        bounds: Bounds,
    ) -> Result<(usize, i64), Reason> {
        let Bounds { after, seen, age } = bounds;
        let Made { key, part, seconds } = match finding {
            Finding::Good(made) => made,
            Finding::Void(_, _, reason) | Finding::Not(reason) => return Err(reason),
        };
        let missing = || Reason::new(ReasonCode::UnknownKey, "the key isn't in the policy");
        let ring_key = authority.ring.get(key).ok_or_else(missing)?;
        let (policy, name) = (&authority.policy, &ring_key.name);
        if let Some(by) = revoked.by(authority, key) {
            return Err(Reason::new(
                ReasonCode::KeyRevoked,
                format!("the key {name} is revoked {by}"),
            ));
        }
        let when = super::timestamp(seconds);
        if seconds > self.latest_time(authority) {
            return Err(Reason::new(
                ReasonCode::Future,
                format!("the signature by {name} is dated {when}, which is yet to come"),
            ));
        }
        if let Some(after) = after.filter(|after| seconds < after - policy.skew.0) {
            let message = format!(
                "the signature by {name} is dated {when}, before what it builds on ({})",
                super::timestamp(after)
            );
            return Err(Reason::new(ReasonCode::Backdated, message));
        }
        // A signature may be verified long after it was made. The key must have been valid when the signature
        // was made. If it is known when the signature was first seen, the key must also have been valid
        // shortly before that.
        let live_at = seen.map_or(seconds, |seen| seconds.max(seen - LIVE_BEFORE_SEEN));
        if ring_key.is_past(live_at) {
            return Err(Reason::new(
                ReasonCode::KeyExpired,
                format!("the key {name} is past its `validBefore`"),
            ));
        }
        if let Some(part) = part.filter(|_| live_at > seconds) {
            // A signing subkey can expire or be revoked separately from its certificate.
            let live = authority.ring.openpgp_live(key, &part, live_at);
            live.map_err(|unusable| {
                let message = format!(
                    "the OpenPGP key {part} no longer counted shortly before its signature was first seen here: {unusable}"
                );
                Reason::new(unusable.code, message)
            })?;
        }
        if age == Age::Asked && seen.is_some_and(|seen| seen - seconds > policy.max_age.0) {
            let message = format!(
                "the signature by {name} is dated {when}, more than {} before it was first seen here",
                policy.max_age
            );
            return Err(Reason::new(ReasonCode::SeenLate, message));
        }
        Ok((key, seconds))
    }

    /// Returns an approval's signature if it counts: it passes [`check_validity`](Self::check_validity), and
    /// its signer is in a group of the policy.
    pub(super) fn authorize(
        &self,
        authority: &Authority,
        revoked: &Revoked,
        finding: Finding,
        bounds: Bounds,
        by: By,
    ) -> Result<CountedSignature, Reason> {
        let (key, seconds) = self.check_validity(authority, revoked, finding, bounds)?;
        let own = authority.ring.get(key);
        let identity = own.map(|own| own.identity).unwrap_or_default();
        let mut groups = authority.policy.groups.values();
        if groups.any(|group| group.contains(&identity)) {
            return Ok(CountedSignature {
                identity,
                key,
                seconds,
                by,
                scope: Scope::All,
                binds: true,
            });
        }
        let message = format!(
            "{} is in no group, so its signatures approve nothing",
            authority.policy.name(identity)
        );
        Err(Reason::new(ReasonCode::UnknownKey, message))
    }

    /// Returns a commit's own signature if it counts. Sets `binds` if a `Deploy-Ref:` trailer names this
    /// branch, or if the policy requires no binding.
    pub(super) fn own_signature(
        &self,
        parent: &Parent,
        commit: &Commit<'_>,
        finding: Finding,
        bounds: Bounds,
    ) -> Result<CountedSignature, Reason> {
        let signature = self
            .signature(parent, finding, bounds, By::Commit)
            .map_err(|reason| self.or_revoked(reason, commit))?;
        let policy = &parent.authority.policy;
        let binds = policy.bind_ref == BindRef::None || {
            let trailers = Trailers::parse(commit.message).unwrap_or_default();
            trailers
                .get("deploy-ref")
                .is_some_and(|said| said == format!("{} {}", policy.repository, policy.reference))
        };
        Ok(CountedSignature { binds, ..signature })
    }

    /// Replaces the reason `unknown-key` by `key-revoked` if the commit's key is revoked. A stolen key may
    /// have left the policy since, and its holder is no harmless stranger.
    fn or_revoked(&self, unknown: Reason, commit: &Commit<'_>) -> Reason {
        if unknown.code != ReasonCode::UnknownKey {
            return unknown;
        }
        let named = commit.signature.as_deref().and_then(named_key);
        let Some((name, by)) =
            named.and_then(|name| self.revoked.by_name(&name).map(|by| (name, by)))
        else {
            return unknown;
        };
        Reason::new(
            ReasonCode::KeyRevoked,
            format!(
                "its signature names the key {name}, which the policy doesn't have and which is revoked {by}"
            ),
        )
    }

    /// Reads an approval tag of the repository, and returns its signature if it counts.
    pub(super) fn approval(
        &self,
        parent: &Parent,
        tag: &Oid,
        target: &Oid,
        target_seconds: i64,
    ) -> Result<CountedSignature, Reason> {
        let read = self.objects.read(tag, ObjectKind::Tag, limits::TAG);
        self.approval_of(parent, tag, &read, target, target_seconds)
    }

    /// Returns the signature of an approval tag if it counts. `read` is the result of reading the tag object.
    pub(super) fn approval_of(
        &self,
        parent: &Parent,
        tag: &Oid,
        read: &Result<Cow<'_, [u8]>, ReadError>,
        target: &Oid,
        target_seconds: i64,
    ) -> Result<CountedSignature, Reason> {
        let name = self.approvals.name(tag);
        let about = |reason: Reason| reason.of_tag(name);
        let raw = read.as_ref().map_err(|e| about(ignored(name, e)))?;
        let parsed = approvals::parse(raw, tag, name).map_err(|e| about(ignored(name, e)))?;
        let by = By::Tag(name.strip_prefix("refs/tags/").unwrap_or(name).to_owned());
        let bounds = Bounds::after(target_seconds).seen(self.seen(tag));
        let finding = self
            .tag_finding(parent, &parsed, name, target)
            .map_err(about)?;
        self.signature(parent, finding, bounds, by)
            .map_err(|reason| about(ignored(name, reason)))
    }

    /// Verifies the signature of a tag. Fails if the tag doesn't say that it approves `target`, or isn't
    /// signed.
    pub(super) fn tag_finding(
        &self,
        parent: &Parent,
        tag: &Tag<'_>,
        name: &str,
        target: &Oid,
    ) -> Result<Finding, Reason> {
        let policy = &parent.authority.policy;
        let own_prefix = format!("approve/{}/", policy.branch());
        if !tag.name.starts_with(&own_prefix) {
            return Err(ignored(
                name,
                format!("its name doesn't begin with {own_prefix}"),
            ));
        }
        let trailers = Trailers::parse(tag.message).map_err(|e| ignored(name, e))?;
        approvals::claims(&trailers, policy, target).map_err(|why| ignored(name, why))?;
        self.examine_tag(&parent.authority, tag)
            .ok_or_else(|| ignored(name, "it isn't signed"))
    }

    /// Returns an approval's signature if it counts by the policy of the parent.
    pub(super) fn signature(
        &self,
        parent: &Parent,
        finding: Finding,
        bounds: Bounds,
        by: By,
    ) -> Result<CountedSignature, Reason> {
        self.authorize(&parent.authority, &self.revoked, finding, bounds, by)
    }

    /// Returns the latest time that doesn't count as in the future: now and the clock skew that the policy
    /// allows.
    pub(super) fn latest_time(&self, authority: &Authority) -> i64 {
        self.now.saturating_add(authority.policy.skew.0)
    }
}
