//! Finds what an administrator added to a host or changed on it, compared with what Debian installs.
//!
//! A source that can't be read contributes nothing, because the answer is a proposal that people complete.

use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::resource::{ServiceSpec, UnitSpec};
use plumb_api::{Address, Kind};

use crate::sys::{Accounts, FileKind, Program, Sys};

/// Folders that exist for the administrator's own files. A file in them that no package owns is a deviation.
const OWN_FOLDERS: [&str; 14] = [
    "/etc/apt/preferences.d",
    "/etc/apt/sources.list.d",
    "/etc/cron.d",
    "/etc/environment.d",
    "/etc/logrotate.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/profile.d",
    "/etc/ssh/sshd_config.d",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd/journald.conf.d",
    "/etc/tmpfiles.d",
    "/etc/udev/rules.d",
];

/// The ids that Debian gives to people and their groups (`adduser.conf`).
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=59_999;

/// Endings of the units whose files an administrator writes.
const UNIT_ENDINGS: [&str; 7] = [
    ".service", ".timer", ".socket", ".path", ".target", ".slice", ".mount",
];

/// Returns the addresses of what deviates, without those that have an invalid name.
pub(super) fn find(sys: &Sys) -> BTreeSet<Address> {
    let mut found = BTreeSet::new();
    let mut add = |kind: Kind, names: BTreeSet<String>| {
        found.extend(
            names
                .iter()
                .filter_map(|name| Address::new(kind, name).ok()),
        );
    };
    let units = own_units(sys);
    add(Kind::Package, chosen_packages(sys));
    add(Kind::Service, services(sys, &units));
    add(Kind::Unit, units);
    let accounts = Accounts::load(sys);
    let users = accounts
        .users
        .iter()
        .filter(|user| PEOPLE.contains(&user.uid));
    add(Kind::User, users.map(|user| user.name.clone()).collect());
    let groups = accounts
        .groups
        .iter()
        .filter(|group| PEOPLE.contains(&group.gid));
    add(
        Kind::Group,
        groups.map(|group| group.name.clone()).collect(),
    );
    let mut files = changed_configuration(sys);
    files.extend(own_files(sys));
    add(Kind::File, files);
    found
}

/// Returns what a program prints, or nothing if it fails.
fn printed(sys: &Sys, program: &str, words: &[&str]) -> String {
    let output = Program::new(program, words.iter().copied())
        .limit(Duration::from_secs(120))
        .run(sys);
    output.map(|output| output.stdout).unwrap_or_default()
}

/// Returns the packages that somebody asked for, without libraries and those of the base system. Some
/// installers mark every package as asked for.
fn chosen_packages(sys: &Sys) -> BTreeSet<String> {
    let format = "-f=${Package}\\t${Priority} ${Section}\\n";
    let base: BTreeSet<String> = printed(sys, "dpkg-query", &["-W", format])
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(_, classes)| {
            let mut classes = classes.split_whitespace();
            classes.any(|class| {
                ["required", "important", "standard", "libs", "oldlibs"].contains(&class)
            })
        })
        .map(|(package, _)| package.to_owned())
        .collect();
    printed(sys, "apt-mark", &["showmanual"])
        .lines()
        .filter(|package| !base.contains(package.split(':').next().unwrap_or(package)))
        .map(str::to_owned)
        .collect()
}

/// Returns the unit files and drop-ins in `/etc/systemd/system`.
fn own_units(sys: &Sys) -> BTreeSet<String> {
    let folder = UnitSpec::FOLDER;
    let mut units = BTreeSet::new();
    for name in sys.root().list(folder).unwrap_or_default() {
        if let Some(unit) = name.strip_suffix(".d").filter(|unit| is_unit(unit)) {
            let drop_ins = files_in(sys, &format!("{folder}/{unit}.d"));
            let names = drop_ins
                .iter()
                .filter_map(|name| name.strip_suffix(".conf"));
            units.extend(names.map(|drop_in| format!("{unit}.d/{drop_in}.conf")));
        }
    }
    units.extend(
        files_in(sys, folder)
            .into_iter()
            .filter(|name| is_unit(name)),
    );
    units
}

fn is_unit(name: &str) -> bool {
    UNIT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Returns the services that aren't enabled, disabled or masked as their packages would have it, and the
/// enabled ones among `own`.
fn services(sys: &Sys, own: &BTreeSet<String>) -> BTreeSet<String> {
    let words = ["list-unit-files", "--no-legend", "--no-pager", "--plain"];
    let kinds = ["--type=service,timer,socket,path"];
    printed(sys, "systemctl", &[&words[..], &kinds[..]].concat())
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            let (unit, state) = (columns.next()?, columns.next()?);
            let preset = columns.next().unwrap_or("-");
            let deviates = match state {
                "enabled" => preset == "disabled" || own.contains(unit),
                "disabled" => preset == "enabled",
                "masked" => sys
                    .root()
                    .look(&UnitSpec::path_in_folder(unit))
                    .ok()?
                    .is_some(),
                _ => false,
            };
            let is_template = unit.contains("@.");
            (deviates && !is_template).then(|| ServiceSpec::name_of(unit).to_owned())
        })
        .collect()
}

/// Returns the configuration files of packages that were changed.
fn changed_configuration(sys: &Sys) -> BTreeSet<String> {
    // A line is `??5?????? c /etc/motd`: the digest differs, and it is a configuration file.
    printed(sys, "dpkg", &["--verify"])
        .lines()
        .filter_map(|line| {
            let (marks, rest) = line.split_once(' ')?;
            let path = rest.trim_start().strip_prefix("c ")?.trim_start();
            (marks.contains('5') && path.starts_with('/')).then(|| path.to_owned())
        })
        .collect()
}

/// Returns the files in the administrator's folders that belong to no package.
fn own_files(sys: &Sys) -> BTreeSet<String> {
    let candidates: BTreeSet<String> = OWN_FOLDERS
        .iter()
        .flat_map(|folder| {
            let names = files_in(sys, folder).into_iter();
            names.map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    if candidates.is_empty() {
        return candidates;
    }
    let mut words = vec!["--search", "--"];
    words.extend(candidates.iter().map(String::as_str));
    // A line is `cron, anacron: /etc/cron.d/x`.
    let owned: BTreeSet<String> = printed(sys, "dpkg-query", &words)
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
        .collect();
    candidates.difference(&owned).cloned().collect()
}

/// Returns the names of the regular files in a folder.
fn files_in(sys: &Sys, folder: &str) -> BTreeSet<String> {
    let is_file = |name: &String| {
        let found = sys.root().look(&format!("{folder}/{name}"));
        matches!(found, Ok(Some(found)) if found.kind == FileKind::File)
    };
    let names = sys.root().list(folder).unwrap_or_default();
    names.into_iter().filter(is_file).collect()
}
