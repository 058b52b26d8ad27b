//! Putting a file in place: a temporary file on the same directory handle, synced, renamed.

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

use super::root::{Dir, Found};
use crate::error::{At, Result, fail};

/// Owner and bits of what is put in place. No ids: they stay the agent's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub uid: Option<RawUid>,
    pub gid: Option<RawGid>,
    pub mode: u32,
}

/// All bits but set-user-id and set-group-id.
const WITHOUT_SET_IDS: u32 = 0o1777;

impl Meta {
    /// For what is there already. Bits that aren't listed stay as they are, but for the set-id bits:
    /// they lend the owner and the group that they were set under. With another owner or group they
    /// go, or a user's own set-user-id program would become root's by a change of owner alone.
    pub(crate) fn over(
        found: &Found,
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
        let mode = listed.unwrap_or(kept);
        Self { uid, gid, mode }
    }

    /// For new bytes in the place of what is there, if there is anything. The set-id bits were given
    /// to the old bytes, so they go unless they are listed, as when a program is written to.
    pub(crate) fn anew(
        found: Option<&Found>,
        uid: Option<RawUid>,
        gid: Option<RawGid>,
        listed: Option<u32>,
    ) -> Self {
        let kept = found.map_or(0o644, |found| found.mode & WITHOUT_SET_IDS);
        let mode = listed.unwrap_or(kept);
        Self { uid, gid, mode }
    }

    /// Sets them on a file of our own making. Ownership first: `chown` clears the set-id bits that
    /// `chmod` may have to set.
    fn set(self, file: impl AsFd, path: &str) -> Result<()> {
        if self.uid.is_some() || self.gid.is_some() {
            let uid = self.uid.map(rustix::fs::Uid::from_raw);
            let gid = self.gid.map(rustix::fs::Gid::from_raw);
            fchown(&file, uid, gid).at("set the owner of", path)?;
        }
        fchmod(&file, Mode::from_raw_mode(self.mode)).at("set the mode of", path)
    }

    /// Sets them on what was there before. Neither owner may do at any moment what only the other
    /// may: before the change of owner the bits shrink to those that hold before and after it, and
    /// none of them is a set-id bit.
    pub(crate) fn give_over(self, file: impl AsFd, found: &Found, path: &str) -> Result<()> {
        let moves = self.uid.is_some_and(|uid| uid != found.uid)
            || self.gid.is_some_and(|gid| gid != found.gid);
        if moves {
            let shared = found.mode & self.mode & 0o777;
            fchmod(&file, Mode::from_raw_mode(shared)).at("set the mode of", path)?;
        }
        self.set(file, path)
    }
}

/// Copies to the end and says what it was.
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

/// Makes a file that wasn't there, readable by its owner alone.
pub(crate) fn create_new(dir: &Dir, leaf: &str) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd =
        openat(dir.fd(), leaf, flags, Mode::from_raw_mode(0o600)).at("make", &dir.path_of(leaf))?;
    Ok(fd.into())
}

/// A name in a directory whose file is replaced.
pub(crate) struct Spot<'a> {
    pub dir: &'a Dir,
    pub leaf: &'a str,
    /// The name that the new file has until it is whole.
    pub temporary: &'a str,
    /// What was there when it was looked at; none: nothing.
    pub before: Option<Found>,
}

/// A new file that isn't in place yet.
pub(crate) struct Candidate<'a> {
    pub file: &'a mut File,
    pub content: Content,
    /// Where it is now.
    pub path: String,
}

impl Candidate<'_> {
    /// Copies it to a file that the agent's user alone can reach; refused where it was written to.
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

/// Puts content in place: written beside, owned, accepted by `check`, synced, renamed over what was
/// there before and nothing else. The caller syncs the directory, once for all that it puts there.
pub(crate) fn replace(
    spot: &Spot<'_>,
    content: &mut dyn Read,
    expected: Option<Content>,
    meta: Meta,
    check: &mut dyn FnMut(Candidate<'_>) -> Result<()>,
) -> Result<()> {
    let Spot { dir, temporary, .. } = *spot;
    // One that a killed run left behind: the name is ours alone.
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
            // The first error is the one to tell; the leftover is removed by the next run.
            let _ = dir.unlink(temporary);
            Err(error)
        }
    }
}

/// What came of the rename.
enum Renamed {
    Yes,
    /// Something is mounted on the very file, so its name can't be given to another.
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
    let written = copy_hashed(content, file).at("write", &path)?;
    if expected.is_some_and(|expected| expected != written) {
        return fail(
            ErrorCode::MissingContent,
            format!("the content for {path} isn't what its name says"),
        );
    }
    meta.set(&*file, &path)?;
    check(Candidate {
        file,
        content: written,
        path: dir.path_of(temporary),
    })?;
    file.sync_all().at("write", &path)?;
    // In a folder of others, names may have been given to other files since.
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
    /// Refuses when what is there now isn't what was looked at.
    fn unchanged(&self, now: Option<Found>) -> Result<()> {
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
    // Written in place, so it must be the very file that was judged: not another one, no other kind.
    let found = spot.dir.look_at(&file, spot.leaf)?;
    spot.unchanged(Some(found))?;
    from.seek(SeekFrom::Start(0)).at("read", &path)?;
    let written = copy_hashed(from, &mut file).at("write", &path)?;
    file.set_len(written.size).at("write", &path)?;
    meta.give_over(&file, &found, &path)?;
    file.sync_all().at("write", &path)
}

#[cfg(test)]
mod tests;
