//! The kernel's table of mounts, the processes that use a mount, and the lines of fstab.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use plumb_api::resource::MountSpec;

use crate::error::{At, Result};
use crate::sys::{Program, Sys};

/// An entry of the kernel's table of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountEntry {
    /// The directory.
    pub point: String,
    /// The device or other source.
    pub source: String,
    /// The options of the mount and of its file system.
    pub options: Vec<String>,
}

/// Returns all mounts, in the order in which they were made.
pub(super) fn mounts() -> Result<Vec<MountEntry>> {
    let table = "/proc/self/mountinfo";
    let text = fs::read_to_string(table).at("read", table)?;
    Ok(text.lines().filter_map(entry).collect())
}

/// Returns the topmost mount at a path.
pub(super) fn mounted_at(path: &str) -> Result<Option<MountEntry>> {
    let mut mounts = mounts()?.into_iter();
    Ok(mounts.rfind(|entry| entry.point == path))
}

/// Parses a line of `mountinfo` (see `proc(5)`).
fn entry(line: &str) -> Option<MountEntry> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(4);
    let point = unescape(head.next()?);
    let mut tail = tail.split(' ').skip(1);
    let source = unescape(tail.next()?);
    let options = [head.next()?, tail.next()?];
    let options = options.iter().flat_map(|options| options.split(','));
    Some(MountEntry {
        point,
        source,
        options: options.map(str::to_owned).collect(),
    })
}

/// Replaces the octal escapes of space, tab, newline and backslash.
pub(super) fn unescape(text: &str) -> String {
    let pairs = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// True if a mount is of the source that the spec names.
pub(super) fn is_mount_of(found: &MountEntry, spec: &MountSpec) -> bool {
    let Some(source) = &spec.source else {
        return false;
    };
    if spec.is_bind() {
        let thing = |path: &str| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        return thing(source).is_some_and(|one| Some(one) == thing(&found.point));
    }
    let device = spec.device();
    found.source == *source
        || device.is_some_and(|device| is_same(&device, &found.source))
        || image_of(&found.source).is_some_and(|image| is_same(&image, source))
}

/// True if two paths lead to the same file or device.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let real = |path: &str| fs::canonicalize(path).ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

/// Returns the type of file system that `blkid` finds on a device, or an empty text if it knows none.
pub(super) fn type_on(sys: &Sys, device: &str) -> Result<String> {
    let words = ["-p", "-o", "value", "-s", "TYPE", "--", device];
    let output = Program::new("blkid", words)
        .limit(Duration::from_secs(30))
        .run(sys)?;
    Ok(output.stdout.trim().to_owned())
}

/// Returns the file that a loop device shows.
fn image_of(device: &str) -> Option<String> {
    let name = device.strip_prefix("/dev/loop")?;
    let file = format!("/sys/block/loop{name}/loop/backing_file");
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}

/// Options that the kernel shows as they were given.
const SHOWN_OPTIONS: [&str; 7] = [
    "ro",
    "rw",
    "nosuid",
    "nodev",
    "noexec",
    "noatime",
    "nodiratime",
];

/// Returns the options of a mount that the kernel shows as they were given, but for `rw`.
pub(super) fn flags(found: &MountEntry) -> Vec<String> {
    let has = |option: &&&str| found.options.iter().any(|one| one == **option);
    let flags = SHOWN_OPTIONS.iter().filter(|option| **option != "rw");
    flags.filter(has).map(|&option| option.to_owned()).collect()
}

/// Returns those of the spec's options that the mount doesn't have any more.
pub(super) fn lost_options(found: &MountEntry, spec: &MountSpec) -> Vec<String> {
    let is_lost = |option: &&String| match option.as_str() {
        "rw" => found.options.iter().any(|one| one == "ro"),
        option => SHOWN_OPTIONS.contains(&option) && !found.options.iter().any(|one| one == option),
    };
    spec.options.iter().filter(is_lost).cloned().collect()
}

/// Returns what uses a mount, in phrases for people: mounts below it, and processes.
pub(super) fn users_of(path: &str) -> Vec<String> {
    let below = format!("{path}/");
    let mounts = mounts().unwrap_or_default();
    let nested = mounts
        .iter()
        .filter(|entry| entry.point.starts_with(&below))
        .map(|entry| format!("the mount {}", entry.point));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| {
        let folder = process.path();
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(folder.join("fd")).into_iter().flatten();
        let files = files.flatten().map(|file| file.path());
        let links = ["cwd", "root", "exe"].map(|link| folder.join(link));
        let uses = |link: &Path| {
            let target = fs::read_link(link).unwrap_or_default();
            target.starts_with(path)
        };
        files.chain(links).any(|link| uses(&link)).then(|| {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            format!("{} (process {pid})", name.trim_end())
        })
    });
    nested.chain(processes).take(5).collect()
}

/// Returns a line of fstab with its number, if it concerns the host in the way that `concerns` tells from its
/// source, its directory and its type.
pub(super) fn fstab_line(
    text: &str,
    concerns: impl Fn(&str, &str, &str) -> bool,
) -> Option<String> {
    let is_it = |line: &str| {
        let mut words = line.split_whitespace().map(unescape);
        let (source, point, file_system) = (words.next()?, words.next()?, words.next()?);
        let point = match point.trim_end_matches('/') {
            "" => "/",
            point => point,
        };
        (!line.starts_with('#') && concerns(&source, point, &file_system)).then_some(())
    };
    let lines = text.lines().map(str::trim).enumerate();
    { lines }.find_map(|(at, line)| is_it(line).map(|()| format!("line {}: {line}", at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_with_spaces() {
        let line =
            r"36 35 98:0 /r /mnt/a\040b ro,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let found = entry(line).unwrap();
        assert_eq!(found.point, "/mnt/a b");
        assert_eq!(found.source, "/dev/root");
        assert_eq!(found.options, ["ro", "noatime", "rw", "errors=continue"]);
    }

    #[test]
    fn tells_which_options_a_mount_lost() {
        let spec = MountSpec {
            options: ["rw", "noatime", "nodev", "commit=30"]
                .map(str::to_owned)
                .to_vec(),
            ..MountSpec::default()
        };
        let found = MountEntry {
            point: "/a".to_owned(),
            source: "/dev/sda".to_owned(),
            options: ["ro", "noatime"].map(str::to_owned).to_vec(),
        };
        assert_eq!(lost_options(&found, &spec), ["rw", "nodev"]);
        assert_eq!(flags(&found), ["ro", "noatime"]);
    }

    #[test]
    fn finds_the_line_of_fstab() {
        let text =
            "# /srv/a on sdb\nUUID=1 / ext4 defaults 0 1\n/dev/sdb\t/srv/a\\040b/ ext4 noauto\n";
        let at = |wanted: &str| fstab_line(text, |_, point, _| point == wanted);
        assert_eq!(
            at("/srv/a b").unwrap(),
            "line 3: /dev/sdb\t/srv/a\\040b/ ext4 noauto"
        );
        assert!(at("/").unwrap().starts_with("line 2: "));
        assert_eq!(at("on"), None, "a comment is no line");
    }

    #[test]
    fn names_the_process_that_uses_a_folder() {
        let here = std::env::current_dir().unwrap();
        let users = users_of(here.to_str().unwrap());
        let me = format!("(process {})", std::process::id());
        let all = fs::read_dir("/proc").unwrap().count();
        assert!(
            users.len() == 5 || users.iter().any(|user| user.ends_with(&me)),
            "{users:?} of {all}"
        );
    }
}
