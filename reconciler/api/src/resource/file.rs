//! `file`: a regular file.

use serde::{Deserialize, Serialize};

use super::field::{Content, FileType, Manage, Mode, Presence, Principal};
use super::{
    Dependency, LIFELINE_PATHS, Owners, PackageSpec, Problem, Resource, UnitSpec, check_path,
    differs, lies_in, parents, principals,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A regular file; its name is its absolute path.
///
/// The agent writes a temporary file in the same directory, syncs it and renames it. It refuses to replace a
/// file that has more than one hard link, anything but a regular file, or what `chattr` made immutable or
/// append-only.
///
/// A write keeps what it doesn't manage: ACLs, extended attributes, capabilities, security labels and file
/// attributes; the original has them too. With an ACL, `mode` is about the owning group's own rights, and not
/// about the mask that `stat` shows in their place. The set-user-id and set-group-id bits of the old bytes aren't
/// given to new ones unless `mode` lists them; the plan says so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The bytes; unmanaged when left out (a missing file is then made empty).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The owning user; a new file's is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group; a new file's is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits; a new file's are `0644`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// A program and its arguments that must accept the candidate before it is put in place; one of them is
    /// `%s`, the candidate's path: `[visudo, -cf, "%s"]`. No shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<String>,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a file's path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The content of a regular file, if the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The owner, in the spec's form: a name, or a number if the spec has one or no name is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The group, in the spec's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl Resource for FileSpec {
    type Observed = FileObserved;

    const EXAMPLE: &'static str = r#"file:
  /etc/motd: {content: "Kept by plumb.\n", mode: "0644"}
  /etc/app.conf:
    content: {template: "listen {{ host.name }}\n"}
    owner: root
    group: root
    mode: "0640"
"#;

    const UNSUPPORTED: &'static [&'static str] = &["backup"];

    const RANK: u8 = 45;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn input_key(name: &str) -> Option<String> {
        UnitSpec::key_of_path(name).or_else(|| PackageSpec::key_of_path(name))
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.wants_absent() && (self.content.is_some() || !self.validate.is_empty()) {
            problems.push(Problem {
                field: "state",
                message: "an absent file can't have content".to_owned(),
                hint: "remove `content` and `validate`, or remove `state: absent`".to_owned(),
            });
        }
        if !self.validate.is_empty() && !self.validate.iter().skip(1).any(|word| word == "%s") {
            problems.push(Problem {
                field: "validate",
                message: "`validate` has no argument for the new content's path".to_owned(),
                hint: "add the argument \"%s\", as in [visudo, -cf, \"%s\"]".to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &FileObserved) -> Vec<FieldChange> {
        let desired = if self.wants_absent() {
            FileType::Absent
        } else {
            FileType::File
        };
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "state",
            Some(&desired),
            Some(&observed.file_type),
        );
        if desired == FileType::File {
            differs(
                &mut changes,
                "content",
                self.content.as_ref(),
                observed.content.as_ref(),
            );
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

    fn exists(observed: &FileObserved) -> bool {
        observed.file_type != FileType::Absent
    }

    fn replaces(&self, observed: &FileObserved) -> bool {
        !self.wants_absent() && !matches!(observed.file_type, FileType::Absent | FileType::File)
    }

    fn lifeline(name: &str) -> bool {
        lies_in(name, LIFELINE_PATHS)
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

    fn contents(&self) -> Vec<Content> {
        self.content.into_iter().collect()
    }
}
