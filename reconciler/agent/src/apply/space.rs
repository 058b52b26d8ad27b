//! Checks disk space, so that a run meets a full or read-only disk before its first change.

use std::collections::BTreeMap;

use plumb_api::Address;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{StatVfs, StatVfsMountFlags};
use serde::Serialize;

use super::Step;
use crate::book::{Desired, Home, Ledger};
use crate::error::{Result, fail};
use crate::provider;
use crate::sys::{Dir, Sys};

/// A generous bound for a record's size without its spec, in bytes.
const PER_CHANGE: u64 = 4096;

/// Bytes left free on each file system, for directory blocks and the file system's own journal.
const MARGIN: u64 = 256 << 10;

/// Returns the bytes that the ledger may need; the journal needs as many.
pub(super) fn room(
    ledger: &Ledger,
    steps: &[Step<'_>],
    desired: &Desired,
    confirm: &[Address],
) -> u64 {
    let specs: u64 = steps
        .iter()
        .map(|step| 2 * size(&*step.spec) + PER_CHANGE)
        .sum();
    let confirmed: u64 = confirm
        .iter()
        .filter_map(|address| desired.get(address))
        .map(|leaf| size(&leaf.spec) + PER_CHANGE)
        .sum();
    size(ledger) + specs + confirmed + (64 << 10)
}

/// Returns the length of a value as JSON.
fn size<T: Serialize>(value: &T) -> u64 {
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len() as u64)
}

/// A file system that the plan writes to.
struct Target {
    needs: u64,
    path: String,
    room: StatVfs,
}

/// Checks that every file system that the plan writes to is writable and has enough space.
pub(super) fn check(sys: &Sys, home: &Home, steps: &[Step<'_>]) -> Result<()> {
    let mut targets: BTreeMap<u64, Target> = BTreeMap::new();
    for step in steps {
        let address = &step.change.address;
        let Some(path) = provider::of(address.kind()).written(address) else {
            continue;
        };
        let Ok(Some((dir, folder))) = nearest(sys, &path) else {
            // A path that can't be walked fails its own change later.
            continue;
        };
        let new: u64 = step
            .spec
            .contents()
            .iter()
            .map(|content| content.size)
            .sum();
        let old = sys
            .root()
            .look(&path)
            .ok()
            .flatten()
            .map_or(0, |found| found.size);
        add(&mut targets, &dir, &folder, new)?;
        add(&mut targets, home.dir(), crate::book::PATH, old)?;
    }
    for target in targets.values() {
        enough(target)?;
    }
    Ok(())
}

/// Opens the nearest existing folder above a path.
fn nearest(sys: &Sys, path: &str) -> Result<Option<(Dir, String)>> {
    let mut folder = path;
    while let Some((above, _)) = folder.rsplit_once('/') {
        folder = above;
        let name = if folder.is_empty() { "/" } else { folder };
        if let Some(dir) = sys.root().directory(name)? {
            return Ok(Some((dir, name.to_owned())));
        }
    }
    Ok(None)
}

fn add(targets: &mut BTreeMap<u64, Target>, dir: &Dir, path: &str, needs: u64) -> Result<()> {
    let device = dir.itself()?.device;
    if let Some(target) = targets.get_mut(&device) {
        target.needs += needs;
        return Ok(());
    }
    let target = Target {
        needs,
        path: path.to_owned(),
        room: dir.room()?,
    };
    targets.insert(device, target);
    Ok(())
}

fn enough(target: &Target) -> Result<()> {
    let Target { needs, path, room } = target;
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(AgentError::new(
            ErrorCode::NoSpace,
            format!("the file system of {path} is mounted read-only: nothing was changed"),
        )
        .hint("`dmesg` on the host may say why; remount it, or repair the disk"));
    }
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < needs + MARGIN {
        return Err(AgentError::new(
            ErrorCode::NoSpace,
            format!(
                "the file system of {path} has {} KiB free, the plan needs {} KiB: nothing was changed",
                free >> 10,
                (needs + MARGIN) >> 10
            ),
        )
        .hint("make room on the host"));
    }
    if room.f_files > 0 && room.f_favail == 0 {
        return fail(
            ErrorCode::NoSpace,
            format!("the file system of {path} has no inode free: nothing was changed"),
        );
    }
    Ok(())
}
