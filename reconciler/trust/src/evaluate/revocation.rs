//! Determines which keys are revoked: by this machine's configuration, by `revoke/` tags, by certificates.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use super::bounds::Bounds;
use super::coverage::{self, Asked, CountedSignature};
use super::{Evaluation, Parent, approvals, chain, timestamp};
use crate::diff::Change;
use crate::inputs::{Inputs, Revocations};
use crate::key_name::KeyName;
use crate::object::{ObjectKind, Tag, limits};
use crate::oid::Oid;
use crate::outcome::{By, RevocationBegun};
use crate::policy::{Authority, IdentityIndex, Material, Policy, TRUST_PATH};
use crate::verified::Revision;

/// The keys that are revoked.
#[derive(Default)]
pub(super) struct Revoked {
    local: BTreeSet<KeyName>,
    /// Key material of the keys that this machine's configuration gives as whole keys and not as
    /// fingerprints.
    local_material: Material,
    /// Keys that tags revoked in the past. Separate from `local`, because messages name the cause, and
    /// because the outcome lists the keys that no present tag revokes.
    before: BTreeSet<KeyName>,
    /// Keys that tags revoke, with the time since which the tags have had enough signatures.
    tags: BTreeMap<KeyName, i64>,
    /// Keys with a hard revocation in a certificate of an accepted policy. Dropping the certificate and
    /// adding it again without its revocation doesn't help.
    certificates: BTreeSet<KeyName>,
    /// Signed tags that don't revoke yet, by the key to revoke, with their signatures under the current
    /// policy.
    waiting: BTreeMap<KeyName, Vec<Waiting>>,
    /// The targets of the tags in `waiting`.
    targets: HashSet<Oid>,
    /// Signed tags whose signatures don't count under the current policy, by the key to revoke; positions in
    /// the inputs' tags. Anybody may push such tags, so they are verified once for each policy and not for
    /// each commit.
    silent: BTreeMap<KeyName, Vec<usize>>,
    /// Tags that weren't read because the policy doesn't have the key to revoke; positions in the inputs'
    /// tags.
    unread: BTreeMap<KeyName, Vec<usize>>,
    /// Commits that were accepted and then left by a signed rollback.
    left: HashSet<Oid>,
    /// Key material of revoked keys that have left the policy, so that none of them returns in another
    /// format.
    materials: BTreeMap<KeyName, Material>,
    /// True once `left` contains the commits that rollbacks below the floor left.
    left_below_floor: bool,
}

/// The cause of a revocation.
#[derive(Debug, Clone, Copy)]
pub(super) enum RevokedBy {
    Configuration,
    /// Tags, which have had enough signatures since this time (seconds since 1970).
    Tags(i64),
    /// Tags that revoked the key in the past.
    EarlierTags,
    Certificate,
}

impl fmt::Display for RevokedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("by this machine's configuration"),
            Self::Tags(since) => write!(f, "by a revoke/ tag since {}", timestamp(*since)),
            Self::EarlierTags => f.write_str("by revoke/ tags that were here before"),
            Self::Certificate => f.write_str("by its certificate in an earlier policy"),
        }
    }
}

struct Waiting {
    /// The tag's position in the inputs' tags.
    at: usize,
    target: Oid,
    signature: CountedSignature,
}

impl Revoked {
    /// Returns what revoked a key of the key ring, or `None` if the key isn't revoked.
    pub(super) fn by(&self, authority: &Authority, key: usize) -> Option<RevokedBy> {
        let other_form = |name: &KeyName| {
            let material = self.materials.get(name);
            material.is_some_and(|material| authority.ring.is_of(key, material))
        };
        let is = |name: &KeyName| authority.ring.is_part_of(name, key) || other_form(name);
        if authority.ring.is_of(key, &self.local_material) {
            return Some(RevokedBy::Configuration);
        }
        let mut each = self.each();
        each.find_map(|(name, by)| is(name).then_some(by))
    }

    /// Returns what revoked the key with this fingerprint, or `None` if it isn't revoked. The policy needn't
    /// have the key.
    pub(super) fn by_name(&self, key: &KeyName) -> Option<RevokedBy> {
        let mut each = self.each();
        each.find_map(|(name, by)| (name == key).then_some(by))
    }

