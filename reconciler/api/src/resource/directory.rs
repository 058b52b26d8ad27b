//! `directory`: a directory, without its contents.

use serde::{Deserialize, Serialize};

use super::field::{FileType, Manage, Mode, Presence, Principal};
use super::{
    Dependency, LIFELINE_PATHS, Logins, Owners, Resource, check_path, differs, lies_in, parents,
    principals,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A directory. The name is its absolute path. Missing parent directories are created with `root:root 0755`.
///
/// `state: absent` removes the directory if it is empty, and fails otherwise, because the entries may
/// belong to others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectorySpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The owning user. When left out, a new directory belongs to root, and an existing one keeps its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group. When left out, a new directory belongs to the group root, and an existing one keeps
    /// its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits. When left out, a new directory gets `0755`, and an existing one keeps its bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a directory's path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectoryObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The owner, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The group, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl Resource for DirectorySpec {
    type Observed = DirectoryObserved;

    const EXAMPLE: &'static str = r#"directory:
  /srv/app: {owner: root, group: root, mode: "0750"}
"#;

    const UNSUPPORTED: &'static [&'static str] = &["recurse", "purge"];

    const RANK: u8 = 40;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn compare(&self, observed: &DirectoryObserved) -> Vec<FieldChange> {
        let desired = if self.wants_absent() {
            FileType::Absent
        } else {
            FileType::Directory
        };
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "state",
            Some(&desired),
            Some(&observed.file_type),
        );
        if desired == FileType::Directory {
            differs(
                &mut changes,
                "owner",
                self.owner.as_ref(),
                observed.owner.as_ref(),
            );
            differs(
                &mut changes,
                "group",
                self.group.as_ref(),
                observed.group.as_ref(),
            );
            differs(
                &mut changes,
                "mode",
                self.mode.as_ref(),
                observed.mode.as_ref(),
            );
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        let mut all = parents(name);
        all.extend(principals(self.owners()));
        all
    }

    fn exists(observed: &DirectoryObserved) -> bool {
        observed.file_type != FileType::Absent
    }

    fn replaces(&self, observed: &DirectoryObserved) -> bool {
        !self.wants_absent()
            && !matches!(observed.file_type, FileType::Absent | FileType::Directory)
    }

    fn lifeline(name: &str) -> bool {
        lies_in(name, LIFELINE_PATHS)
    }

    fn cuts_off(name: &str, logins: &Logins) -> bool {
        lies_in(name, LIFELINE_PATHS) || logins.need(name)
    }

    fn wants_absent(&self) -> bool {
        self.state == Presence::Absent
    }

    fn owners(&self) -> Owners<'_> {
        Owners {
            user: self.owner.as_ref(),
            group: self.group.as_ref(),
        }
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
