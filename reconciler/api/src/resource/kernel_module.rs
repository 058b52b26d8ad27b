//! `kernelModule`: a module of the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::Manage;
use super::{Claim, Dependency, Problem, Resource, Setting, parents};
use crate::name::Address;
use crate::plan::{Consequence, FieldChange};

/// A module of the kernel. The name is the module's own name, as `lsmod` shows it; `-` and `_` are the same.
///
/// Plumb writes two files of its own: `/etc/modules-load.d/plumb-NAME.conf` loads the module at boot, and
/// `/etc/modprobe.d/plumb-NAME.conf` has its options or blacklists it. Plumb loads the module at once. A
/// running module isn't unloaded or loaded again: the condition `RebootRequired` says so if a blacklisted
/// module is still loaded, or if a loaded one runs with other options. A module that is built into the kernel
/// needs no loading, and can have neither options nor a blacklist here.
///
/// When the resource leaves git, Plumb removes its files. It unloads the module if it loaded it, nothing uses
/// it, and the module provides no type of network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelModuleSpec {
    /// `loaded` (default): now and at each boot; `blacklisted`: no device loads it, but another module or a
    /// program may; `absent`: Plumb's files don't exist, and a loaded module stays.
    #[serde(default, skip_serializing_if = "ModuleState::is_loaded")]
    pub state: ModuleState,
    /// The module's options, as `modinfo -p NAME` lists them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Setting>,
    /// `true`: a change of the options or the blacklist also rebuilds the initial RAM disk, which may load
    /// the module before the root file system is mounted. Default `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initramfs: bool,
    /// Resources that are applied before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Address>,
    /// `always` (default), or `once`: create the resource, and never change it again.
    #[serde(default, skip_serializing_if = "Manage::is_always")]
    pub manage: Manage,
}

/// The desired state of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ModuleState {
    /// The module is loaded now and at each boot.
    #[default]
    Loaded,
    /// The module isn't loaded for a device.
    Blacklisted,
    /// Plumb's files don't exist.
    Absent,
}

impl ModuleState {
    /// True if this is the default, which the canonical form omits.
    pub fn is_loaded(&self) -> bool {
        *self == Self::Loaded
    }
}

/// The presence of a module in the running kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ModulePresence {
    /// The kernel runs without the module.
    #[default]
    Unloaded,
    /// The module is loaded.
    Loaded,
    /// The module is part of the kernel's image.
    BuiltIn,
}

/// The state of the files that belong to Plumb alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnFiles {
    /// None of them exists.
    #[default]
    Absent,
    /// They say what the observed fields say, and nothing else.
    Written,
    /// They have other lines than Plumb writes.
    Edited,
}

/// The state of what is built from a file: the initial RAM disk, or the boot loader's menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BootCopy {
    /// It has the file's content, or doesn't exist.
    #[default]
    Current,
    /// It was built before the file changed.
    Outdated,
}

/// The observed state of a module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelModuleObserved {
    /// The state that Plumb's files give; `None` if they give none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ModuleState>,
    /// The options in Plumb's file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// The state of Plumb's files.
    pub files: OwnFiles,
    /// The presence in the running kernel.
    pub running: ModulePresence,
    /// The values of the desired options in the running module, as far as it shows them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The state of the initial RAM disk.
    pub initramfs: BootCopy,
}

impl KernelModuleSpec {
    /// Returns the module's name as the kernel writes it.
    pub fn module(name: &str) -> String {
        name.replace('-', "_")
    }

    /// Returns the path of the file that loads the module at boot.
    pub fn load_file(name: &str) -> String {
        format!("/etc/modules-load.d/plumb-{}.conf", Self::module(name))
    }

    /// Returns the path of the file with the module's options and its blacklist.
    pub fn options_file(name: &str) -> String {
        format!("/etc/modprobe.d/plumb-{}.conf", Self::module(name))
    }

    /// Returns the options as they are written in the file.
    pub fn written_options(&self) -> BTreeMap<String, String> {
        let options = self.options.iter();
        options
            .map(|(key, value)| (key.clone(), value.as_str().to_owned()))
            .collect()
    }

