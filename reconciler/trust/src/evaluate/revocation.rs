//! Authority that is taken away: by this machine's configuration, by `revoke/` tags, by certificates.

use std::collections::{BTreeMap, BTreeSet};

use sequoia_openpgp::types::RevocationStatus;

use super::coverage::{self, Scope, Voice};
use super::{Evaluation, Parent, approvals};
use crate::diff::Change;
use crate::object::{ObjectKind, limits};
use crate::oid::Oid;
use crate::outcome::By;
use crate::policy::{Authority, TRUST_PATH};
use crate::signature::{KeyName, examine};

/// The keys that have no authority left.
#[derive(Default)]
pub(super) struct Revoked {
    local: BTreeSet<KeyName>,
    tags: BTreeSet<KeyName>,
    /// Hard revocations of certificates that were in an accepted policy, so that dropping a
    /// certificate and adding it again without its revocation gains nothing.
    certificates: BTreeSet<KeyName>,
    /// Tags that don't take anything away yet, by the key that they name.
    waiting: BTreeMap<String, Vec<Waiting>>,
}

struct Waiting {
    tag: Oid,
    name: String,
    target: Oid,
}

impl Revoked {
    /// Who took away the authority of a key of an authority's ring, if somebody did.
    pub(super) fn by(&self, authority: &Authority, key: usize) -> Option<&'static str> {
        let hit = |set: &BTreeSet<KeyName>| {
            !set.is_empty() && set.iter().any(|name| authority.ring.is_part_of(name, key))
        };
        if hit(&self.local) {
            return Some("by this machine's configuration");
        }
        if hit(&self.tags) {
            return Some("by a revoke/ tag");
        }
        hit(&self.certificates).then_some("by its certificate in an earlier policy")
    }

    pub(super) fn by_tags(&self) -> impl Iterator<Item = &KeyName> {
        self.tags.iter()
    }

    pub(super) fn hard(&self, key: &KeyName) -> bool {
        self.local.contains(key) || self.tags.contains(key) || self.certificates.contains(key)
    }

    /// Remembers the hard revocations of an accepted policy's certificates.
    pub(super) fn remember(&mut self, authority: &Authority) {
        for key in authority.ring.keys() {
            // At the beginning of time only hard revocations count.
            let hard = key.cert().is_some_and(|cert| {
                matches!(
                    cert.revocation_status(authority.ring.standard(), std::time::UNIX_EPOCH),
                    RevocationStatus::Revoked(_)
                )
            });
            if hard {
                self.certificates.insert(key.name.clone());
            }
        }
    }
}

impl Evaluation<'_> {
    /// What is taken away as of the floor.
    pub(super) fn revocations(&self, floor: &Parent) -> Revoked {
        let mut revoked = Revoked::default();
        if let Some(local) = self.inputs.revoked {
            revoked.local.extend(local.iter().cloned());
        }
        for tag in self.inputs.tags.iter().take(limits::TAGS) {
            let Some(rest) = tag.name.strip_prefix("refs/tags/revoke/") else {
                continue;
            };
            let hex = rest
                .split('/')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            let Ok(raw) = self.objects.read(&tag.target, ObjectKind::Tag, limits::TAG) else {
                continue;
            };
            let Ok(parsed) = approvals::parse(&raw, &tag.target, &tag.name) else {
                continue;
            };
            let waiting = Waiting {
                tag: tag.target,
                name: tag.name.clone(),
                target: parsed.target,
            };
            revoked.waiting.entry(hex).or_default().push(waiting);
        }
        revoked.remember(&floor.authority);
        self.revoke(&mut revoked, floor, None);
        revoked
    }

    /// Whether a revoke tag waits for this commit, or may count under another policy.
    pub(super) fn revoke_after(&mut self, parent: &Parent, at: usize, policy_changed: bool) {
        let waits = self
            .revoked
            .waiting
            .values()
            .flatten()
            .any(|w| policy_changed || w.target == parent.id);
        if waits {
            let mut revoked = std::mem::take(&mut self.revoked);
            self.revoke(&mut revoked, parent, Some(at));
            self.revoked = revoked;
        }
    }

    /// Lets those tags count that stand on an accepted commit and together meet what a change of
    /// `trust/` needs. They are judged without each other, so that their order means nothing, and
    /// without an age: they only take away.
    fn revoke(&self, revoked: &mut Revoked, parent: &Parent, at: Option<usize>) {
        let policy = &parent.authority.policy;
        let change = [Change {
            path: TRUST_PATH.to_owned(),
            after: None,
        }];
        let Ok(demands) = coverage::demands(policy, &change) else {
            return;
        };
        let mut patient = policy.clone();
        patient.approvals_max_age = crate::policy::Seconds(i64::MAX / 4);
        patient.bind_ref = crate::policy::BindRef::None;
        let mut found = Vec::new();
        for (hex, tags) in &revoked.waiting {
            let Ok(key) = KeyName::from_hex(hex) else {
                continue;
            };
            let voices: Vec<Voice> = tags
                .iter()
                .filter_map(|tag| self.revoking_voice(revoked, parent, at, tag))
                .collect();
            if !voices.is_empty() && coverage::judge(&patient, &demands, &voices).is_met() {
                found.push((hex.clone(), key));
            }
        }
        for (hex, key) in found {
            revoked.waiting.remove(&hex);
            revoked.tags.insert(key);
        }
    }

    fn revoking_voice(
        &self,
        revoked: &Revoked,
        parent: &Parent,
        at: Option<usize>,
        tag: &Waiting,
    ) -> Option<Voice> {
        let accepted = match (self.chain.position(&tag.target), at) {
            (Some(position), Some(at)) => position <= at,
            (Some(_), None) => false,
            (None, _) => self.chain.is_at_or_below_floor(self.objects, &tag.target),
        };
        if !accepted {
            return None;
        }
        let authority = &parent.authority;
        let raw = self
            .objects
            .read(&tag.tag, ObjectKind::Tag, limits::TAG)
            .ok()?;
        let parsed = approvals::parse(&raw, &tag.tag, &tag.name).ok()?;
        let finding = examine(
            &authority.ring,
            parsed.payload(),
            parsed.signature?,
            parsed.tagger.seconds,
        );
        let only_local = Revoked {
            local: revoked.local.clone(),
            ..Revoked::default()
        };
        let (key, seconds) = self
            .weigh(authority, &only_local, finding, None, None)
            .ok()?;
        let identity = authority.ring.get(key)?.identity;
        Some(Voice {
            identity,
            key,
            seconds,
            by: By::Tag(tag.name.clone()),
            scope: Scope::All,
            binds: true,
        })
    }
}
