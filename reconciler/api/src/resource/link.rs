//! `link`: a symbolic link.

use serde::{Deserialize, Serialize};

use super::field::{FileType, Manage, Presence};
use super::{
    Dependency, LIFELINE_PATHS, Logins, Problem, Resource, UnitSpec, check_path, differs, lies_in,
    parents,
};
use crate::name::Address;
use crate::plan::FieldChange;

/// A symbolic link. The name is the absolute path of the link itself. The target doesn't have to exist.
///
/// Plumb replaces only links: if a file or a directory is at the path, the change fails. Resources whose
/// paths lead through the link are changed after it. If git drops such a resource, it is removed before the
/// link gets another target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The target as it is written in the link: absolute, or relative to the folder of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a link's path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Resource for LinkSpec {
    type Observed = LinkObserved;

    const EXAMPLE: &'static str = r"link:
  /etc/localtime: {target: /usr/share/zoneinfo/Europe/London}
";

    const VALUE_FIELD: Option<&'static str> = Some("target");

    const RANK: u8 = 45;

    fn check_name(name: &str) -> Result<(), String> {
        check_path(name)
    }

    fn path(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn input_key(name: &str) -> Option<String> {
        UnitSpec::key_of_path(name)
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let target_ok = self.target.as_ref().is_none_or(|target| {
            !target.is_empty() && target.len() <= 4095 && !target.contains(char::is_control)
        });
        if !target_ok {
            return vec![Problem {
                field: "target",
                message: "the link's target is invalid".to_owned(),
                hint: "write a path of 1 to 4095 bytes".to_owned(),
            }];
        }
        if self.wants_absent() == self.target.is_some() {
            return vec![Problem {
                field: "target",
                message: "a link needs a `target`, unless it is absent".to_owned(),
                hint: "write `target: /where/it/points`, or `state: absent` alone".to_owned(),
            }];
        }
        Vec::new()
    }

    fn compare(&self, observed: &LinkObserved) -> Vec<FieldChange> {
        let desired = if self.wants_absent() {
            FileType::Absent
        } else {
            FileType::Link
        };
        let mut changes = Vec::new();
        differs(
            &mut changes,
            "state",
            Some(&desired),
            Some(&observed.file_type),
        );
        if desired == FileType::Link {
            differs(
                &mut changes,
                "target",
                self.target.as_ref(),
                observed.target.as_ref(),
            );
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        parents(name)
    }

    fn exists(observed: &LinkObserved) -> bool {
        observed.file_type != FileType::Absent
    }

    fn replaces(&self, observed: &LinkObserved) -> bool {
        !self.wants_absent() && !matches!(observed.file_type, FileType::Absent | FileType::Link)
    }

    fn invalidates(&self) -> bool {
        true
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

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn manage(&self) -> Manage {
        self.manage
    }
}
