//! Folders whose files come from elsewhere: what `archive` and `git` have in common.

use serde::{Deserialize, Serialize};

use super::differs;
use super::field::{FileType, Presence, Principal};
use crate::plan::FieldChange;

/// The observed state of a folder with the files of an archive or a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TreeObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The source of the files that Plumb put there: the digest of an archive, or a commit. `None` if Plumb
    /// put none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The number of leading folders that were left out of the archive's names.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub strip: u8,
    /// The owner of the files, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The group of the files, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The files that are missing, or aren't as Plumb put them there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// True for the default of `strip`, which the canonical form omits.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn is_zero(strip: &u8) -> bool {
    *strip == 0
}

/// Maximum number of changed files that a difference names.
const MAX_NAMES: usize = 5;

impl TreeObserved {
    /// True if the files are there, complete or not.
    pub(super) fn exists(&self) -> bool {
        self.source.is_some()
    }

    /// Returns the difference in `state`, the only one if the files are to be absent or aren't there.
    pub(super) fn state_change(&self, desired: Presence) -> Option<FieldChange> {
        let is_there = self.exists() && self.file_type == FileType::Directory;
        let found = match desired {
            Presence::Present if is_there => return None,
            Presence::Absent if !self.exists() => return None,
            Presence::Present => Presence::Absent,
            Presence::Absent => Presence::Present,
        };
        Some(FieldChange::of("state", Some(&found), Some(&desired)))
    }

    /// Adds the differences in owner and group, and the files that aren't as they were put there.
    pub(super) fn file_changes(
        &self,
        owner: Option<&Principal>,
        group: Option<&Principal>,
        changes: &mut Vec<FieldChange>,
    ) {
        differs(changes, "owner", owner, self.owner.as_ref());
        differs(changes, "group", group, self.group.as_ref());
        if self.changed.is_empty() {
            return;
        }
        let mut names = self.changed[..self.changed.len().min(MAX_NAMES)].join(", ");
        if self.changed.len() > MAX_NAMES {
            names.push_str(", …");
        }
        changes.push(FieldChange::new("files", &names, "as in the source"));
    }
}
