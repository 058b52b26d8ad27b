//! Values that a host shows in another form than the one in which Plumb wrote them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::FieldChange;

/// A value that was written, and the form in which the host shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// The desired value.
    pub wanted: Value,
    /// The value that was read right after the write.
    pub found: Value,
}

/// The read-back values of a resource, by field. A field is as desired while the host shows its read-back
/// value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReadBacks(BTreeMap<String, ReadBack>);

impl ReadBacks {
    /// Creates the read-back values of the fields that still differ right after Plumb wrote them.
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a FieldChange>) -> Self {
        let pair = |change: &FieldChange| {
            let back = ReadBack {
                wanted: change.to.clone()?,
                found: change.from.clone()?,
            };
            Some((change.field.clone(), back))
        };
        Self(changes.into_iter().filter_map(pair).collect())
    }

    /// True if no field reads back in another form.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the values of `newer`, which replace older ones.
    pub fn extend(&mut self, newer: Self) {
        self.0.extend(newer.0);
    }

    /// True if the host shows the form that it gave the desired value when Plumb wrote it.
    fn explains(&self, change: &FieldChange) -> bool {
        self.0.get(&change.field).is_some_and(|back| {
            change.to.as_ref() == Some(&back.wanted) && change.from.as_ref() == Some(&back.found)
        })
    }

    /// Returns the changes without those of fields that differ only in form.
    pub fn unexplained(&self, mut changes: Vec<FieldChange>) -> Vec<FieldChange> {
        changes.retain(|change| !self.explains(change));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_desired_or_found_value_is_a_difference_again() {
        let written = FieldChange::new("running", "8080-8081,8443", "8443,8080,8081");
        let backs = ReadBacks::of([&written]);
        assert!(backs.unexplained(vec![written.clone()]).is_empty());
        let drifted = FieldChange::new("running", "9000", "8443,8080,8081");
        assert_eq!(backs.unexplained(vec![drifted.clone()]), [drifted]);
        let wanted = FieldChange::new("running", "8080-8081,8443", "1-2");
        assert_eq!(backs.unexplained(vec![wanted.clone()]), [wanted]);
        let field = FieldChange::new("persisted", "8080-8081,8443", "8443,8080,8081");
        assert_eq!(backs.unexplained(vec![field.clone()]), [field]);
    }
}