    /// True if a running module has the value that an option sets. Modules show numbers in decimal, booleans
    /// as `Y` and `N`, and lists filled up with their defaults.
    pub fn same_value(option: &str, shown: &str) -> bool {
        let begins = |shown: &str| {
            shown
                .strip_prefix(option)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        };
        let switch = |text: &str| match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "1" | "on" | "true" => Some('Y'),
            "n" | "no" | "0" | "off" | "false" => Some('N'),
            _ => None,
        };
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let is_switch = matches!(shown, "Y" | "N");
        begins(shown)
            || is_switch && switch(option) == switch(shown)
            || number(option).is_some() && number(option) == number(shown)
    }
}

/// True if a text is the name of a module or of an option.
fn is_word(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= 56 && text.bytes().all(allowed)
}

impl Resource for KernelModuleSpec {
    type Observed = KernelModuleObserved;

    const EXAMPLE: &'static str = r"kernelModule:
  br_netfilter: {}
  v4l2loopback: {options: {devices: 1, card_label: Camera}}
  nouveau: {state: blacklisted, initramfs: true}
";

    // Before sysctls and services, whose keys and devices a module brings.
    const RANK: u8 = 46;

    fn check_name(name: &str) -> Result<(), String> {
        if is_word(name) {
            Ok(())
        } else {
            Err("name a kernel module as `lsmod` does, such as br_netfilter".to_owned())
        }
    }

    fn path(name: &str) -> Option<String> {
        Some(Self::options_file(name))
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        let load = self.state.is_loaded().then(|| Claim {
            path: Self::load_file(name),
            hint: "leave the file to the kernelModule".to_owned(),
        });
        load.into_iter().collect()
    }

    fn check(&self, _name: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field, message: String, hint: &str| {
            problems.push(Problem {
                field,
                message,
                hint: hint.to_owned(),
            });
        };
        for (option, value) in &self.options {
            if !is_word(option) {
                problem(
                    "options",
                    format!("`{option}` isn't the name of an option"),
                    "write a name that `modinfo -p` lists",
                );
            }
            if !value.is_line() || value.as_str().contains(['"', '\\']) {
                problem(
                    "options",
                    format!("the value of the option `{option}` can't be written in one line"),
                    "write a value without quotes, backslashes and line breaks",
                );
            }
        }
        if !self.state.is_loaded() && !self.options.is_empty() {
            problem(
                "options",
                "only a loaded module has `options`".to_owned(),
                "remove `options`, or write `state: loaded`",
            );
        }
        problems
    }

