//! The agent's folder. Only root can access it, and each file is replaced as a whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use plumb_api::Digest;
use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, openat, renameat};
use rustix::io::Errno;

use crate::error::{At, Result, fail};
use crate::sys::{Dir, FileKind, Sys, create_new, remove_tree};

/// Path of the agent's folder.
pub(crate) const PATH: &str = "/var/lib/plumb";

/// Maximum number of bytes that are read from a file. The agent's own files are shorter.
const MAX_FILE: u64 = 256 << 20;

/// Version of all file formats in the agent's folder.
const VERSION: u32 = 1;

/// Subfolders of the agent's folder.
const FOLDERS: &[&str] = &[
    "agents",
    "candidates",
    "compose",
    "originals",
    "preimages",
    "state",
    "templates",
    "trees",
];

/// Files in the agent's folder, including the temporary names that they have while they are written.
const FILES: &[&str] = &[
    "journal.new",
    "journal",
    "ledger.new",
    "ledger.a",
    "ledger.b",
    "dead-man.new",
    "dead-man",
    "dead-man.agent.new",
    "dead-man.agent",
    "reverted.new",
    "reverted",
    "lock",
    "holder.new",
    "holder",
    "holder.lock",
    "boot-agent.new",
    "boot-agent",
    "age-key.new",
    "age-key",
    "age-key.lock",
];

/// A handle on the agent's folder.
pub(crate) struct Home {
    dir: Dir,
}

/// An exclusive lock on a file, released when this value is dropped or when the process ends for any reason.
pub(crate) struct Lock {
    _file: OwnedFd,
}

/// The durability that a file of the agent needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// The file must survive a power loss.
    Yes,
    /// The file may be lost, because it can be created again.
    No,
}

impl Home {
    /// Opens the agent's folder and restricts its mode to the owner. Returns `None` if it doesn't exist.
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

    /// Opens the agent's folder, and creates it if it doesn't exist.
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

    /// Opens a subfolder, and creates it if it doesn't exist.
    pub(crate) fn folder(&self, name: &str) -> Result<Dir> {
        self.dir.make_directory(name, 0o700)?;
        self.dir.sub(name)
    }

    /// Reads a file. Returns `None` if it doesn't exist.
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

    /// Removes all of the agent's files, including the agent's program. Also removes the agent's folder if
    /// nothing else is in it.
    pub(crate) fn leave(&self, sys: &Sys) -> Result<()> {
        for folder in FOLDERS {
            remove_tree(&self.dir, folder)?;
        }
        // `FILES` has the holder after the ledger: as long as the holder's file exists, no other controller
        // can claim the host.
        for file in FILES {
            self.dir.unlink(file)?;
        }
        if let Some((above, leaf)) = sys.root().parent(PATH)? {
            above.remove_directory(leaf)?;
            above.sync()?;
        }
        Ok(())
    }

    /// Takes the lock on a file. Returns `None` if another process still holds it after `patience`.
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

/// Replaces the file `name` in `dir`, as a whole or not at all.
pub(crate) fn write_whole(dir: &Dir, name: &str, bytes: &[u8], durable: Durable) -> Result<()> {
    let temporary = format!("{name}.new");
    dir.unlink(&temporary)?;
    let mut file = create_new(dir, &temporary)?;
    put(dir, name, &temporary, &mut file, bytes, durable)
}

/// Writes `bytes` to an open temporary file (which may have space reserved) and renames it to `name`.
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

/// Puts a header before a payload: the format's name, its version, the payload's digest.
pub(crate) fn seal(format: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("plumb-{format} {VERSION} {}\n", Digest::of_bytes(payload)).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The result of checking a file with a header.
#[derive(Debug)]
pub(crate) enum Sealed<'a> {
    /// The payload, which has the header's digest.
    Sound(&'a [u8]),
    /// The header is invalid, or the payload doesn't have the header's digest.
    Corrupt,
}

/// Checks the header of a file and returns its payload.
///
/// # Errors
/// [`ErrorCode::NewerFormat`] if the agent doesn't know the version because it is too new.
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
