//! Checks the disk space for the ledger, so that a run fails before its first change if the disk is full or
//! read-only.

use plumb_api::Address;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::StatVfsMountFlags;
use serde::Serialize;

use super::Step;
use crate::book::{Desired, Home, Ledger, RESERVE};
use crate::error::{Result, fail};

/// Maximum size of a ledger record without its spec, in bytes; generously rounded up.
const PER_CHANGE: u64 = 4096;

/// Returns the maximum number of bytes that the ledger can need after this run. The journal needs at most the
/// same.
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

/// Returns the length of a value in JSON, in bytes.
fn size<T: Serialize>(value: &T) -> u64 {
    serde_json::to_vec(value).map_or(0, |bytes| bytes.len() as u64)
}

/// Fails if the ledger's file system is read-only, has less than [`RESERVE`] bytes free, or has no free
/// inode. Other file systems are checked for each change that writes to them.
pub(super) fn check(home: &Home) -> Result<()> {
    let room = home.dir().room()?;
    let path = crate::book::PATH;
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(AgentError::new(
            ErrorCode::ReadOnly,
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
