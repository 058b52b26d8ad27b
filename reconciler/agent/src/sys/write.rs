//! Replaces files atomically: writes a temporary file in the same directory, syncs it and renames it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use plumb_api::Digest;
use plumb_api::report::ErrorCode;
use plumb_api::resource::Content;
use rustix::fs::{Mode, OFlags, fchmod, fchown, openat, renameat};
use rustix::io::Errno;
use rustix::process::{RawGid, RawUid};
use sha2::{Digest as _, Sha256};

use super::attributes::Attributes;
use super::root::{Dir, FileStat};
use crate::error::{At, Result, fail};

/// The owner, group and mode to set on a file. Without a uid or gid, the owner or group isn't changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub uid: Option<RawUid>,
    pub gid: Option<RawGid>,
    pub mode: Permissions,
}

/// Permission bits to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// The mode in the manifest. If the file has an ACL, the owning group's entry gets the group's bits.
    Listed(u32),
    /// The file's current mode. If the file has an ACL, these bits include its mask, and the ACL isn't
    /// changed.
    Kept(u32),
}

impl Permissions {
    fn bits(self) -> u32 {
        match self {
            Self::Listed(bits) | Self::Kept(bits) => bits,
        }
    }
}

/// All mode bits except set-user-id and set-group-id.
const WITHOUT_SET_IDS: u32 = 0o1777;

impl Meta {
    /// Returns the metadata to set on an existing file. Without a mode in `listed`, the file keeps its mode,
    /// but loses the set-id bits if its owner or group changes. Otherwise, changing the owner alone could
    /// turn a user's set-user-id program into root's.
    pub(crate) fn over(
        found: &FileStat,
        uid: Option<RawUid>,
        gid: Option<RawGid>,
        listed: Option<u32>,
    ) -> Self {
        let same = uid.is_none_or(|uid| uid == found.uid) && gid.is_none_or(|gid| gid == found.gid);
        let kept = if same {
            found.mode
        } else {
            found.mode & WITHOUT_SET_IDS
        };
        let mode = listed.map_or(Permissions::Kept(kept), Permissions::Listed);
        Self { uid, gid, mode }
    }

    /// Returns the metadata for a file with new bytes, which may replace the file `found`. The set-id bits
    /// were meant for the old bytes, so they are dropped unless `listed` has them, just as the kernel drops
    /// them when a program is written to.
    pub(crate) fn anew(
        found: Option<&FileStat>,
        uid: Option<RawUid>,
        gid: Option<RawGid>,
        listed: Option<u32>,
    ) -> Self {
        let kept = found.map_or(0o644, |found| found.mode & WITHOUT_SET_IDS);
        let mode = listed.map_or(Permissions::Kept(kept), Permissions::Listed);
        Self { uid, gid, mode }
    }

    /// Returns the mode from the manifest, or `None` if the manifest doesn't set it.
    pub(super) fn listed_mode(self) -> Option<u32> {
        match self.mode {
            Permissions::Listed(bits) => Some(bits),
            Permissions::Kept(_) => None,
        }
    }

    /// Sets the owner, group and mode of a file that the agent created. Sets the owner before the mode,
    /// because `chown` clears set-id bits that `chmod` may have to set.
    fn set(self, file: impl AsFd, path: &str) -> Result<()> {
        if self.uid.is_some() || self.gid.is_some() {
            let uid = self.uid.map(rustix::fs::Uid::from_raw);
            let gid = self.gid.map(rustix::fs::Gid::from_raw);
            fchown(&file, uid, gid).at("set the owner of", path)?;
        }
        fchmod(&file, Mode::from_raw_mode(self.mode.bits())).at("set the mode of", path)
    }

    /// Sets the owner, group and mode of an existing file. Neither the old nor the new owner may at any
    /// moment have permissions that only the other one should have. So, before the owner changes, the mode is
    /// reduced to the bits that both modes share, without set-id bits. `kept` are the attributes to set: the
    /// file's own or those of its original.
    pub(crate) fn give_over(
        self,
        file: impl AsFd,
        found: &FileStat,
        kept: Attributes,
        path: &str,
    ) -> Result<()> {
        let moves = self.uid.is_some_and(|uid| uid != found.uid)
            || self.gid.is_some_and(|gid| gid != found.gid);
        if moves {
            let shared = found.mode & self.mode.bits() & 0o777;
            fchmod(&file, Mode::from_raw_mode(shared)).at("set the mode of", path)?;
        }
        self.set(&file, path)?;
        kept.with(self).give_extended(file, path)
    }
}

/// Copies all bytes from `from` to `to`. Returns their digest and number.
pub(crate) fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<Content> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        size += count as u64;
    }
    Ok(Content {
        sha256: Digest::from_bytes(hasher.finalize().into()),
        size,
    })
}

/// Creates a new file that only the agent's user can access. Fails if the name exists already.
pub(crate) fn create_new(dir: &Dir, leaf: &str) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd =
        openat(dir.fd(), leaf, flags, Mode::from_raw_mode(0o600)).at("make", &dir.path_of(leaf))?;
    Ok(fd.into())
}

/// The place of a file that will be replaced.
pub(crate) struct Spot<'a> {
    pub dir: &'a Dir,
    pub leaf: &'a str,
    /// Name of the new file until it is complete.
    pub temporary: &'a str,
    /// Status of the current file when it was observed. `None` if there was none.
    pub before: Option<FileStat>,
    /// Attributes that the new file gets. `None` if there are none to preserve.
    pub kept: Option<Attributes>,
}

