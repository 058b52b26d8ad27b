//! Sets of identities, for comparing groups.

use super::IdentityIndex;

/// A set of identities of one policy: one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdentitySet(Vec<u64>);

impl IdentitySet {
    /// Makes a set of `members`, out of `total` identities.
    pub(super) fn new(total: usize, members: impl IntoIterator<Item = IdentityIndex>) -> Self {
        let mut words = vec![0; total.div_ceil(64)];
        for member in members {
            if let Some(word) = words.get_mut(member / 64) {
                *word |= 1 << (member % 64);
            }
        }
        Self(words)
    }

    /// True if every member of this set is one of the other.
    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, of)| own & !of == 0)
    }

    /// Removes the members that aren't in the other set.
    pub(super) fn intersect(&mut self, other: &Self) {
        for (own, of) in self.0.iter_mut().zip(&other.0) {
            *own &= of;
        }
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns the members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = IdentityIndex> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| at * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::IdentitySet;

    #[test]
    fn members_across_words() {
        let mut all = IdentitySet::new(130, [0, 63, 64, 129, 500]);
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let some = IdentitySet::new(130, [63, 129]);
        assert!(some.is_subset(&all) && !all.is_subset(&some));
        all.intersect(&some);
        assert!(all == some && all.len() == 2);
    }
}
