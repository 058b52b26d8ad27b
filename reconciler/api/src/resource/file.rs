//! `file`: a regular file.

use serde::{Deserialize, Serialize};

use super::field::{Content, FileType, Manage, Mode, Presence, Principal};
use super::unit_text::{FSTAB, FSTAB_KEY};
use super::{
    Dependency, LIFELINE_PATHS, Logins, NETWORK_PATHS, Owners, PackageSpec, Problem, Resource,
    Strength, UnitSpec, check_path, differs, lies_in, parents, principals,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A regular file. The name is its absolute path.
///
/// The agent writes a temporary file in the same directory, syncs it, and renames it to the final name. It
/// refuses to replace a file with more than one hard link, a file that `chattr` made immutable or
/// append-only, and anything that isn't a regular file.
///
/// A write keeps ACLs, extended attributes, capabilities, security labels and file attributes. The stored
/// original has them too. On a file with an ACL, the group bits of `mode` are the rights of the owning group,
/// and not the ACL mask that `stat` shows in their place. New content loses the set-user-id and set-group-id
/// bits of the old file unless `mode` has them; the plan says so.
///
/// A template may have `{{ secret('NAME/KEY') }}`: a placeholder that only the host fills. Such a file has mode
/// `0600` unless the manifest says otherwise, and others must not be able to read it.
///
/// With `block: true`, Plumb manages only the lines between `# BEGIN plumb` and `# END plumb`. All other bytes
/// of the file stay as they are, whoever changes them. A file without these marks gets them at its end. When
/// the resource leaves git, the block is taken out, and the file too if Plumb made it and nothing else is in
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The content. When left out, an existing file keeps its content, and a missing file is created empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The secrets and private keys whose placeholders the content has. Plumb fills this in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Address>,
    /// `true`: the content is a block in the file, between two marks, and the rest of the file belongs to
    /// others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
    /// With `block`, what to do where the file doesn't exist: `create` (default) it, or `skip` the block.
    #[serde(default, skip_serializing_if = "IfMissing::is_create")]
    pub if_missing: IfMissing,
    /// The owning user. When left out, a new file belongs to root, and an existing one keeps its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Principal>,
    /// The owning group. When left out, a new file belongs to the group root, and an existing one keeps its
    /// group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Principal>,
    /// The permission bits. When left out, a new file gets `0644`, and an existing one keeps its bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// A program with its arguments that must accept the new content before it replaces the file: `[visudo,
    /// -cf, "%s"]`. One argument must be `%s`, which stands for the path of a file with the new content. No
    /// shell interprets the arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validate: Vec<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// What to do where a file doesn't exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum IfMissing {
    /// The file is created.
    #[default]
    Create,
    /// Nothing is done.
    Skip,
}

impl IfMissing {
    /// True if this is the default, which the canonical form omits.
    pub fn is_create(&self) -> bool {
        *self == Self::Create
    }
}

/// The observed state of a file's path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The content of a regular file, or of the block in it, if the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// True if a block of the file was observed, and not the whole file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
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

impl FileSpec {
    /// Compares a block. An absent one is one that the file doesn't have; the file itself may stay.
    fn compare_block(&self, observed: &FileObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let is_missing = observed.file_type == FileType::Absent;
        if is_missing && (self.wants_absent() || self.if_missing == IfMissing::Skip) {
            return changes;
        }
        if self.wants_absent() {
            if observed.content.is_some() {
                changes.push(FieldChange::new("state", "present", "absent"));
            }
        } else {
            differs(
                &mut changes,
                "state",
                Some(&FileType::File),
                Some(&observed.file_type),
            );
            differs(
                &mut changes,
                "content",
                self.content.as_ref(),
                observed.content.as_ref(),
            );
        }
        self.compare_rights(observed, &mut changes);
        changes
    }

    fn compare_rights(&self, observed: &FileObserved, changes: &mut Vec<FieldChange>) {
        differs(
            changes,
            "owner",
            self.owner.as_ref(),
            observed.owner.as_ref(),
        );
        differs(
            changes,
            "group",
            self.group.as_ref(),
            observed.group.as_ref(),
        );
        differs(changes, "mode", self.mode.as_ref(), observed.mode.as_ref());
    }
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
  /etc/services: {content: "plumb-demo 8123/tcp\n", block: true}
"#;

    const UNSUPPORTED: &'static [&'static str] = &["backup"];

    const FILLS_SECRETS: bool = true;

    const RANK: u8 = 45;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn input_key(name: &str) -> Option<String> {
        UnitSpec::key_of_path(name)
            .or_else(|| PackageSpec::key_of_path(name))
            .or_else(|| (name == FSTAB).then(|| FSTAB_KEY.to_owned()))
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
        if self.block && self.content.is_none() {
            problems.push(Problem {
                field: "block",
                message: "a block needs `content`".to_owned(),
                hint: "add `content`; to take a block out, remove the resource".to_owned(),
            });
        }
        if !self.block && self.if_missing == IfMissing::Skip {
            problems.push(Problem {
                field: "ifMissing",
                message: "`ifMissing` is for a block".to_owned(),
                hint: "add `block: true`, or remove `ifMissing`".to_owned(),
            });
        }
        if !self.secrets.is_empty() && self.block {
            problems.push(Problem {
                field: "block",
                message: "a block can't have a secret: others read the file".to_owned(),
                hint: "write the secret into a file of its own".to_owned(),
            });
        }
        if !self.secrets.is_empty() && self.mode.is_some_and(|mode| mode.bits() & 0o007 != 0) {
            problems.push(Problem {
                field: "mode",
                message: "the file has a secret, and its mode lets others read it".to_owned(),
                hint: "remove `mode`, or give it to a group: {group: app, mode: \"0640\"}"
                    .to_owned(),
            });
        }
        problems
    }

    fn compare(&self, observed: &FileObserved) -> Vec<FieldChange> {
        if self.block {
            return self.compare_block(observed);
        }
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
            self.compare_rights(observed, &mut changes);
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        let mut all = parents(name);
        all.extend(principals(self.owners()));
        all.extend(self.secrets.iter().map(|address| Dependency {
            address: address.clone(),
            strength: Strength::Explicit,
        }));
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

    fn cuts_off(name: &str, logins: &Logins) -> bool {
        lies_in(name, LIFELINE_PATHS) || lies_in(name, NETWORK_PATHS) || logins.need(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_compared_alone_and_may_skip_a_missing_file() {
        let mut spec = FileSpec {
            content: Some(Content::of(b"one\n")),
            block: true,
            ..FileSpec::default()
        };
        let fields = |spec: &FileSpec, observed: &FileObserved| -> Vec<String> {
            let changes = spec.compare(observed);
            changes.into_iter().map(|change| change.field).collect()
        };
        let missing = FileObserved::default();
        let mut found = FileObserved {
            file_type: FileType::File,
            block: true,
            ..FileObserved::default()
        };
        assert_eq!(fields(&spec, &missing), ["state", "content"]);
        assert_eq!(fields(&spec, &found), ["content"]);
        spec.if_missing = IfMissing::Skip;
        assert!(fields(&spec, &missing).is_empty());
        found.content = spec.content;
        assert!(fields(&spec, &found).is_empty());
        let absent = FileSpec {
            state: Presence::Absent,
            block: true,
            ..FileSpec::default()
        };
        assert_eq!(fields(&absent, &found), ["state"]);
        found.content = None;
        assert!(
            fields(&absent, &found).is_empty(),
            "the rest of the file stays"
        );
    }
}
