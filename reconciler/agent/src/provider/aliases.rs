//! The names of units in systemd's folders: aliases, enablement links and init scripts.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::resource::UnitSpec;

use crate::error::Result;
use crate::sys::Sys;

/// Folders of unit files. systemd prefers the earlier ones.
const FOLDERS: [&str; 5] = [
    UnitSpec::FOLDER,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    UnitSpec::VENDOR_FOLDERS[0],
    UnitSpec::VENDOR_FOLDERS[1],
];

/// Folders with the links by which sysvinit starts scripts at boot.
const RUNLEVELS: [&str; 5] = [
    "/etc/rcS.d",
    "/etc/rc2.d",
    "/etc/rc3.d",
    "/etc/rc4.d",
    "/etc/rc5.d",
];

/// Returns the unit files that claim one of these names by `Alias=` in their `[Install]` section, by that
/// name. systemd itself doesn't know such an alias while its unit is disabled.
pub(super) fn of_disabled_units(sys: &Sys, names: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for folder in FOLDERS {
        for file in entries(sys, folder) {
            let is_unit = names.iter().any(|name| ending(name) == ending(&file));
            if !is_unit || file.contains("@.") || !seen.insert(file.clone()) {
                continue;
            }
            let text = sys.text(&format!("{folder}/{file}")).unwrap_or_default();
            for alias in values(&text, "[Install]", "Alias") {
                if names.contains(alias) && alias != file {
                    found.entry(alias.to_owned()).or_insert(file.clone());
                }
            }
        }
    }
    found
}

/// True if a package installs this name as a link to another unit, and `/etc/systemd/system` has no entry of
/// that name.
pub(super) fn is_vendor_alias(sys: &Sys, name: &str) -> bool {
    let target = |folder: &str| {
        let path = format!("{folder}/{name}");
        let (dir, leaf) = sys.root().parent(&path).ok()??;
        dir.target(leaf).ok()?
    };
    let leads_elsewhere = |target: String| target.rsplit('/').next() != Some(name);
    let own = UnitSpec::path_in_folder(name);
    let is_free = sys.root().look(&own).is_ok_and(|found| found.is_none());
    let mut vendor = UnitSpec::VENDOR_FOLDERS.iter();
    is_free && vendor.any(|folder| target(folder).is_some_and(leads_elsewhere))
}

fn ending(unit: &str) -> Option<&str> {
    unit.rsplit_once('.').map(|(_, ending)| ending)
}

fn entries(sys: &Sys, folder: &str) -> Vec<String> {
    sys.root().list(folder).unwrap_or_default()
}

/// Returns the words of all lines `KEY=…` of a section of a unit file.
pub(super) fn values<'t>(text: &'t str, section: &str, key: &str) -> Vec<&'t str> {
    let mut words = Vec::new();
    let mut current = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            current = line;
        } else if let Some((name, value)) = line.split_once('=') {
            if current == section && name.trim() == key {
                words.extend(value.split_whitespace());
            }
        }
    }
    words
}

/// Returns the paths of the links that enable a unit, such as `multi-user.target.wants/nginx.service`. These
/// links stay when the unit's file is removed, and start the unit as soon as its file exists again.
pub(super) fn enablement_links(sys: &Sys, unit: &str) -> Result<Vec<String>> {
    let mut links = Vec::new();
    for folder in entries(sys, UnitSpec::FOLDER) {
        let wants = [".wants", ".requires", ".upholds"];
        if !wants.iter().any(|ending| folder.ends_with(ending)) {
            continue;
        }
        let path = UnitSpec::path_in_folder(&format!("{folder}/{unit}"));
        if let Some((dir, leaf)) = sys.root().parent(&path)? {
            if dir.target(leaf)?.is_some() {
                links.push(path);
            }
        }
    }
    Ok(links)
}

