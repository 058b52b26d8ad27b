//! Records the keys that approved accepted commits, for an alarm if one of them turns out to be revoked.

use std::collections::HashMap;

use crate::key_name::KeyName;
use crate::oid::Oid;
use crate::outcome::Outcome;
use crate::policy::Authority;
use crate::reason::{Reason, ReasonCode};

use super::coverage::CountedSignature;
use super::revocation::Revoked;

#[derive(Default)]
pub(super) struct History {
    /// For each key, the first accepted commit that it approved, and the number of such commits.
    used: HashMap<KeyName, (Oid, usize)>,
}

impl History {
    pub(super) fn note(
        &mut self,
        authority: &Authority,
        commit: Oid,
        signatures: &[CountedSignature],
    ) {
        for key in signatures
            .iter()
            .filter_map(|signature| authority.ring.get(signature.key))
        {
            if let Some((_, count)) = self.used.get_mut(&key.name) {
                *count += 1;
            } else {
                self.used.insert(key.name.clone(), (commit, 1));
            }
        }
    }

    /// Adds an alarm for each key that approved accepted commits and is revoked at the end of the chain. Soft
    /// revocations don't count.
    pub(super) fn judge(&self, revoked: &Revoked, outcome: &mut Outcome) {
        let mut found: Vec<_> = self
            .used
            .iter()
            .filter(|(key, _)| revoked.by_name(key).is_some())
            .collect();
        found.sort();
        for (key, (first, count)) in found {
            let message = format!(
                "the revoked key {key} approved {count} accepted commits from {} on; look at what they changed",
                first.short()
            );
            outcome
                .reasons
                .push(Reason::new(ReasonCode::HistoryRevoked, message));
        }
    }
}