/// A new file that hasn't been renamed into place yet.
pub(crate) struct Candidate<'a> {
    pub file: &'a mut File,
    pub content: Content,
    /// The temporary path of the new file.
    pub path: String,
}

impl Candidate<'_> {
    /// Copies the new file to a folder that only the agent's user can access. Fails if somebody has changed
    /// its bytes. Returns the path of the copy.
    pub(crate) fn copy_to(&mut self, dir: &Dir, leaf: &str) -> Result<String> {
        let path = dir.path_of(leaf);
        dir.unlink(leaf)?;
        let mut copy = create_new(dir, leaf)?;
        self.file.seek(SeekFrom::Start(0)).at("read", &self.path)?;
        let copied = copy_hashed(self.file, &mut copy).at("write", &path)?;
        if copied != self.content {
            return fail(
                ErrorCode::PreconditionFailed,
                format!("{} was written to by someone else just now", self.path),
            );
        }
        Ok(path)
    }
}

/// Replaces a file: writes the content to a temporary file in the same directory, sets its metadata, calls
/// `check`, syncs it and renames it. Fails if the current file isn't the one that was observed. The caller
/// has to sync the directory, once for all its files.
pub(crate) fn replace(
    spot: &Spot<'_>,
    content: &mut dyn Read,
    expected: Option<Content>,
    meta: Meta,
    check: &mut dyn FnMut(Candidate<'_>) -> Result<()>,
) -> Result<()> {
    let Spot { dir, temporary, .. } = *spot;
    // A killed run may have left a temporary file. Only the agent uses this name.
    dir.unlink(temporary)?;
    let mut file = create_new(dir, temporary)?;
    let outcome = write_and_rename(spot, &mut file, content, expected, meta, check);
    match outcome {
        Ok(Renamed::Yes) => Ok(()),
        Ok(Renamed::MountedOver) => {
            let outcome = overwrite(spot, &mut file, meta);
            dir.unlink(temporary)?;
            outcome
        }
        Err(error) => {
            // Report the first error. If this fails too, the next run removes the file.
            let _ = dir.unlink(temporary);
            Err(error)
        }
    }
}

/// The result of renaming the temporary file.
enum Renamed {
    Yes,
    /// The file at the path is a mount point, so it can't be replaced by another file.
    MountedOver,
}

fn write_and_rename(
    spot: &Spot<'_>,
    file: &mut File,
    content: &mut dyn Read,
    expected: Option<Content>,
    meta: Meta,
    check: &mut dyn FnMut(Candidate<'_>) -> Result<()>,
) -> Result<Renamed> {
    let Spot {
        dir,
        leaf,
        temporary,
        ..
    } = *spot;
    let path = dir.path_of(leaf);
    if let Some(kept) = &spot.kept {
        kept.give_flags(&*file, &path)?;
    }
    let written = copy_hashed(content, file).at("write", &path)?;
    if expected.is_some_and(|expected| expected != written) {
        return fail(
            ErrorCode::MissingContent,
            format!("the content for {path} isn't what its name says"),
        );
    }
    meta.set(&*file, &path)?;
    if let Some(kept) = &spot.kept {
        kept.clone().with(meta).give_extended(&*file, &path)?;
    }
    check(Candidate {
        file,
        content: written,
        path: dir.path_of(temporary),
    })?;
    file.sync_all().at("write", &path)?;
    // If others may write to the folder, they may have moved other files to these names.
    let ours = dir.look_at(file, temporary)?;
    if !dir.look(temporary)?.is_some_and(|now| now.is(&ours)) {
        return replaced(&dir.path_of(temporary));
    }
    spot.unchanged(dir.look(leaf)?)?;
    match renameat(dir.fd(), temporary, dir.fd(), leaf) {
        Ok(()) => Ok(Renamed::Yes),
        Err(Errno::BUSY) => Ok(Renamed::MountedOver),
        Err(errno) => Err(errno).at("replace", &path),
    }
}

fn replaced<T>(path: &str) -> Result<T> {
    fail(
        ErrorCode::PreconditionFailed,
        format!("{path} was replaced just now"),
    )
}

impl Spot<'_> {
    /// Fails if the file at the path isn't the one that was observed.
    fn unchanged(&self, now: Option<FileStat>) -> Result<()> {
        let same = match (&self.before, &now) {
            (Some(before), Some(now)) => now.is(before) && now.kind == before.kind,
            (before, now) => before.is_none() && now.is_none(),
        };
        if same {
            return Ok(());
        }
        replaced(&self.dir.path_of(self.leaf))
    }
}

fn overwrite(spot: &Spot<'_>, from: &mut File, meta: Meta) -> Result<()> {
    let path = spot.dir.path_of(spot.leaf);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(spot.dir.fd(), spot.leaf, flags, Mode::empty()).at("open", &path)?;
    let mut file = File::from(fd);
    // The bytes are overwritten in place, so the opened file must be the one that was observed.
    let found = spot.dir.look_at(&file, spot.leaf)?;
    spot.unchanged(Some(found))?;
    from.seek(SeekFrom::Start(0)).at("read", &path)?;
    let written = copy_hashed(from, &mut file).at("write", &path)?;
    file.set_len(written.size).at("write", &path)?;
    let kept = match &spot.kept {
        Some(kept) => kept.clone(),
        None => Attributes::at(spot.dir, spot.leaf)?,
    };
    meta.give_over(&file, &found, kept, &path)?;
    file.sync_all().at("write", &path)
}

#[cfg(test)]
mod tests;