    /// Returns all revoked keys with the causes. If a key has several causes, the strongest is returned
    /// first.
    fn each(&self) -> impl Iterator<Item = (&KeyName, RevokedBy)> {
        let local = self.local.iter().map(|key| (key, RevokedBy::Configuration));
        let tags = self
            .tags
            .iter()
            .map(|(key, at)| (key, RevokedBy::Tags(*at)));
        let before = self.before.iter().map(|key| (key, RevokedBy::EarlierTags));
        let certificates = self.certificates.iter();
        let certificates = certificates.map(|key| (key, RevokedBy::Certificate));
        local.chain(tags).chain(before).chain(certificates)
    }

    /// Returns the revocations that the inputs contain: those of this machine's configuration, and those that
    /// tags made in the past.
    pub(super) fn known(inputs: &Inputs<'_>) -> Self {
        let keys = |revoked: Option<&Revocations>| {
            let keys = revoked.into_iter().flat_map(Revocations::iter);
            keys.cloned().collect()
        };
        Self {
            local: keys(inputs.revoked),
            local_material: inputs
                .revoked
                .map(|revoked| revoked.material().clone())
                .unwrap_or_default(),
            before: keys(inputs.revoked_before),
            ..Self::default()
        }
    }

    /// Returns the keys that tags revoke, each with the time since which the tags have had enough signatures.
    pub(super) fn by_tags(&self) -> impl Iterator<Item = (&KeyName, i64)> {
        self.tags.iter().map(|(key, since)| (key, *since))
    }

    /// Returns the keys of this policy that tags revoked in the past, and that neither tags nor this
    /// machine's configuration revoke now.
    pub(super) fn unbacked(&self, authority: &Authority) -> Vec<KeyName> {
        let gone = |key: &&KeyName| {
            !self.tags.contains_key(key) && !self.local.contains(key) && authority.ring.has(key)
        };
        self.before.iter().filter(gone).cloned().collect()
    }

    /// Records the key material of the revoked keys of a policy that is about to be replaced.
    fn remember_materials(&mut self, authority: &Authority) {
        let names = self.each().map(|(name, _)| name.clone());
        let gone: Vec<KeyName> = names.filter(|name| authority.ring.has(name)).collect();
        for name in gone {
            let material = authority.ring.material_of(&name);
            self.materials.entry(name).or_insert(material);
        }
    }

    /// Records the keys of an accepted policy whose certificates have a hard revocation.
    pub(super) fn remember(&mut self, authority: &Authority) {
        let keys = authority.ring.keys().iter();
        let compromised = keys.filter(|key| key.is_compromised());
        self.certificates
            .extend(compromised.map(|key| key.name.clone()));
    }
}

