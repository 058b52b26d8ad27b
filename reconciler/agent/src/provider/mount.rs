//! `mount`: a `.mount` unit, and what the kernel has mounted at its place.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{MountObserved, MountSpec, MountState};
use plumb_api::{Address, Observed, Spec};

use super::own_unit::{OwnUnit, UnitState};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, at_path,
    each, mount_table, wrong_type,
};
use crate::error::Result;
use crate::sys::{FileKind, Program, Sys};

pub(crate) struct Mounts;

impl Provider for Mounts {
    /// systemd makes the directory of a mount.
    fn creation_path(&self, address: &Address) -> Option<String> {
        Some(format!("{}/", address.name()))
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        items.iter().map(|item| observe(cx.sys, item)).collect()
    }

    fn losses(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Vec<String> {
        let path = change.address.name();
        let (Spec::Mount(spec), Observed::Mount(found)) = (change.spec, change.observed) else {
            return Vec::new();
        };
        let comes = spec.state == MountState::Mounted && found.mounted.is_none();
        let is_filled = |names: Vec<String>| !names.is_empty();
        if comes && spec.original.is_none() && cx.sys.root().list(path).is_ok_and(is_filled) {
            vec![format!(
                "sight of what {path} has now, until it is unmounted"
            )]
        } else {
            Vec::new()
        }
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Mount(spec), Observed::Mount(found)) = (change.spec, change.observed) else {
            return wrong_type(change.address);
        };
        let path = change.address.name();
        at_path::check_change(cx, &unit_of(path).path(), FileKind::File, change)?;
        if spec.original.is_some() {
            return Ok(());
        }
        if let Some(line) = &found.fstab {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!(
                    "{} and /etc/fstab both decide about {path}: {line}",
                    change.address
                ),
            )
            .hint("remove the line of /etc/fstab, or the `mount` from git"));
        }
        if spec.state != MountState::Mounted {
            return Ok(());
        }
        let entry = cx.inputs.ledger.entry(change.address);
        let is_ours = entry.is_some_and(|entry| entry.original.is_some());
        match &found.mounted {
            Some(other) if Some(other) != spec.source.as_ref() && !is_ours => {
                return Err(AgentError::new(
                    ErrorCode::Refused,
                    format!("{other} is mounted at {path} already, and Plumb didn't mount it"),
                )
                .hint(format!(
                    "run `umount {path}` on the host, or write `source: {other}`"
                )));
            }
            _ => {}
        }
        check_links(path)?;
        check_source(cx.sys, spec)
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Mounts {
    fn full_spec(&self) -> Spec {
        Spec::Mount(MountSpec::default())
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let original = match original {
            Observed::Mount(original) => original.clone(),
            _ => MountObserved::default(),
        };
        Spec::Mount(MountSpec {
            state: original.state(),
            original: Some(Box::new(original)),
            ..MountSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Mount(original) = original else {
            return None;
        };
        match (&original.mounted, &original.unit) {
            (Some(source), _) => Some(format!("a mount of {source}")),
            (None, Some(_)) => Some("a unit that isn't mounted".to_owned()),
            (None, None) => None,
        }
    }
}

fn unit_of(path: &str) -> OwnUnit {
    OwnUnit::new(MountSpec::unit_name(path))
}

fn observe(sys: &Sys, item: &Item<'_>) -> Result<Observed> {
    let Spec::Mount(spec) = item.spec else {
        return wrong_type(item.address);
    };
    let path = item.address.name();
    let unit = unit_of(path);
    let fstab = sys.text("/etc/fstab").unwrap_or_default();
    let found = mount_table::mounted_at(path)?;
    let lost = |found| mount_table::lost_options(found, spec);
    Ok(Observed::Mount(MountObserved {
        unit: unit.text(sys)?,
        enabled: unit.is_enabled(sys, &MountSpec::TARGETS),
        lost_options: found.as_ref().map_or_else(Vec::new, lost),
        // Only an original and its restoration name no source, and only they compare all flags.
        flags: match (&found, &spec.source) {
            (Some(found), None) => mount_table::flags(found),
            _ => Vec::new(),
        },
        mounted: found.map(|found| match &spec.source {
            Some(source) if mount_table::is_mount_of(&found, spec) => source.clone(),
            _ => found.source,
        }),
        fstab: mount_table::fstab_line(&fstab, |_, point, _| point == path),
    }))
}

/// Fails if the directory of a mount is a link or lies below one, because systemd refuses it.
fn check_links(path: &str) -> Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
    let link = ends
        .chain([path.len()])
        .map(|end| &path[..end])
        .find(|part| {
            let found = std::fs::symlink_metadata(part);
            found.is_ok_and(|found| found.file_type().is_symlink())
        });
    let Some(link) = link else {
        return Ok(());
    };
    let real = std::fs::canonicalize(path).map(|real| real.display().to_string());
    Err(AgentError::new(
        ErrorCode::Refused,
        format!("{link} is a symbolic link, and systemd mounts only at a real path"),
    )
    .hint(match real {
        Ok(real) => format!("write `mount: {{{real}: …}}`"),
        Err(_) => format!("write the path that {link} leads to"),
    }))
}

/// Fails if the source isn't there, or has a file system of another type than the spec's.
fn check_source(sys: &Sys, spec: &MountSpec) -> Result<()> {
    let source = spec.source.as_deref().unwrap_or_default();
    let path = spec
        .device()
        .or_else(|| source.starts_with('/').then(|| source.to_owned()));
    let Some(path) = path else {
        return Ok(());
    };
    if std::fs::metadata(&path).is_err() {
        let (what, hint) = if spec.device().is_some() {
            (
                "device",
                "`lsblk --fs` on the host lists its devices".to_owned(),
            )
        } else {
            (
                "file or directory",
                format!("add `directory: {{{source}: {{}}}}`, or correct `source`"),
            )
        };
        let message = format!("the host has no {what} {source}");
        return Err(AgentError::new(ErrorCode::NotFound, message).hint(hint));
    }
    match spec.file_system.as_deref() {
        Some(wanted) if wanted != "auto" => check_type(sys, source, &path, wanted),
        _ => Ok(()),
    }
}

/// Fails unless a device has a file system of this type.
fn check_type(sys: &Sys, source: &str, device: &str, wanted: &str) -> Result<()> {
    let refused = |message: String, hint: String| {
        Err(AgentError::new(ErrorCode::Refused, message).hint(hint))
    };
    match mount_table::type_on(sys, device)?.as_str() {
        found if is_same_type(found, wanted) => Ok(()),
        "" => refused(
            format!("{source} has no file system that `blkid` knows"),
            format!("make one on the host: `mkfs -t {wanted} {device}` erases the device"),
        ),
        found => refused(
            format!("{source} has a file system of the type {found}, not {wanted}"),
            format!("write `type: {found}`, or name another device"),
        ),
    }
}

/// True if `blkid` calls the file systems of this driver so.
fn is_same_type(found: &str, driver: &str) -> bool {
    found == driver
        || found == "ntfs" && ["ntfs3", "ntfs-3g"].contains(&driver)
        || found == "vfat" && driver == "msdos"
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Mount(spec), Observed::Mount(found)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    let path = work.address.name();
    let unit = unit_of(path);
    let comes = spec.state == MountState::Mounted;
    let wanted = match &spec.original {
        Some(original) => state_of(original),
        None => UnitState {
            text: (spec.state != MountState::Absent).then(|| spec.unit_text(path)),
            enabled: comes,
        },
    };
    let renews = match &spec.original {
        Some(_) => work.changes("source"),
        // What was mounted by hand stays mounted when Plumb takes it over.
        None => found.mounted != spec.source || found.unit.is_some() && work.changes("type"),
    };
    if found.mounted.is_some() && (!comes || renews) {
        unmount(cx.sys, path)?;
        unit.await_stop(cx.sys)?;
    }
    unit.bring(cx, &state_of(found), &wanted)?;
    match &spec.original {
        _ if !comes => at_path::remove_made(cx, work.original)?,
        Some(original) => restore(cx.sys, path, original, found)?,
        None => mount(cx, work, spec, found)?,
    }
    Ok(Effect::Done)
}

fn state_of(observed: &MountObserved) -> UnitState {
    UnitState {
        text: observed.unit.clone(),
        enabled: observed.enabled,
    }
}

/// Mounts the file system, or remounts it if only its options changed.
fn mount(
    cx: &mut ApplyContext<'_>,
    work: &ItemChange<'_>,
    spec: &MountSpec,
    found: &MountObserved,
) -> Result<()> {
    let path = work.address.name();
    let unit = unit_of(path);
    if mount_table::mounted_at(path)?.is_none() {
        return unit.start(cx.sys);
    }
    if !work.changes("options") {
        return Ok(());
    }
    let before = found.options().unwrap_or_default();
    let outcome = unit
        .reload(cx.sys)
        .and_then(|()| drop_options(cx.sys, path, &before, spec));
    if outcome.is_err() && found.unit.is_some() {
        // The old text stays until the options are in force, so that the next run tries again.
        unit.put(cx, found.unit.as_deref())?;
    }
    outcome
}

/// Options that a remount keeps, each with the option that ends it.
const OPPOSITES: [(&str, &str); 6] = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    // `relatime` alone leaves `noatime` in force.
    ("noatime", "atime,relatime"),
    ("nodiratime", "diratime"),
];

