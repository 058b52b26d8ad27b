//! `swap`: a file or a device to which the kernel moves memory.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::{Manage, Presence};
use super::unit::keys_read_by;
use super::unit_text::{FSTAB_KEY, HEADER, device_path, name_of_path, setting, value_of};
use super::{Claim, Dependency, Problem, Resource, UnitSpec, check_path, parents};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};
use crate::size::Size;

/// A file or a device to which the kernel moves memory that isn't in use. The name is the absolute path of the
/// file, or the device: `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…` or `/dev/…`.
///
/// Plumb writes a `.swap` unit in `/etc/systemd/system`, enables it, and turns the swap on. A file is made with
/// all of its blocks, `root:root 0600`, and on btrfs without copy on write; file systems that can't hold a
/// swap file are refused. A device must have been made by `mkswap`: Plumb never formats one.
///
/// A line of `/etc/fstab` for the same swap is an error, because two places would decide. A change of `size`
/// makes the file anew, and one of `priority` turns the swap off for a moment. Swap that the free memory can't
/// take back stays on, and the run waits. When the resource leaves git, Plumb turns the swap off, unless it was
/// on before, and removes its unit and the file that it made. `state: absent` removes a swap file whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SwapSpec {
    /// `present` (default) or `absent`.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The size of the file. Devices have their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The priority, from 0 to 32767: the kernel fills swap of a higher one first. Without it, the kernel
    /// chooses one below all that are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The swap and its unit file as they were. Only the agent sets this field, when it restores an original.
    #[serde(skip)]
    pub original: Option<Box<SwapObserved>>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a swap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SwapObserved {
    /// The text of the unit file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// True if the unit is enabled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    /// The priority in the kernel, if the swap is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<i32>,
    /// The file, if the name is the path of one that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<SwapFile>,
    /// The line of `/etc/fstab` for the swap, with its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fstab: Option<String>,
}

/// The observed state of a swap file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SwapFile {
    /// The size in bytes.
    pub size: u64,
    /// True if only root may read and write it.
    pub private: bool,
    /// True if it has the signature of `mkswap`.
    pub signature: bool,
}

impl SwapFile {
    /// True if this is a swap file of so many bytes.
    pub fn is_swap_of(&self, size: u64) -> bool {
        self.size == size && self.signature
    }
}

impl SwapObserved {
    /// Returns `Present` if the swap is on.
    pub fn presence(&self) -> Presence {
        match self.active {
            Some(_) => Presence::Present,
            None => Presence::Absent,
        }
    }

    fn size(&self) -> Option<u64> {
        self.file.as_ref().map(|file| file.size)
    }
}

impl SwapSpec {
    /// The target that all swaps belong to.
    pub const TARGETS: [&'static str; 1] = ["swap.target"];

    /// Returns the path of the device of a swap, or `None` if the swap is a file.
    pub fn device(name: &str) -> Option<String> {
        device_path(name)
    }

    /// Returns the path of a swap's file or device.
    pub fn place(name: &str) -> String {
        device_path(name).unwrap_or_else(|| name.to_owned())
    }

    /// Returns the name of a swap's unit.
    pub fn unit_name(name: &str) -> String {
        name_of_path(&Self::place(name), ".swap")
    }

    /// Returns the text of the unit file for a swap of this name.
    pub fn unit_text(&self, name: &str) -> String {
        let place = Self::place(name);
        let priority = self.priority.map(|priority| priority.to_string());
        format!(
            "{HEADER}\n[Unit]\n{}\n[Swap]\n{}{}\n[Install]\nWantedBy={}\n",
            setting("Description", &format!("Swap on {place}")),
            setting("What", &place),
            setting("Priority", &priority.unwrap_or_default()),
            Self::TARGETS[0],
        )
    }

    fn restores(original: &SwapObserved, observed: &SwapObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let (found, wanted) = (observed.presence(), original.presence());
        if found != wanted {
            changes.push(FieldChange::of("state", Some(&found), Some(&wanted)));
        }
        if observed.unit != original.unit {
            changes.push(FieldChange::new("unit", "as Plumb wrote it", "as it was"));
        }
        if observed.enabled != original.enabled {
            let (found, wanted) = (Some(&observed.enabled), Some(&original.enabled));
            changes.push(FieldChange::of("enabled", found, wanted));
        }
        if observed.size() != original.size() {
            let (found, wanted) = (observed.size(), original.size());
            changes.push(FieldChange::of("size", found.as_ref(), wanted.as_ref()));
        }
        changes
    }

    fn problem(&self, name: &str) -> Option<Problem> {
        let problem = |field, message: &str, hint: &str| {
            Some(Problem {
                field,
                message: message.to_owned(),
                hint: hint.to_owned(),
            })
        };
        let is_device = Self::device(name).is_some();
        if self.wants_absent() {
            return match (self.size, self.priority) {
                (None, None) => None,
                _ => problem(
                    "state",
                    "an absent swap has neither size nor priority",
                    "write `state: absent` alone",
                ),
            };
        }
        match self.size {
            None if !is_device => {
                return problem("size", "a swap file needs a `size`", "write `size: 1GiB`");
            }
            Some(_) if is_device => {
                return problem("size", "a device has its own size", "leave out `size`");
            }
            Some(size) if size.bytes() < 1 << 20 => {
                return problem(
                    "size",
                    "a swap file has at least 1MiB",
                    "write a larger `size`",
                );
            }
            _ => {}
        }
        match self.priority {
            Some(priority) if !(0..=32767).contains(&priority) => problem(
                "priority",
                "a priority is a number from 0 to 32767",
                "leave it out for the lowest one",
            ),
            _ => None,
        }
    }
}

impl Resource for SwapSpec {
    type Observed = SwapObserved;

