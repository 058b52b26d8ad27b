//! `unit`: a systemd unit file or a drop-in.

use serde::{Deserialize, Serialize};

use super::field::{Content, FileType, Manage, Presence};
use super::{Kind, Logins, Problem, Resource, ServiceSpec, differs};
use crate::name::Address;
use crate::plan::FieldChange;

/// A unit file (`nginx.service`) or a drop-in (`nginx.service.d/limits.conf`) in `/etc/systemd/system`, with
/// `root:root 0644`. Plumb reloads systemd at most once for unit files that change together. A `service` resource
/// decides whether the unit runs and is enabled.
///
/// A template (`worker@.service`) and its drop-ins are inputs of the `service` resources of all its
/// instances. A drop-in in `foo-.service.d` is an input of all services whose names begin with `foo-`, and a
/// drop-in in `service.d` is an input of all services. If a mask is at the path of the file, Plumb replaces
/// it, and restores it when the resource leaves git. An empty unit file is an error, because it would mask
/// the unit.
///
/// When the file goes and no other file defines the unit, Plumb first stops what runs from it: services,
/// sockets, timers and paths, also if another unit started them. Other types of units keep running, and an
/// event names them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The text of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// `override` (default): the file overrides a package's unit file of the same name. `refuse`: such a unit
    /// file is an error.
    #[serde(default, skip_serializing_if = "VendorUnit::is_override")]
    pub vendor_unit: VendorUnit,
    /// Restores a mask. Only the agent sets this field, when it restores an original.
    #[serde(skip)]
    pub mask: MaskLink,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The handling of a package's unit with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum VendorUnit {
    /// The unit file overrides the package's unit.
    #[default]
    Override,
    /// A package's unit of the same name is an error.
    Refuse,
}

impl VendorUnit {
    /// True if this is the default, which the canonical form omits.
    pub fn is_override(&self) -> bool {
        *self == Self::Override
    }
}

/// A link to `/dev/null` in place of a unit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MaskLink {
    /// There is no such link.
    #[default]
    Absent,
    /// A link that Plumb didn't create.
    Host,
    /// A link that a `service` resource created.
    Plumb,
}

impl MaskLink {
    /// True if this is the default, which the canonical form omits.
    pub fn is_absent(&self) -> bool {
        *self == Self::Absent
    }
}

/// The observed state of a unit file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitObserved {
    /// The file type at the path.
    pub file_type: FileType,
    /// The content of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The mask at the path, if the link there is one.
    #[serde(default, skip_serializing_if = "MaskLink::is_absent")]
    pub mask: MaskLink,
    /// True if the file was changed after systemd read it (`NeedDaemonReload`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_reload: bool,
}

/// Suffixes of units that can have a file.
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

/// True if this is the name of a type of units, such as `service`. The drop-ins in `service.d` apply to all
/// services.
fn is_type(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| &suffix[1..] == name)
}

/// Returns the unit that a unit file or drop-in belongs to.
fn unit_of(name: &str) -> &str {
    name.split_once(".d/").map_or(name, |(unit, _)| unit)
}

/// Returns the [keys](Resource::input_key) of all unit files and drop-ins that systemd reads for a unit
/// (systemd.unit(5)).
pub(super) fn keys_read_by(unit: &str) -> Vec<String> {
    let Some((stem, ending)) = unit.rsplit_once('.') else {
        return Vec::new();
    };
    let mut keys = vec![unit.to_owned(), format!("{unit}.d"), format!("{ending}.d")];
    if let Some((template, instance)) = stem.split_once('@') {
        if !instance.is_empty() {
            keys.push(format!("{template}@.{ending}"));
            keys.push(format!("{template}@.{ending}.d"));
        }
    }
    let dashes = stem.match_indices('-').map(|(at, _)| at + 1);
    keys.extend(
        dashes
            .filter(|end| *end < stem.len())
            .map(|end| format!("{}.{ending}.d", &stem[..end])),
    );
    keys
}

impl UnitSpec {
    /// The folder of the administrator's units.
    pub const FOLDER: &'static str = "/etc/systemd/system";

    /// The folders of packages' units.
    pub const VENDOR_FOLDERS: [&'static str; 2] =
        ["/usr/lib/systemd/system", "/lib/systemd/system"];

    /// Returns the [key](Resource::input_key) of a file in the folder of units, whatever resource type
    /// manages it.
    pub(super) fn key_of_path(path: &str) -> Option<String> {
        let name = path.strip_prefix(Self::FOLDER)?.strip_prefix('/')?;
        Self::check_name(name).ok()?;
        Self::input_key(name)
    }

    /// Returns the path of a unit file, a drop-in or an enablement link.
    pub fn path_in_folder(name: &str) -> String {
        format!("{}/{name}", Self::FOLDER)
    }
}

impl Resource for UnitSpec {
    type Observed = UnitObserved;

    const EXAMPLE: &'static str = r"unit:
  app.service:
    content: |
      [Service]
      ExecStart=/usr/local/bin/app
      [Install]
      WantedBy=multi-user.target
  ssh.service.d/limits.conf:
    content: |
      [Service]
      LimitNOFILE=65536
";

    const VALUE_FIELD: Option<&'static str> = Some("content");

    const RANK: u8 = 60;

    const RUNS: &'static [&'static str] = &["loaded"];

    fn check_name(name: &str) -> Result<(), String> {
        let good = match name.split_once(".d/") {
            None => is_unit_name(name),
            Some((unit, drop_in)) => {
                (is_unit_name(unit) || is_type(unit))
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
        Some(unit_of(name).to_owned()).filter(|unit| !is_type(unit))
    }

    fn input_key(name: &str) -> Option<String> {
        Some(match name.split_once(".d/") {
            None => name.to_owned(),
            Some((unit, _)) => format!("{unit}.d"),
        })
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        let is_file = !name.contains(".d/");
        if is_file && self.content.is_some_and(|content| content.size == 0) {
            return vec![Problem {
                field: "content",
                message: "an empty unit file masks the unit".to_owned(),
                hint: format!(
                    "write the unit's text; to mask it, write `service: {{{}: {{masked: true}}}}` and drop the `unit`",
                    name.strip_suffix(".service").unwrap_or(name)
                ),
            }];
        }
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
        let desired = if !self.mask.is_absent() {
            FileType::Link
        } else if self.wants_absent() {
            FileType::Absent
        } else {
            FileType::File
        };
        let mut changes = Vec::new();
        let masked = desired == FileType::Link && !observed.mask.is_absent();
        if !masked {
            differs(
                &mut changes,
                "state",
                Some(&desired),
                Some(&observed.file_type),
            );
        }
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

    fn exists(observed: &UnitObserved) -> bool {
        observed.file_type != FileType::Absent && observed.mask != MaskLink::Plumb
    }

    fn replaces(&self, observed: &UnitObserved) -> bool {
        !self.wants_absent()
            && observed.mask != MaskLink::Plumb
            && !matches!(observed.file_type, FileType::Absent | FileType::File)
    }

    fn lifeline(name: &str) -> bool {
        let unit = unit_of(name);
        unit == "service" || Kind::Service.is_lifeline(ServiceSpec::name_of(unit))
    }

    fn cuts_off(name: &str, logins: &Logins) -> bool {
        Kind::Service.cuts_off(ServiceSpec::name_of(unit_of(name)), logins)
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