/// Returns the options that end those which are in `before` and not in `after`.
fn opposites(before: &[&str], after: &[&str]) -> Vec<&'static str> {
    let is_ended = |(option, _): &&(&str, &str)| before.contains(option) && !after.contains(option);
    let ended = OPPOSITES.iter().filter(is_ended);
    ended.map(|(_, opposite)| *opposite).collect()
}

/// Takes the options from a mount that its unit had before and has no longer.
fn drop_options(sys: &Sys, path: &str, before: &str, spec: &MountSpec) -> Result<()> {
    let before: Vec<&str> = before.split(',').collect();
    let after: Vec<&str> = spec.options.iter().map(String::as_str).collect();
    remount(sys, path, &before, &opposites(&before, &after))
}

/// Mounts what a unit of others mounted before Plumb, or gives a mount the options back that it had.
fn restore(sys: &Sys, path: &str, original: &MountObserved, found: &MountObserved) -> Result<()> {
    if mount_table::mounted_at(path)?.is_none() {
        return unit_of(path).start(sys);
    }
    let before: Vec<&str> = found.flags.iter().map(String::as_str).collect();
    let after: Vec<&str> = original.flags.iter().map(String::as_str).collect();
    let mut options: Vec<&str> = opposites(&before, &after);
    options.extend(after.iter().filter(|flag| !before.contains(flag)));
    let unit_options = found.options().unwrap_or_default();
    let now: Vec<&str> = unit_options.split(',').collect();
    remount(sys, path, &now, &options)
}

