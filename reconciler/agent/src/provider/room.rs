//! Checks the file system that a change writes to: it must be writable and have enough space for the new
//! bytes.
//!
//! A read-only or full file system fails only the changes that write to it. Only the file system of Plumb's
//! ledger has a reserve, and stops the whole run if that is used up (`apply/space.rs`).

use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::{ItemChange, ObserveContext, Provider};
use crate::book::RESERVE;
use crate::error::Result;
use crate::sys::{FileKind, Root};

/// Fails if the file system that a change writes to is read-only or full, or if there isn't enough space to
/// store the original of the file that the change overwrites.
pub(super) fn check(
    provider: &dyn Provider,
    cx: &ObserveContext<'_>,
    change: &ItemChange<'_>,
) -> Result<()> {
    let Some(path) = provider.written(change) else {
        return Ok(());
    };
    let root = cx.sys.root();
    // If a folder of the path can't be opened, the change fails later with a more precise error.
    let Ok(Some(place)) = FileSystem::of(root, &path) else {
        return Ok(());
    };
    if place.is_read_only() {
        let mount = root.mount_point(&path);
        return Err(AgentError::new(
            ErrorCode::ReadOnly,
            format!("{path} can't be changed: {mount} is mounted read-only"),
        )
        .hint(format!(
            "run `mount -o remount,rw {mount}` on the host; `dmesg` shows if the kernel did it after an error"
        )));
    }
    if !change.changes("state") && !change.changes("content") {
        return Ok(());
    }
    let new: u64 = change
        .spec
        .contents()
        .iter()
        .map(|content| content.size)
        .sum();
    let ledger = FileSystem::of(root, crate::book::PATH).ok().flatten();
    let reserve = match &ledger {
        Some(ledger) if ledger.device == place.device => RESERVE,
        _ => 0,
    };
    let makes = !change.spec.wants_absent();
    let fits = new == 0 || place.free() >= place.rounded(new) + reserve;
    if makes && (!fits || !place.has_inode()) {
        return Err(full(root, &path, new, &place));
    }
    let old = original_size(cx, change, &path);
    match &ledger {
        Some(ledger) if old > 0 && ledger.free() < ledger.rounded(old) + RESERVE => {
            Err(AgentError::new(
                ErrorCode::NoSpace,
                format!(
                    "the original of {path} ({} KiB) doesn't fit beside the ledger on {}",
                    old.div_ceil(1024),
                    root.mount_point(crate::book::PATH)
                ),
            )
            .hint(
                "make room on the host, or remove the file there to manage it without its original",
            ))
        }
        _ => Ok(()),
    }
}

fn full(root: &Root, path: &str, needs: u64, place: &FileSystem) -> AgentError {
    let mount = root.mount_point(path);
    let message = if place.has_inode() {
        format!(
            "{path} needs {} KiB, and {mount} has {} KiB free",
            needs.div_ceil(1024),
            place.free() >> 10
        )
    } else {
        format!("{path} can't be written: {mount} has no inode free")
    };
    AgentError::new(ErrorCode::NoSpace, message).hint(format!("make room on {mount}"))
}

/// Returns the size of the file that a change overwrites, in bytes. Returns 0 if the file's original doesn't
/// have to be stored.
fn original_size(cx: &ObserveContext<'_>, change: &ItemChange<'_>, path: &str) -> u64 {
    let entry = cx.inputs.ledger.entry(change.address);
    let stored = entry.is_some_and(|entry| entry.original.is_some());
    let keeps = super::of(change.address.kind()).give_back().is_some();
    let desired = cx.inputs.desired.get(change.address).is_some();
    if stored || !keeps || !desired || change.address.kind().path(change.address.name()).is_none() {
        return 0;
    }
    let found = cx.sys.root().look(path).ok().flatten();
    found
        .filter(|found| found.kind == FileKind::File)
        .map_or(0, |found| found.size)
}

/// The file system of a path.
struct FileSystem {
    device: u64,
    room: StatVfs,
}

impl FileSystem {
    /// Returns the file system of the path itself if it exists, since a file can be a mount point. Otherwise
    /// returns that of the nearest existing folder above it.
    fn of(root: &Root, path: &str) -> Result<Option<Self>> {
        Ok(root
            .file_system(path)?
            .map(|(device, room)| Self { device, room }))
    }

    fn is_read_only(&self) -> bool {
        self.room.f_flag.contains(StatVfsMountFlags::RDONLY)
    }

    fn free(&self) -> u64 {
        self.room.f_bavail.saturating_mul(self.room.f_frsize)
    }

    fn rounded(&self, bytes: u64) -> u64 {
        bytes.next_multiple_of(self.room.f_frsize.max(1))
    }

    /// True if the file system has a free inode, or doesn't count inodes.
    fn has_inode(&self) -> bool {
        self.room.f_files == 0 || self.room.f_favail > 0
    }
}