    fn compare(&self, observed: &KernelModuleObserved) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let needs_nothing = observed.running == ModulePresence::BuiltIn
            && self.state.is_loaded()
            && self.options.is_empty();
        if needs_nothing {
            return changes;
        }
        if self.wants_absent() {
            if observed.files != OwnFiles::Absent {
                let found = observed.state.unwrap_or(ModuleState::Absent);
                let state = (&found, &ModuleState::Absent);
                changes.push(FieldChange::of("state", Some(state.0), Some(state.1)));
            }
            return changes;
        }
        if observed.state != Some(self.state) {
            let found = observed.state.unwrap_or(ModuleState::Absent);
            changes.push(FieldChange::of("state", Some(&found), Some(&self.state)));
        }
        let options = self.written_options();
        if observed.options != options {
            changes.push(FieldChange::of(
                "options",
                Some(&observed.options),
                Some(&options),
            ));
        }
        if changes.is_empty() && observed.files == OwnFiles::Edited {
            changes.push(FieldChange::of(
                "files",
                Some(&OwnFiles::Edited),
                Some(&OwnFiles::Written),
            ));
        }
        if self.state.is_loaded() && observed.running == ModulePresence::Unloaded {
            changes.push(FieldChange::of(
                "running",
                Some(&ModulePresence::Unloaded),
                Some(&ModulePresence::Loaded),
            ));
        }
        if self.initramfs && observed.initramfs == BootCopy::Outdated {
            changes.push(FieldChange::of(
                "initramfs",
                Some(&BootCopy::Outdated),
                Some(&BootCopy::Current),
            ));
        }
        changes
    }

    fn requires(&self, name: &str) -> Vec<Dependency> {
        let mut all = parents(&Self::options_file(name));
        all.extend(parents(&Self::load_file(name)));
        all
    }

    fn exists(observed: &KernelModuleObserved) -> bool {
        observed.files != OwnFiles::Absent
    }

    fn wants_absent(&self) -> bool {
        self.state == ModuleState::Absent
    }

    fn consequences(&self, _name: &str, fields: &[FieldChange]) -> Vec<Consequence> {
        let copied = ["state", "options", "files", "initramfs"];
        let is_copied = |change: &FieldChange| copied.contains(&change.field.as_str());
        if self.initramfs && fields.iter().any(is_copied) {
            return vec![Consequence::Runs("update-initramfs".to_owned())];
        }
        Vec::new()
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

    fn spec(value: serde_json::Value) -> KernelModuleSpec {
        serde_json::from_value(value).unwrap()
    }

    fn differing(spec: &KernelModuleSpec, observed: &KernelModuleObserved) -> Vec<String> {
        let changes = spec.compare(observed);
        changes.into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn dash_and_underscore_are_one_module() {
        assert_eq!(
            KernelModuleSpec::path("snd-hda-intel"),
            KernelModuleSpec::path("snd_hda_intel")
        );
        assert!(KernelModuleSpec::check_name("br_netfilter").is_ok());
        for wrong in ["", "a b", "../x", "x.ko"] {
            assert!(KernelModuleSpec::check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn built_in_module_is_in_sync_unless_it_has_options() {
        let built_in = KernelModuleObserved {
            running: ModulePresence::BuiltIn,
            ..KernelModuleObserved::default()
        };
        assert!(differing(&spec(json!({})), &built_in).is_empty());
        let with_options = spec(json!({"options": {"debug": 1}}));
        assert_eq!(differing(&with_options, &built_in), ["state", "options"]);
        let blacklisted = spec(json!({"state": "blacklisted"}));
        assert_eq!(differing(&blacklisted, &built_in), ["state"]);
    }

    #[test]
    fn unloaded_module_and_edited_files_are_differences() {
        let mut observed = KernelModuleObserved {
            state: Some(ModuleState::Loaded),
            options: [("devices".to_owned(), "1".to_owned())].into(),
            files: OwnFiles::Written,
            running: ModulePresence::Loaded,
            parameters: BTreeMap::new(),
            initramfs: BootCopy::Outdated,
        };
        let desired = spec(json!({"options": {"devices": 1}}));
        assert!(differing(&desired, &observed).is_empty());
        observed.running = ModulePresence::Unloaded;
        observed.files = OwnFiles::Edited;
        assert_eq!(differing(&desired, &observed), ["files", "running"]);
        let early = spec(json!({"options": {"devices": 1}, "initramfs": true}));
        assert_eq!(
            differing(&early, &observed),
            ["files", "running", "initramfs"]
        );
        assert_eq!(
            differing(&spec(json!({"state": "absent"})), &observed),
            ["state"]
        );
    }

    #[test]
    fn value_that_a_module_shows_in_another_form_is_the_same() {
        for (option, shown) in [
            ("1", "1"),
            ("0x10", "16"),
            ("yes", "Y"),
            ("0", "N"),
            ("1,2", "1,2,0,0"),
            ("Camera", "Camera"),
        ] {
            assert!(
                KernelModuleSpec::same_value(option, shown),
                "{option} {shown}"
            );
        }
        for (option, shown) in [("1", "0"), ("yes", "N"), ("1", "10"), ("a", "b")] {
            assert!(
                !KernelModuleSpec::same_value(option, shown),
                "{option} {shown}"
            );
        }
    }

    #[test]
    fn options_are_for_loaded_modules_and_fit_in_a_line() {
        let problems = |value| spec(value).check("x").len();
        assert_eq!(problems(json!({"options": {"card_label": "My Camera"}})), 0);
        assert_eq!(problems(json!({"options": {"a b": "1"}})), 1);
        assert_eq!(
            problems(json!({"options": {"a": "x\ninstall y /bin/sh"}})),
            1
        );
        assert_eq!(
            problems(json!({"state": "blacklisted", "options": {"a": 1}})),
            1
        );
    }
}
