//! Checks the disk space of the ledger, so that a run meets a full or read-only disk before its first change.

use plumb_api::Address;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::StatVfsMountFlags;
use serde::Serialize;

use super::Step;
use crate::book::{Desired, Home, Ledger, RESERVE};
use crate::error::{Result, fail};

/// A generous bound for a record's size without its spec, in bytes.
const PER_CHANGE: u64 = 4096;

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

/// Checks that the ledger's file system is writable and has its reserve. Other file systems concern only the
/// changes that lie on them.
pub(super) fn check(home: &Home) -> Result<()> {
    let room = home.dir().room()?;
    let path = crate::book::PATH;
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(AgentError::new(
            ErrorCode::NoSpace,
            format!("the file system of {path}, which holds the ledger, is mounted read-only: nothing was changed"),
        )
        .hint("`dmesg` on the host may say why; remount it, or repair the disk"));
    }
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < RESERVE {
        return Err(AgentError::new(
            ErrorCode::NoSpace,
            format!(
                "the file system of {path}, which holds the ledger, has {} KiB free and needs {} KiB: nothing was changed",
                free >> 10,
                RESERVE >> 10
            ),
        )
        .hint("make room on the host"));
    }
    if room.f_files > 0 && room.f_favail == 0 {
        return fail(
            ErrorCode::NoSpace,
            format!(
                "the file system of {path}, which holds the ledger, has no inode free: nothing was changed"
            ),
        );
    }
    Ok(())
}