/// Returns true if the unit's script in `/etc/init.d` starts at boot, or `None` if the unit has no such
/// script.
pub(super) fn script_is_enabled(sys: &Sys, unit: &str) -> Option<bool> {
    let script = unit.strip_suffix(".service")?;
    if !sys.exists(&format!("/etc/init.d/{script}")) {
        return None;
    }
    let starts = |entry: &String| {
        let numbered = entry
            .strip_prefix('S')
            .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        numbered == Some(script)
    };
    let enabled = RUNLEVELS
        .iter()
        .any(|folder| entries(sys, folder).iter().any(starts));
    Some(enabled)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;

    struct Machine(PathBuf);

    impl Machine {
        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn machine(name: &str, files: &[(&str, &str)]) -> (Machine, Sys) {
        let name = format!("plumb-aliases-{name}-{}", std::process::id());
        let root = Machine(std::env::temp_dir().join(name));
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sys = Sys::sandbox(root.path()).unwrap();
        (root, sys)
    }

    #[test]
    fn the_alias_of_a_disabled_unit_is_found() {
        let text = "[Unit]\nAlias=no.service\n[Install]\nWantedBy=x.target\nAlias=mysql.service mysqld.service\n";
        let (_root, sys) = machine(
            "install",
            &[
                ("usr/lib/systemd/system/mariadb.service", text),
                (
                    "usr/lib/systemd/system/other.service",
                    "[Install]\nAlias=else.service\n",
                ),
            ],
        );
        let wanted = ["mysql.service", "no.service", "gone.service"].map(str::to_owned);
        let found = of_disabled_units(&sys, &wanted.into());
        let expected = BTreeMap::from([("mysql.service".to_owned(), "mariadb.service".to_owned())]);
        assert_eq!(found, expected);
    }

    #[test]
    fn an_alias_of_a_package_is_told_from_one_of_an_enabled_unit() {
        let vendor = "usr/lib/systemd/system/reboot.target";
        let (root, sys) = machine(
            "vendor",
            &[(vendor, ""), ("etc/systemd/system/x.wants/y", "")],
        );
        let folder = root.path().join("usr/lib/systemd/system");
        symlink("reboot.target", folder.join("ctrl-alt-del.target")).unwrap();
        symlink("/usr/share/same.target", folder.join("same.target")).unwrap();
        assert!(is_vendor_alias(&sys, "ctrl-alt-del.target"));
        assert!(!is_vendor_alias(&sys, "reboot.target"), "a unit's own file");
        assert!(!is_vendor_alias(&sys, "same.target"), "a unit's own name");
        let enabled = root.path().join("etc/systemd/system/ctrl-alt-del.target");
        symlink("/usr/lib/systemd/system/reboot.target", enabled).unwrap();
        assert!(!is_vendor_alias(&sys, "ctrl-alt-del.target"));
    }

    #[test]
    fn a_dangling_enablement_link_is_found() {
        let (root, sys) = machine(
            "links",
            &[("etc/systemd/system/x.target.wants/other.service", "")],
        );
        let folder = root.path().join("etc/systemd/system/x.target.wants");
        symlink("/etc/systemd/system/w@.service", folder.join("w@a.service")).unwrap();
        let links = enablement_links(&sys, "w@a.service").unwrap();
        assert_eq!(links, ["/etc/systemd/system/x.target.wants/w@a.service"]);
        assert!(enablement_links(&sys, "w@b.service").unwrap().is_empty());
    }

    #[test]
    fn a_start_script_is_enabled_by_its_runlevels() {
        let (root, sys) = machine(
            "scripts",
            &[("etc/init.d/old", ""), ("etc/rc3.d/S01other", "")],
        );
        assert_eq!(script_is_enabled(&sys, "old.service"), Some(false));
        assert_eq!(script_is_enabled(&sys, "new.service"), None);
        symlink("../init.d/old", root.path().join("etc/rc3.d/S02old")).unwrap();
        assert_eq!(script_is_enabled(&sys, "old.service"), Some(true));
    }
}
