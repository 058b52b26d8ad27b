//! The modules of the running kernel, and those that are on disk for it.

use std::fs;
use std::path::{Path, PathBuf};

use plumb_api::resource::{KernelModuleSpec, ModulePresence};

/// The running kernel.
pub(super) struct RunningKernel {
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
}

impl RunningKernel {
    /// Returns the kernel on which the agent runs.
    pub(super) fn new() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into();
        Self { release }
    }

    /// Returns a list of `depmod` for this kernel; `None` if it isn't on the host.
    fn list(&self, name: &str) -> Option<String> {
        fs::read_to_string(format!("/lib/modules/{}/{name}", self.release)).ok()
    }

    /// Returns the presence of a module in the kernel.
    pub(super) fn presence(&self, module: &str) -> ModulePresence {
        let sys = sys_folder(module);
        if sys.join("initstate").exists() {
            return ModulePresence::Loaded;
        }
        let built_in = self.list("modules.builtin");
        if sys.exists() || built_in.is_some_and(|list| has(&list, module)) {
            ModulePresence::BuiltIn
        } else {
            ModulePresence::Unloaded
        }
    }

    /// True if the module is on disk for this kernel; `None` if no module is.
    pub(super) fn offers(&self, module: &str) -> Option<bool> {
        self.list("modules.dep").map(|list| has(&list, module))
    }

    /// True if something uses the module: another module, a device, or an open file. Modules of network
    /// interfaces count as used, because removing one removes its interfaces.
    pub(super) fn uses(&self, module: &str) -> bool {
        let sys = sys_folder(module);
        let references = fs::read_to_string(sys.join("refcnt"));
        let is_free = references.is_ok_and(|count| count.trim() == "0");
        let aliases = self.list("modules.alias").unwrap_or_default();
        !is_free || drives_devices(&sys) || has_interfaces(&aliases, module)
    }
}

/// Returns the kernel's folder of a module.
fn sys_folder(module: &str) -> PathBuf {
    Path::new("/sys/module").join(module)
}

/// Returns the value of a module's option in the running kernel; `None` if the kernel doesn't show it.
pub(super) fn parameter(module: &str, option: &str) -> Option<String> {
    let path = sys_folder(module)
        .join("parameters")
        .join(option.replace('-', "_"));
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// True if a list of `depmod` has the module. Each line begins with the path of a module's file.
fn has(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split_once(".ko")
            .is_some_and(|(name, _)| KernelModuleSpec::module(name) == module)
    })
}

/// True if a driver of the module is bound to a device.
fn drives_devices(sys: &Path) -> bool {
    let drivers = fs::read_dir(sys.join("drivers")).into_iter().flatten();
    drivers.flatten().any(|driver| {
        let entries = fs::read_dir(driver.path()).into_iter().flatten();
        entries
            .flatten()
            .any(|entry| entry.path().is_symlink() && entry.file_name() != "module")
    })
}

/// True if the module provides a type of network interface, by its aliases.
fn has_interfaces(aliases: &str, module: &str) -> bool {
    aliases.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words
            .next()
            .is_some_and(|alias| alias.starts_with("rtnl-link-"))
            && words.next() == Some(module)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_is_found_by_its_file_in_either_spelling() {
        let list =
            "kernel/sound/snd-hda.ko.xz: kernel/sound/snd.ko\nkernel/drivers/block/nbd.ko:\n";
        assert!(has(list, "snd_hda") && has(list, "nbd"));
        assert!(!has(list, "snd") && !has(list, "hda"));
    }

    #[test]
    fn module_of_interfaces_is_found_by_its_alias() {
        let aliases = "# Aliases\nalias rtnl-link-wireguard wireguard\nalias fs-ext4 ext4\n";
        assert!(has_interfaces(aliases, "wireguard"));
        assert!(!has_interfaces(aliases, "ext4"));
    }
}