impl Evaluation<'_> {
    /// Returns the revocations in force at the floor.
    pub(super) fn revocations(&self, floor: &Parent) -> Revoked {
        let mut revoked = Revoked::known(self.inputs);
        for (at, tag) in self.inputs.tags.iter().enumerate() {
            let named = tag
                .name
                .strip_prefix("refs/tags/revoke/")
                .and_then(|rest| KeyName::from_hex(rest.split('/').next()?).ok());
            if let Some(key) = named {
                revoked.unread.entry(key).or_default().push(at);
            }
        }
        self.look_at_those_of(&mut revoked, &floor.authority);
        self.look_at_strangers(&mut revoked, &floor.authority);
        self.find_left(&mut revoked);
        revoked.remember(&floor.authority);
        self.revoke(&mut revoked, floor, None);
        revoked
    }

    /// Finds the commits that rollbacks below the floor left. Needed only if a tag's target is neither on the
    /// chain nor below the floor.
    fn find_left(&self, revoked: &mut Revoked) {
        let elsewhere = |target: &Oid| {
            self.chain.position(target).is_none()
                && !self.chain.is_at_or_below_floor(self.objects, target)
        };
        if let Some(floor) = self.chain.floor.filter(|_| !revoked.left_below_floor)
            && revoked.targets.iter().any(elsewhere)
        {
            let left = chain::with_left_behind(self.objects, floor);
            revoked.left.extend(left);
            revoked.left_below_floor = true;
        }
    }

    /// Verifies every unread tag that names a key of the policy. Their number has no limit except that on all
    /// tags, beyond which a source returns an error: with a lower limit, whoever may push tags could push so
    /// many that the tag which revokes a stolen key isn't verified.
    fn look_at_those_of(&self, revoked: &mut Revoked, authority: &Authority) {
        let keys: Vec<KeyName> = revoked
            .unread
            .keys()
            .filter(|key| authority.ring.has(key))
            .cloned()
            .collect();
        for key in keys {
            let tags = revoked.unread.remove(&key).unwrap_or_default();
            self.look_at(revoked, authority, &key, &tags);
        }
    }

    /// Verifies again, under a new policy, all tags that don't revoke yet.
    fn look_again(&self, revoked: &mut Revoked, authority: &Authority) {
        let waiting = std::mem::take(&mut revoked.waiting);
        let mut again = std::mem::take(&mut revoked.silent);
        for (key, tags) in waiting {
            again
                .entry(key)
                .or_default()
                .extend(tags.iter().map(|tag| tag.at));
        }
        revoked.targets.clear();
        for (key, mut tags) in again {
            tags.sort_unstable();
            self.look_at(revoked, authority, &key, &tags);
        }
    }

    /// Verifies some of the tags that name keys outside the policy, at most [`limits::STRANGERS`]. Such keys
    /// have no authority to lose, but a commit signed by one of them is then reported as signed by a revoked
    /// key.
    fn look_at_strangers(&self, revoked: &mut Revoked, authority: &Authority) {
        let (mut room, mut keys) = (limits::STRANGERS, Vec::new());
        for (key, tags) in &revoked.unread {
            if let Some(rest) = room.checked_sub(tags.len()) {
                room = rest;
                keys.push(key.clone());
            }
        }
        for key in keys {
            let tags = revoked.unread.remove(&key).unwrap_or_default();
            self.look_at(revoked, authority, &key, &tags);
        }
    }

    fn look_at(&self, revoked: &mut Revoked, authority: &Authority, key: &KeyName, tags: &[usize]) {
        for at in tags {
            let Some(tag) = self.inputs.tags.get(*at) else {
                continue;
            };
            let Ok(raw) = self.objects.read(&tag.target, ObjectKind::Tag, limits::TAG) else {
                continue;
            };
            let Ok(parsed) = approvals::parse(&raw, &tag.target, &tag.name) else {
                continue;
            };
            // An unsigned tag counts under no policy, so it isn't kept.
            if parsed.signature.is_none() {
                continue;
            }
            let Some(signature) = self.revoking_signature(authority, &parsed) else {
                revoked.silent.entry(key.clone()).or_default().push(*at);
                continue;
            };
            revoked.targets.insert(parsed.target);
            let waiting = Waiting {
                at: *at,
                target: parsed.target,
                signature,
            };
            revoked
                .waiting
                .entry(key.clone())
                .or_default()
                .push(waiting);
        }
    }

    /// Applies the tags whose target is this newly accepted commit or a commit that it left by a rollback. If
    /// the policy has changed since `before`, also applies the tags that count under the new one.
    pub(super) fn revoke_after(
        &mut self,
        before: &Parent,
        parent: &Parent,
        revision: &Revision,
        at: usize,
    ) {
        let mut revoked = std::mem::take(&mut self.revoked);
        let policy_changed = parent.trust != before.trust;
        if policy_changed {
            revoked.remember_materials(&before.authority);
            self.look_again(&mut revoked, &parent.authority);
            self.look_at_those_of(&mut revoked, &parent.authority);
            self.find_left(&mut revoked);
        }
        let mut left = HashSet::new();
        // A tag in `silent` may count under a later policy.
        if (!revoked.waiting.is_empty() || !revoked.silent.is_empty())
            && let Some(from) = chain::left_by(&revision.trailers, revision.parent)
        {
            left = chain::with_left_behind(self.objects, from);
        }
        let waits = policy_changed
            || revoked.targets.contains(&parent.id)
            || left.iter().any(|id| revoked.targets.contains(id));
        revoked.left.extend(left);
        if waits && !revoked.waiting.is_empty() {
            self.revoke(&mut revoked, parent, Some(at));
        }
        self.revoked = revoked;
    }

    /// Applies the tags whose targets are accepted commits and whose signatures together meet the needs of a
    /// change of `trust/`. Each key's tags are counted separately, so that the order of tags doesn't matter,
    /// and without a limit on their age, because they only revoke.
    fn revoke(&self, revoked: &mut Revoked, parent: &Parent, at: Option<usize>) {
        let policy = &parent.authority.policy;
        let change = [change()];
        let Ok(asked) = coverage::asked(
            policy,
            change.iter().map(|change| change.path.as_str()),
            &[],
        ) else {
            return;
        };
        let patient = patient(policy);
        let mut found = Vec::new();
        for (key, tags) in &revoked.waiting {
            let signatures = self.revoking_signatures(revoked, at, tags);
            if !signatures.is_empty() && coverage::judge(&patient, &asked, &signatures).is_met() {
                found.push((key.clone(), since(&patient, &asked, signatures)));
            }
        }
        for (key, since) in found {
            revoked.waiting.remove(&key);
            revoked.tags.insert(key, since);
        }
    }

    /// Returns the keys of the policy with `revoke/` tags that don't have enough signatures yet.
    pub(super) fn begun(&self, parent: &Parent, at: Option<usize>) -> Vec<RevocationBegun> {
        let authority = &parent.authority;
        let change = [change()];
        let Ok(asked) = coverage::asked(
            &authority.policy,
            change.iter().map(|change| change.path.as_str()),
            &[],
        ) else {
            return Vec::new();
        };
        let patient = patient(&authority.policy);
        let ours = self
            .revoked
            .waiting
            .iter()
            .filter(|(key, _)| authority.ring.has(key));
        ours.filter_map(|(key, tags)| {
            let signatures = self.revoking_signatures(&self.revoked, at, tags);
            if signatures.is_empty() {
                return None;
            }
            let lacking = coverage::judge(&patient, &asked, &signatures).reasons;
            Some(RevocationBegun {
                key: key.clone(),
                signers: coverage::signers(authority, &signatures),
                missing: lacking
                    .into_iter()
                    .flat_map(|reason| reason.missing)
                    .collect(),
            })
        })
        .collect()
    }

    /// Returns the counted signatures of the tags whose target is an accepted commit.
    fn revoking_signatures(
        &self,
        revoked: &Revoked,
        at: Option<usize>,
        tags: &[Waiting],
    ) -> Vec<CountedSignature> {
        let accepted = |target: &Oid| match (self.chain.position(target), at) {
            (Some(position), Some(at)) => position <= at,
            (Some(_), None) => false,
            (None, _) => {
                self.chain.is_at_or_below_floor(self.objects, target)
                    || revoked.left.contains(target)
            }
        };
        tags.iter()
            .filter(|tag| accepted(&tag.target))
            .map(|tag| tag.signature.clone())
            .collect()
    }

    /// Returns the identities that have a key of the policy that is usable now and isn't revoked.
    pub(super) fn able(&self, authority: &Authority) -> BTreeSet<IdentityIndex> {
        let revoked = |key| self.revoked.by(authority, key).is_some();
        authority.able(self.inputs.now, revoked)
    }

    /// Returns a tag's signature if it counts under a policy. Doesn't check that the tag's target is
    /// accepted.
    fn revoking_signature(
        &self,
        authority: &Authority,
        parsed: &Tag<'_>,
    ) -> Option<CountedSignature> {
        let finding = self.examine_tag(authority, parsed)?.for_revoking();
        // A tag by a revoked key still counts here. If two keys revoke each other, only their own claims tell
        // which tag is older. And nobody may get authority back because somebody else loses it.
        let by = By::Tag(parsed.name.to_owned());
        let authorized =
            self.authorize(authority, &Revoked::default(), finding, Bounds::none(), by);
        authorized.ok()
    }
}

/// Returns the change whose needs a revocation must meet: a change of the whole folder `trust`.
fn change() -> Change {
    Change {
        path: TRUST_PATH.to_owned(),
        after: None,
    }
}

/// Returns a copy of the policy without limits on the age and binding of signatures.
fn patient(policy: &Policy) -> Policy {
    let mut patient = policy.clone();
    patient.approvals_max_age = crate::policy::Seconds(i64::MAX / 4);
    patient.bind_ref = crate::policy::BindRef::None;
    patient
}

/// Returns the time since which there have been enough signatures. Uses each identity's oldest signature, in
/// order of time.
fn since(policy: &Policy, asked: &Asked<'_>, mut signatures: Vec<CountedSignature>) -> i64 {
    signatures.sort_by_key(|signature| signature.seconds);
    let mut seen = BTreeSet::new();
    signatures.retain(|signature| seen.insert(signature.identity));
    let enough = (1..=signatures.len())
        .find(|count| coverage::judge(policy, asked, &signatures[..*count]).is_met());
    let last = enough.and_then(|count| signatures.get(count.checked_sub(1)?));
    last.or(signatures.last())
        .map_or(0, |signature| signature.seconds)
}
