//! The agent's folder: root's alone, every file in it whole or not there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use plumb_api::Digest;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, openat, renameat};
use rustix::io::Errno;

use crate::error::{At, Result, fail};
use crate::sys::{Dir, FileKind, Sys, create_new};

/// Where it is.
pub(crate) const PATH: &str = "/var/lib/plumb";

/// No file of ours is longer; one that is was made by something else.
const MAX_FILE: u64 = 256 << 20;

/// The version of every format in the folder.
const VERSION: u32 = 1;

/// A handle on the folder.
pub(crate) struct Home {
    dir: Dir,
}

/// A lock that is held until this is dropped, or the process ends in whatever way.
pub(crate) struct Lock {
    _file: OwnedFd,
}

/// How durable a file of ours must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// It must be there after a power loss.
    Yes,
    /// It can be made again.
    No,
}

impl Home {
    /// The folder, if Plumb was ever here.
    pub(crate) fn open(sys: &Sys) -> Result<Option<Self>> {
        let Some(dir) = sys.root().directory(PATH)? else {
            return Ok(None);
        };
        let found = dir.itself()?;
        if found.uid != rustix::process::geteuid().as_raw() {
            return Err(AgentError::new(
                ErrorCode::UnsafePath,
                format!(
                    "{PATH} belongs to user {}, not to the user that the agent runs as",
                    found.uid
                ),
            )
            .hint(format!(
                "look at what made it, then `chown root:root {PATH}`"
            )));
        }
        if found.mode & 0o077 != 0 {
            fchmod(dir.fd(), Mode::from_raw_mode(0o700)).at("set the mode of", PATH)?;
        }
        Ok(Some(Self { dir }))
    }

    /// The folder, made if it isn't there.
    pub(crate) fn make(sys: &Sys) -> Result<Self> {
        if let Some(home) = Self::open(sys)? {
            return Ok(home);
        }
        let (above, leaf, _) = sys.root().make_parent(PATH)?;
        above.make_directory(leaf, 0o700)?;
        above.sync()?;
        match Self::open(sys)? {
            Some(home) => Ok(home),
            None => fail(ErrorCode::Io, format!("{PATH} vanished while it was made")),
        }
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> Result<Dir> {
        self.dir.make_directory(name, 0o700)?;
        self.dir.sub(name)
    }

    /// A file's bytes; none where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.dir.path_of(name);
        let Some(file) = self.dir.open(name)? else {
            return match self.dir.look(name)? {
                Some(found) if found.kind != FileKind::File => {
                    fail(ErrorCode::Io, format!("{path} is no regular file"))
                }
                _ => Ok(None),
            };
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE)
            .read_to_end(&mut bytes)
            .at("read", &path)?;
        Ok(Some(bytes))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], durable: Durable) -> Result<()> {
        write_whole(&self.dir, name, bytes, durable)
    }

    /// Takes a lock, waiting at most so long; none when another process kept it.
    pub(crate) fn lock(&self, name: &str, patience: Duration) -> Result<Option<Lock>> {
        let path = self.dir.path_of(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(self.dir.fd(), name, flags, Mode::from_raw_mode(0o600)).at("open", &path)?;
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock { _file: file })),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
                Err(errno) => return Err(errno).at("lock", &path),
            }
        }
    }
}

/// Writes a file of a folder of ours whole or not at all.
pub(crate) fn write_whole(dir: &Dir, name: &str, bytes: &[u8], durable: Durable) -> Result<()> {
    let temporary = format!("{name}.new");
    dir.unlink(&temporary)?;
    let mut file = create_new(dir, &temporary)?;
    put(dir, name, &temporary, &mut file, bytes, durable)
}

/// The same into a file that was made (and given its room) before.
pub(crate) fn put(
    dir: &Dir,
    name: &str,
    temporary: &str,
    file: &mut File,
    bytes: &[u8],
    durable: Durable,
) -> Result<()> {
    let path = dir.path_of(name);
    file.write_all(bytes).at("write", &path)?;
    file.set_len(bytes.len() as u64).at("write", &path)?;
    if durable == Durable::Yes {
        file.sync_all().at("write", &path)?;
    }
    renameat(dir.fd(), temporary, dir.fd(), name).at("replace", &path)?;
    if durable == Durable::Yes {
        dir.sync()?;
    }
    Ok(())
}

/// Puts a format's head before a payload: its name, its version, the payload's digest.
pub(crate) fn seal(format: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("plumb-{format} {VERSION} {}\n", Digest::of_bytes(payload)).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// What a sealed file is.
#[derive(Debug)]
pub(crate) enum Sealed<'a> {
    /// Whole.
    Sound(&'a [u8]),
    /// Not what was written.
    Corrupt,
}

/// Checks the head and gives the payload.
///
/// # Errors
/// [`ErrorCode::NewerFormat`] for a version that this agent doesn't know.
pub(crate) fn unseal<'a>(format: &str, bytes: &'a [u8]) -> Result<Sealed<'a>> {
    let Some(end) = bytes.iter().take(200).position(|b| *b == b'\n') else {
        return Ok(Sealed::Corrupt);
    };
    let head = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    let mut words = head.split(' ');
    let name = words.next().and_then(|word| word.strip_prefix("plumb-"));
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    let digest = words.next().and_then(|word| word.parse::<Digest>().ok());
    match (version, digest) {
        (Some(version), _) if name == Some(format) && version > VERSION => Err(AgentError::new(
            ErrorCode::NewerFormat,
            format!("the {format} in {PATH} has format {version}, this agent knows {VERSION}"),
        )
        .hint("a newer plumb drove this host: upgrade this controller")),
        (Some(_), Some(digest))
            if name == Some(format) && Digest::of_bytes(&bytes[end + 1..]) == digest =>
        {
            Ok(Sealed::Sound(&bytes[end + 1..]))
        }
        _ => Ok(Sealed::Corrupt),
    }
}
