//! Tells whether a key of a policy can sign at a time, why not, and until when.

use jiff::Timestamp;

use super::{Authority, Unusable};
use crate::key_name::KeyName;

impl Authority {
    /// Returns the reason why a key of the policy can't make a signature that counts at a time. Returns
    /// `None` if it can, or if the policy doesn't have the key.
    pub fn unusable(&self, name: &KeyName, when: Timestamp) -> Option<Unusable> {
        self.ring
            .usable(self.ring.index_of(name)?, when.as_second())
            .err()
    }

    /// Returns the first time after `after` from which on a key can't sign any more. Returns `None` if no
    /// such time is known, if the key can't sign at `after`, or if the policy doesn't have the key.
    pub fn end_of(&self, name: &KeyName, after: Timestamp) -> Option<Timestamp> {
        let index = self.ring.index_of(name)?;
        let from = after.as_second();
        self.ring.usable(index, from).ok()?;
        let key = self.ring.get(index)?;
        let moments = key.moments.iter().copied().chain(key.valid_before);
        let mut ends: Vec<i64> = moments.filter(|moment| *moment > from).collect();
        ends.sort_unstable();
        let ended = |moment: &i64| self.ring.usable(index, *moment).is_err();
        Timestamp::from_second(ends.into_iter().find(ended)?).ok()
    }

    /// True if `part` is the fingerprint of the policy's key `key`, of one of its subkeys, or of another
    /// format of either. Revoking a subkey revokes the key.
    pub fn is_part_of(&self, part: &KeyName, key: &KeyName) -> bool {
        self.ring
            .index_of(key)
            .is_some_and(|key| self.ring.is_part_of(part, key))
    }
}
