//! Resolves paths below a root directory to open directories.
//!
//! The agent runs as root in directories that others may write to, so it never lets the kernel follow links
//! on its own. Almost every path has no symbolic link before its last component, and one call of `openat2`
//! that rejects links (`RESOLVE_NO_SYMLINKS`, `RESOLVE_NO_MAGICLINKS`, `RESOLVE_IN_ROOT`) opens it. Otherwise
//! the agent walks component by component with `O_NOFOLLOW`. It follows a link only if the link belongs to
//! root and is in a directory that only root may write to, so that nobody else can have created it. If the
//! last component is a link, only [`Root::read`] follows it: only once, and by the same rule.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatVfs, StatxFlags, Uid, chownat,
    fchmod, fstat, fstatvfs, mkdirat, openat, openat2, readlinkat, statat, statx, unlinkat,
};
use rustix::io::Errno;

use crate::error::{At, Result, fail};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Maximum number of links that are followed for one path, as in the kernel.
const MAX_LINKS: u32 = 40;

/// The root directory of the driven machine.
pub(crate) struct Root {
    fd: OwnedFd,
    /// The uids whose links are followed: root and the user that the agent runs as, which is another user
    /// only in a sandbox.
    trusted: [u32; 2],
}

/// An open directory, with the path by which it was opened.
pub(crate) struct Dir {
    fd: OwnedFd,
    path: String,
}

/// The type of the file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

/// The fields of `stat` that the agent uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileStat {
    pub kind: FileKind,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub links: u64,
    pub size: u64,
    pub device: u64,
    pub inode: u64,
    /// The time at which the content was last modified: seconds and nanoseconds since 1970.
    pub modified: (i64, u64),
    /// The time at which the content or the status last changed. No program can set it.
    pub changed: (i64, u64),
}

impl FileStat {
    /// True if both are the same inode, whatever has changed in it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Returns the set-user-id and set-group-id bits that are set, as phrases for people.
    pub(crate) fn set_ids(&self) -> Vec<String> {
        [(0o4000, "set-user-id"), (0o2000, "set-group-id")]
            .iter()
            .filter(|(bit, _)| self.mode & bit != 0)
            .map(|(_, name)| format!("the {name} bit"))
            .collect()
    }

    // The types of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
    fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Link,
            _ => FileKind::Other,
        };
        Self {
            kind,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            links: stat.st_nlink as u64,
            size: stat.st_size as u64,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }
}

/// Splits a path into its folder and its last component.
pub(crate) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", leaf)) => ("/", leaf),
        Some((parent, leaf)) => (parent, leaf),
        None => ("/", path),
    }
}

