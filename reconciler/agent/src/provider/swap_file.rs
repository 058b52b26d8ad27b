//! Swap files: how they are observed and made.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::SwapFile;
use rustix::fs::{FallocateFlags, IFlags, fallocate, fstatfs, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::ApplyContext;
use super::at_path::{in_the_way, keep_for_sync};
use crate::book::RESERVE;
use crate::error::{At, Result};
use crate::sys::{Dir, FileKind, Program, Sys, create_new, split};

/// Numbers of the file systems that can hold a swap file (statfs(2)).
const EXT: i64 = 0xEF53;
const XFS: i64 = 0x5846_5342;
const BTRFS: i64 = 0x9123_683E;
const F2FS: i64 = 0xF2F5_2010;

/// Sizes of a page of memory: `mkswap` writes its signature at the end of the first one.
const PAGES: [u64; 3] = [4 << 10, 16 << 10, 64 << 10];

const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";

/// Observes the file at a path. Returns `None` if there is none.
pub(super) fn observe(sys: &Sys, path: &str) -> Result<Option<SwapFile>> {
    let Some((dir, leaf)) = sys.root().parent(path)? else {
        return Ok(None);
    };
    let Some(file) = dir.open(leaf)? else {
        return Ok(None);
    };
    let found = dir.look_at(&file, leaf)?;
    Ok(Some(SwapFile {
        size: found.size,
        private: (found.mode & 0o077).count_ones() == 0 && found.uid == 0,
        signature: has_signature(&file),
    }))
}

fn has_signature(file: &File) -> bool {
    PAGES.iter().any(|page| {
        let mut found = [0; SIGNATURE.len()];
        let read = file.read_exact_at(&mut found, page - SIGNATURE.len() as u64);
        read.is_ok() && found == *SIGNATURE
    })
}

/// Fails if no swap file of this size can be made at the path. `freed` is the size of the file that it
/// replaces.
pub(super) fn check(sys: &Sys, path: &str, size: u64, freed: u64) -> Result<()> {
    let (folder, _) = split(path);
    let above = existing(sys, folder)?;
    if !sys.root().is_roots_alone(&above.path) {
        return Err(AgentError::new(
            ErrorCode::UnsafePath,
            format!(
                "others than root can write to {}, so {path} can't be swap",
                above.path
            ),
        )
        .hint("put the swap file into a folder of root's"));
    }
    let number = fstatfs(above.dir.fd())
        .at("ask for the file system of", &above.path)?
        .f_type;
    if ![EXT, XFS, BTRFS, F2FS].contains(&number) {
        let mount = sys.root().mount_point(path);
        return Err(AgentError::new(
            ErrorCode::Refused,
            format!("the file system of {mount} can't hold a swap file"),
        )
        .hint("put it on ext4, xfs, btrfs or f2fs, or use a device or `zram`"));
    }
    let room = above.dir.room()?;
    let free = room
        .f_bavail
        .saturating_mul(room.f_frsize)
        .saturating_add(freed);
    if free >= size.saturating_add(RESERVE) {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::NoSpace,
        format!(
            "{path} needs {} MiB, and {} has {} MiB free",
            size >> 20,
            sys.root().mount_point(path),
            free >> 20
        ),
    )
    .hint("make room on the host, or write a smaller `size`"))
}

/// A folder that exists, with its path.
struct Existing {
    dir: Dir,
    path: String,
}

/// Returns the nearest existing folder of a path.
fn existing(sys: &Sys, folder: &str) -> Result<Existing> {
    let mut path = folder;
    loop {
        if let Some(dir) = sys.root().directory(path)? {
            let path = path.to_owned();
            return Ok(Existing { dir, path });
        }
        path = split(path).0;
    }
}

/// Makes a swap file with all of its blocks, in place of one that is there.
pub(super) fn make(cx: &mut ApplyContext<'_>, path: &str, size: u64) -> Result<()> {
    let (dir, leaf, _) = cx.sys.root().make_parent(path)?;
    match dir.look(leaf)? {
        Some(found) if found.kind != FileKind::File => {
            return Err(in_the_way(path, found.kind, "a swap file"));
        }
        _ => dir.unlink(leaf)?,
    };
    let file = create_new(&dir, leaf)?;
    let made = fill(&file, path, size).and_then(|()| {
        // Only root can write to the folder, as `check` found, so the path is still this file.
        Program::new("mkswap", ["--", path]).check(cx.sys)
    });
    if let Err(error) = made {
        dir.unlink(leaf)?;
        return Err(error);
    }
    file.sync_all().at("sync", path)?;
    keep_for_sync(cx, dir)
}

/// Gives a new file its blocks. The kernel swaps to blocks, so they must never move.
fn fill(file: &File, path: &str, size: u64) -> Result<()> {
    let number = fstatfs(file).at("ask for the file system of", path)?.f_type;
    if number == BTRFS {
        // Only an empty file can leave copy on write.
        let flags = ioctl_getflags(file).at("read the attributes of", path)?;
        ioctl_setflags(file, flags | IFlags::NOCOW).at("turn off copy on write of", path)?;
    }
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) => zeros(file, size).at("write", path),
        Err(errno) => Err(errno).at("reserve the blocks of", path),
    }
}

fn zeros(mut file: &File, size: u64) -> std::io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(now).unwrap_or(zeros.len())])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_signature_of_mkswap() {
        let path = std::env::temp_dir().join(format!("plumb-swap-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        zeros(&file, 1 << 20).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        assert!(!has_signature(&file));
        file.write_all_at(SIGNATURE, (16 << 10) - 10).unwrap();
        assert!(has_signature(&file));
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        std::fs::remove_file(path).unwrap();
    }
}
