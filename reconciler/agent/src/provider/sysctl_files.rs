//! Files of sysctls other than Plumb's own. systemd reads them at boot in the order of their names, no matter
//! which folder they are in.

use std::collections::BTreeMap;

use plumb_api::resource::SysctlSpec;

use crate::sys::Sys;

/// Folders of sysctl files. A file hides files of the same name in the later folders.
const FOLDERS: [&str; 4] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
];

/// Returns the file that is read after Plumb's own file and determines the key's value at boot, with that
/// value. Returns `None` if there is no such file or it sets the same value.
pub(super) fn overriding(sys: &Sys, key: &str, value: &str) -> Option<(String, String)> {
    let own = SysctlSpec::file(key);
    let own = own.rsplit('/').next().unwrap_or_default();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for folder in FOLDERS {
        for name in sys.root().list(folder).unwrap_or_default() {
            if name.strip_suffix(".conf").is_some() && name.as_str() > own {
                let path = format!("{folder}/{name}");
                files.entry(name).or_insert(path);
            }
        }
    }
    // The file that is read last determines the value.
    let last = files.into_values().rev().find_map(|path| {
        let text = text_of(sys, &path)?;
        Some((path, value_in(&text, key)?))
    });
    last.filter(|(_, other)| !SysctlSpec::same(other, &SysctlSpec::fold(value)))
}

/// Reads a file in one of these folders. The file may be a link, such as Debian's `99-sysctl.conf`.
fn text_of(sys: &Sys, path: &str) -> Option<String> {
    if let Some(text) = sys.text(path) {
        return Some(text);
    }
    let (dir, leaf) = sys.root().parent(path).ok()??;
    let target = dir.target(leaf).ok()??;
    match target.strip_prefix("../") {
        Some(below) => sys.text(&format!("{}/{below}", folder_above(path)?)),
        None => sys.text(&target),
    }
}

/// Returns the parent of the folder that a file is in.
fn folder_above(path: &str) -> Option<&str> {
    let (folder, _) = path.rsplit_once('/')?;
    folder.rsplit_once('/').map(|(above, _)| above)
}

/// Returns the last value of a key in a file's text.
fn value_in(text: &str, key: &str) -> Option<String> {
    let wanted = SysctlSpec::kernel_name(key);
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().trim_start_matches('-').trim(), value))
        .filter(|(name, _)| SysctlSpec::kernel_name(name) == wanted)
        .map(|(_, value)| SysctlSpec::fold(value))
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_key_counts() {
        let text =
            "# net.ipv4.ip_forward=2\nnet.ipv4.ip_forward = 1\n -net/ipv4/ip_forward=0\nother=3\n";
        assert_eq!(value_in(text, "net.ipv4.ip_forward").as_deref(), Some("0"));
        assert_eq!(value_in(text, "vm.swappiness"), None);
    }
}
