//! Runs `apt-get update` to refresh apt's lists, and reports the sources that can't be refreshed.

use std::collections::BTreeMap;

use plumb_api::report::ErrorCode;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use super::apt::{failure, in_unit};
use crate::book::Home;
use crate::error::{At as _, Result};
use crate::sys::Sys;

const LISTS: &str = "/var/lib/apt/lists";

/// Folders whose files decide what apt's lists contain and which of their packages apt would install.
const FOLDERS: [&str; 5] = [
    "/etc/apt/apt.conf.d",
    "/etc/apt/keyrings",
    "/etc/apt/preferences.d",
    "/etc/apt/sources.list.d",
    "/etc/apt/trusted.gpg.d",
];

/// Files that decide the same as [`FOLDERS`].
const FILES: [&str; 4] = [
    "/etc/apt/apt.conf",
    "/etc/apt/preferences",
    "/etc/apt/sources.list",
    "/etc/apt/trusted.gpg",
];

/// True if apt has package lists, and its configuration, sources, pins and keys haven't changed since the lists
/// were refreshed.
pub(super) fn has_current_lists(sys: &Sys) -> bool {
    let entries = |folder: &str| sys.root().list(folder).unwrap_or_default();
    let changed = |path: &str| Some(sys.root().look(path).ok()??.modified);
    let has_lists = entries(LISTS).iter().any(|name| name.contains("_Packages"));
    let files = FOLDERS.iter().flat_map(|folder| {
        let entries = entries(folder).into_iter();
        let files = entries.map(move |name| format!("{folder}/{name}"));
        files.chain([(*folder).to_owned()])
    });
    let newest = files
        .chain(FILES.map(str::to_owned))
        .filter_map(|path| changed(&path))
        .max();
    has_lists && newest < changed(LISTS)
}

/// Sets the modification time of the lists' folder to now. apt itself doesn't change the folder if no source
/// has news.
fn mark_refreshed(sys: &Sys) -> Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    if let Some(lists) = sys.root().directory(LISTS)? {
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        futimens(lists.fd(), &times).at("mark", LISTS)?;
    }
    Ok(())
}

/// Refreshes apt's lists. Returns a phrase for each source that can't be refreshed. Such a failure isn't an
/// error, because apt can still install from the other sources and from the old lists. Fails only if another
/// program holds the lock or the disk is full.
pub(super) fn update(sys: &Sys, home: &Home) -> Result<Vec<String>> {
    let output = in_unit(
        sys,
        home,
        &["apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=60"],
    )?;
    mark_refreshed(sys)?;
    let stale = stale_sources(&output.stdout);
    if output.status == 0 || !stale.is_empty() {
        return Ok(stale);
    }
    let error = failure("apt-get can't update its lists", &output);
    match error.code {
        ErrorCode::PackageLock | ErrorCode::NoSpace => Err(error),
        _ => Ok(vec![error.message]),
    }
}

/// Returns a phrase for each source that `apt-get update` couldn't refresh. If one file of a source fails, a
/// later line may show that apt fetched an alternative; then the source counts as refreshed.
fn stale_sources(said: &str) -> Vec<String> {
    let mut last: BTreeMap<u32, Option<(String, String)>> = BTreeMap::new();
    let mut failing = None;
    for line in said.lines() {
        if let Some(reason) = line.strip_prefix("  ") {
            if let Some(Some((_, told))) = failing.take().and_then(|number| last.get_mut(&number)) {
                reason.trim().clone_into(told);
            }
            continue;
        }
        failing = None;
        let Some((verb, rest)) = line.split_once(':') else {
            continue;
        };
        let Some((number, source)) = rest.split_once(' ') else {
            continue;
        };
        let (Ok(number), "Get" | "Hit" | "Ign" | "Err") = (number.parse(), verb) else {
            continue;
        };
        if verb == "Err" {
            failing = Some(number);
            last.insert(number, Some((source.trim().to_owned(), String::new())));
        } else {
            last.insert(number, None);
        }
    }
    last.into_values()
        .flatten()
        .map(|(source, reason)| format!("apt can't refresh the source `{source}`: {reason}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn lists_are_old_once_a_source_a_pin_a_key_or_the_configuration_changes() {
        let name = format!("plumb-apt-lists-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let put = |path: &str, age: u64| {
            let path = root.join(path.trim_start_matches('/'));
            let folder = path.parent().unwrap();
            fs::create_dir_all(folder).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            fs::File::create(&path).unwrap().set_modified(then).unwrap();
            fs::File::open(folder).unwrap().set_modified(then).unwrap();
        };
        let in_folders = FOLDERS.map(|folder| format!("{folder}/one"));
        let all: Vec<_> = in_folders.iter().map(String::as_str).chain(FILES).collect();
        let settle = || {
            for path in &all {
                put(path, 60);
            }
            put(&format!("{LISTS}/deb_dists_Packages"), 30);
        };
        settle();
        let sys = Sys::sandbox(&root).unwrap();
        for path in &all {
            settle();
            assert!(has_current_lists(&sys), "before {path}");
            put(path, 0);
            assert!(!has_current_lists(&sys), "after {path}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn sources_that_cant_be_refreshed_are_named() {
        let said = "Get:1 file:/srv/repo ./ InRelease\nIgn:1 file:/srv/repo ./ InRelease\nGet:4 file:/srv/none-such ./ Release\nErr:4 file:/srv/none-such ./ Release\n  File not found - /srv/none-such/./Release (2: No such file or directory)\nErr:5 http://127.0.0.1:9/debian bookworm InRelease\n  Could not connect to 127.0.0.1:9\nErr:6 file:/srv/repo ./ Packages\n  Method gave a blank filename\nGet:6 file:/srv/repo ./ Packages [1003 B]\nReading package lists...\nE: The repository 'file:/srv/none-such ./ Release' does not have a Release file.\n";
        assert_eq!(
            stale_sources(said),
            [
                "apt can't refresh the source `file:/srv/none-such ./ Release`: File not found - /srv/none-such/./Release (2: No such file or directory)",
                "apt can't refresh the source `http://127.0.0.1:9/debian bookworm InRelease`: Could not connect to 127.0.0.1:9",
            ]
        );
        assert!(stale_sources("Hit:1 http://deb.example bookworm InRelease\n").is_empty());
    }
}
