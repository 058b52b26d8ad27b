//! `kernelParameter`: a parameter on the kernel's command line.

use serde::{Deserialize, Serialize};

use super::field::{Manage, Presence};
use super::{BootCopy, Dependency, OwnFiles, Problem, Resource, Setting, parents};
use crate::name::Address;
use crate::plan::FieldChange;

/// A parameter on the kernel's command line. The name is what stands before the `=`.
///
/// With GRUB, Plumb writes `/etc/default/grub.d/plumb-NAME.cfg`, which appends to
/// `GRUB_CMDLINE_LINUX_DEFAULT`, and runs `update-grub`. On a Raspberry Pi, Plumb edits the parameter in the
/// one line of `/boot/firmware/cmdline.txt` and keeps the other words. The condition `RebootRequired` lasts
/// until `/proc/cmdline` has the parameter. If a parameter is there several times, the kernel uses the last
/// one in most cases, and so does Plumb.
///
/// When the resource leaves git, the file or the line is as before from the next boot on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelParameterSpec {
    /// `present` (default), or `absent`: Plumb's file for GRUB doesn't exist, and the line of a Raspberry Pi
    /// doesn't have the parameter.
    #[serde(default, skip_serializing_if = "Presence::is_present")]
    pub state: Presence,
    /// The value. Leave it out for a parameter that has none, such as `quiet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Setting>,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The observed state of a kernel parameter. An empty value means a parameter without one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelParameterObserved {
    /// The value that the boot loader's configuration gives it; `None` if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<String>,
    /// The state of Plumb's own file, if the boot loader has files for single parameters.
    pub files: OwnFiles,
    /// The state of the boot loader's menu, which is built from the configuration.
    pub menu: BootCopy,
    /// The value on the command line of the running kernel; `None` if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
}

impl KernelParameterSpec {
    /// Returns the path of the parameter's file for GRUB.
    pub fn grub_file(name: &str) -> String {
        format!("/etc/default/grub.d/plumb-{name}.cfg")
    }

    /// Returns the desired value; `""` if the parameter has none.
    pub fn value(&self) -> &str {
        self.value.as_ref().map_or("", Setting::as_str)
    }

    /// Returns the parameter as it stands on the command line.
    pub fn word(name: &str, value: &str) -> String {
        match value {
            "" => name.to_owned(),
            value => format!("{name}={value}"),
        }
    }
}

impl Resource for KernelParameterSpec {
    type Observed = KernelParameterObserved;

    const EXAMPLE: &'static str = r"kernelParameter:
  cma: {value: 256M}
  net.ifnames: {value: 0}
  nosmt: {}
";

    const VALUE_FIELD: Option<&'static str> = Some("value");

    fn check_name(name: &str) -> Result<(), String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && name.len() <= 100 && name.bytes().all(allowed) {
            Ok(())
        } else {
            Err("name a kernel parameter without its value, such as cma".to_owned())
        }
    }

    fn path(name: &str) -> Option<String> {
        Some(Self::grub_file(name))
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let problem = |message: &str, hint: &str| {
            vec![Problem {
                field: "value",
                message: message.to_owned(),
                hint: hint.to_owned(),
            }]
        };
        let Some(value) = &self.value else {
            return Vec::new();
        };
        if self.wants_absent() {
            return problem(
                "an absent parameter has no value",
                "remove `value`, or remove `state: absent`",
            );
        }
        // GRUB's files and menu are scripts, in which other characters have a meaning.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:;/=+@%!^~".contains(&b);
        if value.as_str().is_empty() || !value.as_str().bytes().all(plain) {
            return problem(
                "the value has a character that a boot loader may read in another way",
                "write letters, digits and any of `_-.,:;/=+@%!^~`; leave out `value` for none",
            );
        }
        Vec::new()
    }

    fn compare(&self, observed: &KernelParameterObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let is_there = observed.configured.is_some() || observed.files != OwnFiles::Absent;
        let found = if is_there {
            Presence::Present
        } else {
            Presence::Absent
        };
        if found != self.state {
            changes.push(FieldChange::of("state", Some(&found), Some(&self.state)));
            return changes;
        }
        if self.wants_absent() {
            return changes;
        }
        let value = self.value();
        let configured = observed.configured.as_deref();
        if configured != Some(value) {
            changes.push(FieldChange::of("value", configured.as_ref(), Some(&value)));
        } else if observed.files == OwnFiles::Edited {
            changes.push(FieldChange::of(
                "files",
                Some(&OwnFiles::Edited),
                Some(&OwnFiles::Written),
            ));
        }
        if observed.menu == BootCopy::Outdated {
            changes.push(FieldChange::of(
                "menu",
                Some(&BootCopy::Outdated),
                Some(&BootCopy::Current),
            ));
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        parents(&Self::grub_file(name))
    }

    fn exists(observed: &KernelParameterObserved) -> bool {
        observed.configured.is_some() || observed.files != OwnFiles::Absent
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
    use serde_json::json;

    use super::*;

    fn spec(value: serde_json::Value) -> KernelParameterSpec {
        serde_json::from_value(value).unwrap()
    }

    fn differing(spec: &KernelParameterSpec, observed: &KernelParameterObserved) -> Vec<String> {
        let changes = spec.compare(observed);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn value_that_a_boot_loader_would_interpret_is_refused() {
        for good in [
            json!({"value": "ttyS0,115200n8"}),
            json!({"value": 0}),
            json!({}),
        ] {
            assert!(spec(good.clone()).check("x").is_empty(), "{good}");
        }
        for bad in ["a b", "$(reboot)", "\"x\"", "`x`", "a\nb", "", "x'"] {
            assert_eq!(spec(json!({"value": bad})).check("x").len(), 1, "{bad}");
        }
        assert_eq!(
            spec(json!({"state": "absent", "value": "1"}))
                .check("x")
                .len(),
            1
        );
        for bad in ["a=b", "a b", "", "-x"] {
            assert!(KernelParameterSpec::check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn value_menu_and_leftovers_are_compared() {
        let mut observed = KernelParameterObserved::default();
        let panic = spec(json!({"value": 10}));
        let absent = spec(json!({"state": "absent"}));
        assert_eq!(differing(&panic, &observed), ["state"]);
        assert!(differing(&absent, &observed).is_empty());
        observed.configured = Some("10".to_owned());
        observed.files = OwnFiles::Written;
        assert!(differing(&panic, &observed).is_empty());
        observed.menu = BootCopy::Outdated;
        assert_eq!(differing(&panic, &observed), ["menu"]);
        assert_eq!(differing(&absent, &observed), ["state"]);
        observed.configured = None;
        observed.files = OwnFiles::Edited;
        assert_eq!(differing(&panic, &observed), ["value", "menu"]);
        assert_eq!(differing(&absent, &observed), ["state"], "half removed");
    }
}