impl Root {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let trusted = [0, rustix::process::geteuid().as_raw()];
        Self { fd, trusted }
    }

    /// Opens a directory. Returns `None` if it or a directory above it doesn't exist.
    pub(crate) fn directory(&self, path: &str) -> Result<Option<Dir>> {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = match openat2(&self.fd, path, DIRECTORY, Mode::empty(), resolve) {
            Ok(fd) => Some(fd),
            Err(Errno::NOENT) => None,
            // A component is a link or a file, or the kernel has no openat2: walk component by component.
            Err(_) => self.walk(path)?,
        };
        Ok(fd.map(|fd| Dir {
            fd,
            path: path.to_owned(),
        }))
    }

    /// Opens the folder of a path. Returns it with the path's last component, or `None` if the folder doesn't
    /// exist.
    pub(crate) fn parent<'p>(&self, path: &'p str) -> Result<Option<(Dir, &'p str)>> {
        let (parent, leaf) = split(path);
        Ok(self.directory(parent)?.map(|dir| (dir, leaf)))
    }

    /// Opens the folder of a path like [`parent`](Self::parent), but creates missing folders as `root:root
    /// 0755`. Also returns the created folders, topmost first.
    pub(crate) fn make_parent<'p>(&self, path: &'p str) -> Result<(Dir, &'p str, Vec<String>)> {
        let (parent, leaf) = split(path);
        let mut made = Vec::new();
        let dir = self.make_directory(parent, &mut made)?;
        Ok((dir, leaf, made))
    }

    fn make_directory(&self, path: &str, made: &mut Vec<String>) -> Result<Dir> {
        if let Some(dir) = self.directory(path)? {
            return Ok(dir);
        }
        let (above, leaf) = split(path);
        let dir = self.make_directory(above, made)?;
        dir.make_directory(leaf, 0o755)?;
        made.push(path.to_owned());
        match self.directory(path)? {
            Some(dir) => Ok(dir),
            None => fail(ErrorCode::Io, format!("{path} vanished while it was made")),
        }
    }

    /// Returns the status of the file at a path, or `None` if there is nothing. Doesn't follow a link at the
    /// last component.
    pub(crate) fn look(&self, path: &str) -> Result<Option<FileStat>> {
        match self.parent(path)? {
            Some((dir, leaf)) => dir.look(leaf),
            None => Ok(None),
        }
    }

    /// Returns the device number and the statistics of the file system that a path is on. If the path doesn't
    /// exist, uses the nearest existing folder above it.
    pub(crate) fn file_system(&self, path: &str) -> Result<Option<(u64, StatVfs)>> {
        let mut name = path;
        loop {
            let (above, leaf) = split(name);
            if let Some(dir) = self.directory(above)? {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inside = openat(&dir.fd, leaf, flags, Mode::empty()).ok();
                let inside = inside.and_then(|fd| {
                    let found = FileStat::of(&fstat(&fd).ok()?);
                    let own = matches!(found.kind, FileKind::File | FileKind::Directory);
                    own.then(|| Some((found.device, fstatvfs(&fd).ok()?)))?
                });
                return match inside {
                    Some(own) => Ok(Some(own)),
                    None => Ok(Some((dir.itself()?.device, dir.room()?))),
                };
            }
            if above == "/" {
                return Ok(None);
            }
            name = above;
        }
    }

    /// Returns the mount point of the file system that holds a path, for people.
    pub(crate) fn mount_point(&self, path: &str) -> String {
        let mount = |name: &str| {
            let (above, leaf) = split(name);
            if let Ok(Some(dir)) = self.directory(name) {
                return mount_id(&dir.fd, ".");
            }
            let dir = self.directory(above).ok()??;
            mount_id(&dir.fd, leaf)
        };
        let mut point = path;
        let mut here = mount(point);
        while point != "/" {
            let (above, _) = split(point);
            let there = mount(above);
            if here.is_some() && here != there {
                break;
            }
            (point, here) = (above, there);
        }
        point.to_owned()
    }

    /// Reads a regular file. Returns `None` if the path isn't a regular file or a link to one. Fails if the
    /// file is longer than `limit` bytes.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some((dir, leaf)) = self.parent(path)? else {
            return Ok(None);
        };
        let Some(file) = dir.open(leaf)? else {
            return self.read_through(&dir, leaf, limit);
        };
        read_bounded(file, limit, path).map(Some)
    }

    /// Reads the file that a link points to, if the link is safe to follow. Distributions ship some files as
    /// links, such as `/etc/os-release`.
    fn read_through(&self, dir: &Dir, leaf: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let is_link = dir
            .look(leaf)?
            .is_some_and(|found| found.kind == FileKind::Link);
        if !is_link {
            return Ok(None);
        }
        self.may_follow(dir.fd.as_fd(), leaf, &dir.path)?;
        let Some(target) = dir.target(leaf)? else {
            return Ok(None);
        };
        let path = absolute(&dir.path, &target);
        let Some((dir, leaf)) = self.parent(&path)? else {
            return Ok(None);
        };
        match dir.open(leaf)? {
            Some(file) => read_bounded(file, limit, &path).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the names in a directory, or no names if the directory doesn't exist.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>> {
        match self.directory(path)? {
            Some(dir) => dir.list(),
            None => Ok(Vec::new()),
        }
    }

    /// True if only root controls a folder: its path has no links, and nobody else may write to it or to a
    /// folder above it. Only then is it safe to pass the path of a file in it to a program.
    pub(crate) fn is_roots_alone(&self, folder: &str) -> bool {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let ends = folder.match_indices('/').map(|(at, _)| at.max(1));
        ends.chain([folder.len()]).all(|end| {
            openat2(&self.fd, &folder[..end], DIRECTORY, Mode::empty(), resolve)
                .and_then(fstat)
                .map(|stat| FileStat::of(&stat))
                .is_ok_and(|found| self.trusted.contains(&found.uid) && found.mode & 0o022 == 0)
        })
    }

    /// Fails unless a link is safe to follow: it belongs to root, and only root may write to its directory.
    /// In a sandbox, the agent's own user counts like root.
    fn may_follow(&self, dir: BorrowedFd<'_>, name: &str, path: &str) -> Result<()> {
        let folder = FileStat::of(&fstat(dir).at("look at", path)?);
        let link = FileStat::of(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).at("look at", path)?);
        let safe = self.trusted.contains(&link.uid)
            && self.trusted.contains(&folder.uid)
            && folder.mode & 0o022 == 0;
        if safe {
            return Ok(());
        }
        Err(AgentError::new(
            ErrorCode::UnsafePath,
            format!("{path}: `{name}` is a symbolic link that others than root could have made, so it isn't followed"),
        )
        .hint("name the path that it points to, or let root own the link and its folder"))
    }

    fn walk(&self, path: &str) -> Result<Option<OwnedFd>> {
        let mut stack: Vec<OwnedFd> = Vec::new();
        let mut todo: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                stack.pop();
                continue;
            }
            let here = stack.last().unwrap_or(&self.fd);
            match openat(here, name.as_str(), DIRECTORY, Mode::empty()) {
                Ok(fd) => stack.push(fd),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let found = statat(here, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                        .at("look at", path)?;
                    if FileStat::of(&found).kind != FileKind::Link {
                        return fail(
                            ErrorCode::Refused,
                            format!("{path}: `{name}` is not a directory"),
                        );
                    }
                    links += 1;
                    if links > MAX_LINKS {
                        return fail(
                            ErrorCode::UnsafePath,
                            format!("{path}: symbolic links in a circle"),
                        );
                    }
                    self.may_follow(here.as_fd(), &name, path)?;
                    let target = link_target(here.as_fd(), &name).at("read the link", path)?;
                    if target.starts_with('/') {
                        stack.clear();
                    }
                    todo.extend(components(&target).rev().map(str::to_owned));
                }
                Err(errno) => return Err(errno).at("open", path),
            }
        }
        match stack.pop() {
            Some(fd) => Ok(Some(fd)),
            None => openat(&self.fd, ".", DIRECTORY, Mode::empty())
                .at("open", path)
                .map(Some),
        }
    }
}