/// Changes options of a mount. `now` has the options with which it was mounted.
fn remount(sys: &Sys, path: &str, now: &[&str], options: &[&str]) -> Result<()> {
    if options.is_empty() {
        return Ok(());
    }
    let is_bind = now.contains(&"bind") || now.contains(&"rbind");
    let bind = if is_bind { ",bind" } else { "" };
    let options = format!("remount{bind},{}", options.join(","));
    Program::new("mount", ["-o", &options, "--", path]).check(sys)?;
    Ok(())
}

/// Unmounts what is mounted at a path. Fails with [`ErrorCode::InUse`] if something uses it. `systemctl stop`
/// isn't used, because it would also stop the services that require the mount.
fn unmount(sys: &Sys, path: &str) -> Result<()> {
    let output = Program::new("umount", ["--", path]).run(sys)?;
    if output.status == 0 {
        return Ok(());
    }
    if !output.stderr.contains("busy") {
        return Err(AgentError::new(
            ErrorCode::CommandFailed,
            format!("cannot unmount {path}: {}", output.complaint()),
        ));
    }
    let users = mount_table::users_of(path);
    let users = if users.is_empty() {
        "something".to_owned()
    } else {
        users.join(", ")
    };
    Err(AgentError::new(
        ErrorCode::InUse,
        format!("cannot unmount {path}: {users} uses it"),
    )
    .hint(format!(
        "stop what uses {path}; Plumb tries again and never forces it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_one_file_system_match() {
        assert!(is_same_type("ext4", "ext4") && is_same_type("ntfs", "ntfs3"));
        assert!(!is_same_type("ext4", "xfs") && !is_same_type("", "ext4"));
    }

    #[test]
    fn options_that_leave_are_ended_by_their_opposites() {
        let before = ["noatime", "nosuid", "ro", "size=1m"];
        assert_eq!(opposites(&before, &["nosuid"]), ["rw", "atime,relatime"]);
        assert!(opposites(&[], &["ro"]).is_empty());
    }

    #[test]
    fn directory_below_a_link_is_refused_with_its_real_path() {
        let name = format!("plumb-mount-links-{}", std::process::id());
        let real = std::env::temp_dir().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(real.join("real/data")).unwrap();
        std::os::unix::fs::symlink("real", real.join("link")).unwrap();
        let text = |name: &str| real.join(name).to_str().unwrap().to_owned();
        assert!(check_links(&text("real/data")).is_ok());
        assert!(check_links(&text("real/new")).is_ok());
        let error = check_links(&text("link/data")).unwrap_err();
        assert!(error.message.contains("link is a symbolic link"), "{error}");
        assert!(error.hint.unwrap().contains(&text("real/data")));
        std::fs::remove_dir_all(real).unwrap();
    }
}
