//! `unit`: a systemd unit file or a drop-in.

use serde::{Deserialize, Serialize};

use super::field::{Content, FileType, Manage, Presence};
use super::{Kind, Problem, Resource, differs};
use crate::name::Address;
use crate::plan::FieldChange;

/// A unit file (`nginx.service`) or a drop-in (`nginx.service.d/limits.conf`) in `/etc/systemd/system`,
/// `root:root 0644`. systemd is reloaded once per batch. A `service` decides if the unit runs and is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The unit's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// `override` (default) or `refuse`: overrides a package's unit file of the same name, or refuses to.
    #[serde(default, skip_serializing_if = "VendorUnit::is_override")]
    pub vendor_unit: VendorUnit,
    /// Comes after these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default) or `once`.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The handling of a package's unit with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum VendorUnit {
    /// The unit file overrides it.
    #[default]
    Override,
    /// Its presence is an error.
    Refuse,
}

impl VendorUnit {
    /// True if this is the default; it is left out of the canonical form.
    pub fn is_override(&self) -> bool {
        *self == Self::Override
    }
}

/// The observed state of a unit file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// True if the file was changed after systemd read it (`NeedDaemonReload`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_reload: bool,
}

/// The endings of units that can have a file.
const SUFFIXES: [&str; 9] = [
    ".service",
    ".socket",
    ".timer",
    ".path",
    ".target",
    ".mount",
    ".automount",
    ".slice",
    ".swap",
];

/// True if this is a systemd unit's name (systemd.unit(5)).
pub(super) fn is_unit_name(name: &str) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    name.len() <= 255
        && stem.is_some_and(|stem| {
            !stem.is_empty()
                && !stem.starts_with('.')
                && stem
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
        })
}

/// Returns the unit that a unit file or drop-in belongs to.
fn unit_of(name: &str) -> &str {
    name.split_once(".d/").map_or(name, |(unit, _)| unit)
}

impl UnitSpec {
    /// The folder of the administrator's units.
    pub const FOLDER: &'static str = "/etc/systemd/system";

    /// The folders of packages' units.
    pub const VENDOR_FOLDERS: [&'static str; 2] =
        ["/usr/lib/systemd/system", "/lib/systemd/system"];

    /// Returns the path of a unit file, a drop-in or an enablement link.
    pub fn path_in_folder(name: &str) -> String {
        format!("{}/{name}", Self::FOLDER)
    }
}

impl Resource for UnitSpec {
    type Observed = UnitObserved;

    const RANK: u8 = 60;

    fn check_name(name: &str) -> Result<(), String> {
        let good = match name.split_once(".d/") {
            None => is_unit_name(name),
            Some((unit, drop_in)) => {
                is_unit_name(unit)
                    && drop_in.strip_suffix(".conf").is_some_and(|stem| {
                        !stem.is_empty()
                            && !stem.starts_with('.')
                            && stem
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b))
                    })
            }
        };
        if good {
            Ok(())
        } else {
            Err(
                "name a unit like nginx.service, a drop-in like nginx.service.d/limits.conf"
                    .to_owned(),
            )
        }
    }

    fn path(name: &str) -> Option<String> {
        Some(Self::path_in_folder(name))
    }

    fn unit(&self, name: &str) -> Option<String> {
        Some(unit_of(name).to_owned())
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        if self.wants_absent() == self.content.is_some() {
            return vec![Problem {
                field: "content",
                message: "a unit needs `content`, unless it is absent".to_owned(),
                hint:
                    "write the unit's text, or `state: absent` alone; use a `service` to start it"
                        .to_owned(),
            }];
        }
        Vec::new()
    }

    fn compare(&self, observed: &UnitObserved) -> Vec<FieldChange> {
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
        }
        if observed.needs_reload {
            changes.push(FieldChange::new("loaded", "outdated", "current"));
        }
        changes
    }

    fn dependents(name: &str) -> Vec<Address> {
        let unit = unit_of(name);
        let service = unit.strip_suffix(".service").unwrap_or(unit);
        Address::new(Kind::Service, service).into_iter().collect()
    }

    fn exists(observed: &UnitObserved) -> bool {
        observed.file_type != FileType::Absent
    }

    fn replaces(&self, observed: &UnitObserved) -> bool {
        !self.wants_absent() && !matches!(observed.file_type, FileType::Absent | FileType::File)
    }

    fn lifeline(name: &str) -> bool {
        Self::dependents(name)
            .iter()
            .any(|service| service.kind().is_lifeline(service.name()))
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

    fn contents(&self) -> Vec<Content> {
        self.content.into_iter().collect()
    }
}
