//! Putting a file in place: a temporary file on the same directory handle, synced, renamed.

use std::fs::File;
use std::io::{Read, Write};

use plumb_api::Digest;
use plumb_api::report::ErrorCode;
use plumb_api::resource::Content;
use rustix::fs::{Mode, OFlags, fchmod, fchown, openat, renameat};
use rustix::io::Errno;
use rustix::process::{RawGid, RawUid};
use sha2::{Digest as _, Sha256};

use super::root::Dir;
use crate::error::{At, Result, fail};

/// Owner and bits of a file that is put in place. No ids: they stay the agent's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub uid: Option<RawUid>,
    pub gid: Option<RawGid>,
    pub mode: u32,
}

impl Meta {
    /// Ownership first: `chown` clears the set-user-id bit that `chmod` may have to set.
    pub(crate) fn set(self, file: &File, path: &str) -> Result<()> {
        if self.uid.is_some() || self.gid.is_some() {
            let uid = self.uid.map(rustix::fs::Uid::from_raw);
            let gid = self.gid.map(rustix::fs::Gid::from_raw);
            fchown(file, uid, gid).at("set the owner of", path)?;
        }
        fchmod(file, Mode::from_raw_mode(self.mode)).at("set the mode of", path)
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

/// Puts content in place: written beside, owned, accepted by `check` (which gets its path), synced,
/// renamed. The caller syncs the directory, once for all that it puts there.
pub(crate) fn replace(
    dir: &Dir,
    leaf: &str,
    temporary: &str,
    content: &mut dyn Read,
    expected: Option<Content>,
    meta: Meta,
    check: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let path = dir.path_of(leaf);
    // One that a killed run left behind: the name is ours alone.
    dir.unlink(temporary)?;
    let mut file = create_new(dir, temporary)?;
    let outcome = (|| {
        let written = copy_hashed(content, &mut file).at("write", &path)?;
        if expected.is_some_and(|expected| expected != written) {
            return fail(
                ErrorCode::MissingContent,
                format!("the content for {path} isn't what its name says"),
            );
        }
        meta.set(&file, &path)?;
        check(&dir.path_of(temporary))?;
        file.sync_all().at("write", &path)?;
        match renameat(dir.fd(), temporary, dir.fd(), leaf) {
            Ok(()) => Ok(true),
            // Something is mounted on the very file, so its name can't be given to another.
            Err(Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno).at("replace", &path),
        }
    })();
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => {
            let outcome = overwrite(dir, leaf, &mut file, meta);
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

fn overwrite(dir: &Dir, leaf: &str, from: &mut File, meta: Meta) -> Result<()> {
    use std::io::{Seek, SeekFrom};
    let path = dir.path_of(leaf);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(dir.fd(), leaf, flags, Mode::empty()).at("open", &path)?;
    let mut file = File::from(fd);
    from.seek(SeekFrom::Start(0)).at("read", &path)?;
    let written = copy_hashed(from, &mut file).at("write", &path)?;
    file.set_len(written.size).at("write", &path)?;
    meta.set(&file, &path)?;
    file.sync_all().at("write", &path)
}