    const EXAMPLE: &'static str = r#"swap:
  /swapfile: {size: 1GiB}
  "UUID=0a3407de-014b-458b-b5c1-848e92a327a3": {priority: 10}
"#;

    const RANK: u8 = 42;

    fn check_name(name: &str) -> Result<(), String> {
        let place = Self::place(name);
        if !place.starts_with('/') {
            return Err("name a swap by a path such as /swapfile, or a device: UUID=…".to_owned());
        }
        check_path(&place)?;
        if place.contains(char::is_control) || Self::unit_name(name).len() > 255 {
            return Err(
                "a swap's name must be short and must not contain control characters".to_owned(),
            );
        }
        Ok(())
    }

    fn path(name: &str) -> Option<String> {
        Some(UnitSpec::path_in_folder(&Self::unit_name(name)))
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        let file = Self::device(name).is_none().then(|| Claim {
            path: name.to_owned(),
            hint: "a swap makes its own file: drop the other resource".to_owned(),
        });
        file.into_iter().collect()
    }

    fn check(&self, name: &str) -> Vec<Problem> {
        self.problem(name).into_iter().collect()
    }

    fn compare(&self, observed: &SwapObserved) -> Vec<FieldChange> {
        if let Some(original) = &self.original {
            return Self::restores(original, observed);
        }
        let mut changes = Vec::new();
        if let Some(line) = &observed.fstab {
            changes.push(FieldChange::of("fstab", Some(line), None));
        }
        let found = observed.presence();
        if found != self.state {
            changes.push(FieldChange::of("state", Some(&found), Some(&self.state)));
        }
        let enabled = !self.wants_absent();
        if observed.enabled != enabled {
            let (found, wanted) = (Some(&observed.enabled), Some(&enabled));
            changes.push(FieldChange::of("enabled", found, wanted));
        }
        if self.wants_absent() {
            if observed.unit.is_some() {
                changes.push(FieldChange::new("unit", "present", "absent"));
            }
            if let Some(file) = observed.file.as_ref().filter(|file| file.signature) {
                changes.push(FieldChange::of("size", Some(&file.size), None));
            }
            return changes;
        }
        if let Some(size) = self.size {
            let found = observed.file.as_ref();
            if !found.is_some_and(|file| file.is_swap_of(size.bytes())) {
                let found = found.filter(|file| file.signature);
                let found = found.map(|file| format!("{} bytes", file.size));
                changes.push(FieldChange {
                    field: "size".to_owned(),
                    from: found.map(Value::from),
                    to: Some(Value::from(size.to_string())),
                });
            }
            if found.is_some_and(|file| !file.private) {
                changes.push(FieldChange::new("mode", "readable by others", "0600"));
            }
        }
        let written = observed.unit.as_deref();
        let before = written.and_then(|text| value_of(text, "Priority"));
        let in_force = match (self.priority, observed.active) {
            (Some(_), Some(active)) => Some(active.to_string()),
            _ => before,
        };
        let wanted = self.priority.map(|priority| priority.to_string());
        if in_force != wanted {
            let (found, wanted) = (in_force.as_ref(), wanted.as_ref());
            changes.push(FieldChange::of("priority", found, wanted));
        }
        if changes.is_empty() {
            let place = written.and_then(|text| value_of(text, "What"));
            let ours = place.map(|place| self.unit_text(&place));
            if ours.is_none() || observed.unit != ours {
                let (found, wanted) = ("changed on the host", "as Plumb writes it");
                changes.push(FieldChange::new("unit", found, wanted));
            }
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        match Self::device(name) {
            Some(_) => Vec::new(),
            None => parents(name),
        }
    }

    fn input_key(name: &str) -> Option<String> {
        Some(Self::unit_name(name))
    }

    fn input_keys(name: &str) -> Vec<String> {
        let unit = Self::unit_name(name);
        let mut keys = keys_read_by(&unit);
        keys.retain(|key| *key != unit);
        keys.push(FSTAB_KEY.to_owned());
        keys
    }

    fn unit(&self, name: &str) -> Option<String> {
        Some(Self::unit_name(name))
    }

    fn exists(observed: &SwapObserved) -> bool {
        observed.active.is_some() || observed.unit.is_some() || observed.file.is_some()
    }

    fn consequences(&self, name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let unit = Self::unit_name(name);
        let changed = |field: &str| {
            let mut fields = fields.iter();
            fields.any(|change| change.field == field && change.from.is_some())
        };
        if self.wants_absent() && changed("state") {
            vec![Consequence::Stops(unit)]
        } else if changed("size") || changed("priority") {
            vec![Consequence::Restarts(unit)]
        } else {
            Vec::new()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SwapSpec {
        SwapSpec {
            size: "1MiB".parse().ok(),
            priority: Some(5),
            ..SwapSpec::default()
        }
    }

    fn on() -> SwapObserved {
        SwapObserved {
            unit: Some(file().unit_text("/swapfile")),
            enabled: true,
            active: Some(5),
            file: Some(SwapFile {
                size: 1 << 20,
                private: true,
                signature: true,
            }),
            fstab: None,
        }
    }

    fn fields(spec: &SwapSpec, observed: &SwapObserved) -> Vec<String> {
        let changes = spec.compare(observed);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn unit_has_the_name_that_systemd_requires() {
        assert_eq!(SwapSpec::unit_name("/swapfile"), "swapfile.swap");
        assert_eq!(
            SwapSpec::unit_name("UUID=1-2"),
            "dev-disk-by\\x2duuid-1\\x2d2.swap"
        );
        let text = SwapSpec::default().unit_text("UUID=1-2");
        assert!(text.contains("What=/dev/disk/by-uuid/1-2\n") && !text.contains("Priority"));
    }

    #[test]
    fn finds_what_others_changed() {
        assert_eq!(fields(&file(), &on()), [""; 0]);
        let off = SwapObserved {
            active: None,
            enabled: false,
            ..on()
        };
        assert_eq!(fields(&file(), &off), ["state", "enabled"]);
        let other = SwapObserved {
            active: Some(-2),
            file: Some(SwapFile {
                size: 1 << 21,
                private: false,
                signature: true,
            }),
            ..on()
        };
        assert_eq!(fields(&file(), &other), ["size", "mode", "priority"]);
        let edited = SwapObserved {
            unit: on().unit.map(|text| text + "TimeoutSec=1\n"),
            ..on()
        };
        assert_eq!(fields(&file(), &edited), ["unit"]);
    }

    #[test]
    fn gives_back_what_was_there() {
        let restore = |original: SwapObserved| SwapSpec {
            state: original.presence(),
            original: Some(Box::new(original)),
            ..SwapSpec::default()
        };
        let nothing = restore(SwapObserved::default());
        assert_eq!(
            fields(&nothing, &on()),
            ["state", "unit", "enabled", "size"]
        );
        let by_hand = restore(SwapObserved {
            unit: None,
            enabled: false,
            ..on()
        });
        assert_eq!(fields(&by_hand, &on()), ["unit", "enabled"]);
    }

    #[test]
    fn files_need_a_size_and_devices_have_one() {
        let problem = |spec: &SwapSpec, name: &str| spec.check(name).pop().map(|p| p.field);
        assert_eq!(problem(&file(), "/swapfile"), None);
        assert_eq!(problem(&file(), "LABEL=swap"), Some("size"));
        assert_eq!(problem(&SwapSpec::default(), "/swapfile"), Some("size"));
        assert_eq!(problem(&SwapSpec::default(), "/dev/vdb"), None);
        let low = SwapSpec {
            priority: Some(-3),
            ..file()
        };
        assert_eq!(problem(&low, "/swapfile"), Some("priority"));
        assert!(SwapSpec::check_name("swapfile").is_err());
        assert_eq!(file().claims("/swapfile")[0].path, "/swapfile");
    }
}