/// Returns the id of the mount that an entry is on. For a mount point, that is the mount of the file system
/// mounted there.
fn mount_id(dir: &OwnedFd, leaf: &str) -> Option<u64> {
    let found = statx(dir, leaf, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
}

/// Returns the target of a link in `folder` as an absolute path.
fn absolute(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if target.starts_with('/') { "" } else { folder };
    for part in components(base).chain(components(target)) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

fn read_bounded(file: std::fs::File, limit: u64, path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    if bytes.len() as u64 > limit {
        return fail(
            ErrorCode::Refused,
            format!("{path} is longer than {limit} bytes"),
        );
    }
    Ok(bytes)
}

fn link_target(dir: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let target = readlinkat(dir, name, Vec::new())?;
    target.into_string().map_err(|_| Errno::ILSEQ)
}

impl Dir {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the path of an entry, for people and for programs that take a path.
    pub(crate) fn path_of(&self, leaf: &str) -> String {
        format!("{}/{leaf}", self.path.trim_end_matches('/'))
    }

    pub(crate) fn look(&self, leaf: &str) -> Result<Option<FileStat>> {
        match statat(&self.fd, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileStat::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).at("look at", &self.path_of(leaf)),
        }
    }

    /// Opens a regular file for reading. Returns `None` if the entry doesn't exist or isn't a regular file.
    /// Never opens a device or a pipe, because that can have side effects.
    pub(crate) fn open(&self, leaf: &str) -> Result<Option<std::fs::File>> {
        let regular = self
            .look(leaf)?
            .is_some_and(|found| found.kind == FileKind::File);
        if !regular {
            return Ok(None);
        }
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(&self.fd, leaf, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(errno).at("open", &self.path_of(leaf)),
        };
        let found = FileStat::of(&fstat(&fd).at("look at", &self.path_of(leaf))?);
        Ok((found.kind == FileKind::File).then(|| fd.into()))
    }

    /// Returns the status of an open file. `leaf` is its name in this directory, for error messages.
    pub(crate) fn look_at(&self, file: &std::fs::File, leaf: &str) -> Result<FileStat> {
        Ok(FileStat::of(
            &fstat(file).at("look at", &self.path_of(leaf))?,
        ))
    }

    /// Returns the target of a link, or `None` if the entry isn't a link or doesn't exist.
    pub(crate) fn target(&self, leaf: &str) -> Result<Option<String>> {
        match link_target(self.fd.as_fd(), leaf) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno).at("read the link", &self.path_of(leaf)),
        }
    }

    /// Gives a new link the owner and group of the link that it will replace.
    pub(crate) fn give_link(&self, leaf: &str, before: &FileStat) -> Result<()> {
        let now = self.look(leaf)?;
        if now.is_some_and(|now| (now.uid, now.gid) == (before.uid, before.gid)) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(before.uid), Gid::from_raw(before.gid));
        chownat(
            &self.fd,
            leaf,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .at("set the owner of", &self.path_of(leaf))
    }

    /// Opens a subdirectory. Fails if the entry is a link.
    pub(crate) fn sub(&self, leaf: &str) -> Result<Dir> {
        let path = self.path_of(leaf);
        let fd = openat(&self.fd, leaf, DIRECTORY, Mode::empty()).at("open", &path)?;
        Ok(Dir { fd, path })
    }

    /// Returns the status of the directory itself.
    pub(crate) fn itself(&self) -> Result<FileStat> {
        Ok(FileStat::of(&fstat(&self.fd).at("look at", &self.path)?))
    }

    /// Creates a directory with exactly this mode, whatever the umask. An existing directory stays as it is.
    pub(crate) fn make_directory(&self, leaf: &str, mode: u32) -> Result<()> {
        match mkdirat(&self.fd, leaf, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let this = self.sub(leaf)?;
                if rustix::process::geteuid().is_root() {
                    // In a set-group-id folder, the new directory would get that folder's group.
                    rustix::fs::fchown(&this.fd, Some(Uid::ROOT), Some(Gid::ROOT))
                        .at("set the owner of", &this.path)?;
                }
                fchmod(&this.fd, Mode::from_raw_mode(mode)).at("set the mode of", &this.path)
            }
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).at("make the directory", &self.path_of(leaf)),
        }
    }

    /// Removes a file or a link. Returns false if it doesn't exist.
    pub(crate) fn unlink(&self, leaf: &str) -> Result<bool> {
        match unlinkat(&self.fd, leaf, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).at("remove", &self.path_of(leaf)),
        }
    }

    /// Removes a directory if it is empty. Returns false if it isn't empty or a file system is mounted there.
    pub(crate) fn remove_directory(&self, leaf: &str) -> Result<bool> {
        match unlinkat(&self.fd, leaf, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno).at("remove the directory", &self.path_of(leaf)),
        }
    }

    /// Makes changes of this directory's entries durable (`fsync`).
    pub(crate) fn sync(&self) -> Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Some file systems can't sync directories.
            Ok(()) | Err(Errno::INVAL | Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno).at("sync", &self.path),
        }
    }

    pub(crate) fn room(&self) -> Result<StatVfs> {
        fstatvfs(&self.fd).at("ask for the room in", &self.path)
    }

    /// Returns the names in the directory like [`list`](Self::list), but fails if one of them isn't UTF-8.
    pub(crate) fn list_all(&self) -> Result<Vec<String>> {
        let count = rustix::fs::Dir::read_from(&self.fd)
            .at("list", &self.path)?
            .flatten()
            .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
            .count();
        let names = self.list()?;
        if names.len() == count {
            return Ok(names);
        }
        fail(
            ErrorCode::Refused,
            format!("{} has a file whose name isn't UTF-8", self.path),
        )
    }

    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).at("list", &self.path)? {
            let entry = entry.at("list", &self.path)?;
            let name: &CStr = entry.file_name();
            if let Ok(name) = name.to_str() {
                if name != "." && name != ".." {
                    names.push(name.to_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }
}
