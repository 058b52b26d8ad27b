//! Metadata of files that Plumb doesn't manage but preserves when it writes: extended attributes (including
//! ACLs, security labels and capabilities) and file attributes (`chattr`).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{
    AtFlags, IFlags, StatxAttributes, StatxFlags, XattrFlags, fremovexattr, fsetxattr,
    ioctl_getflags, ioctl_setflags, lgetxattr, listxattr, llistxattr, lsetxattr, statx,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::acl::{ACCESS, Acl};
use super::root::Dir;
use super::write::Meta;
use crate::error::{At, Result};

/// File attributes that an administrator sets. The other attributes describe how the file system stores the
/// bytes.
const KEPT: IFlags = IFlags::COMPRESSED
    .union(IFlags::DIRSYNC)
    .union(IFlags::JOURNALING)
    .union(IFlags::NOATIME)
    .union(IFlags::NOCOW)
    .union(IFlags::NODUMP)
    .union(IFlags::NOTAIL)
    .union(IFlags::PROJECT_INHERIT)
    .union(IFlags::SECURE_REMOVAL)
    .union(IFlags::SYNC)
    .union(IFlags::TOPDIR)
    .union(IFlags::UNRM);

/// Extended attributes that the kernel computes from a file's bytes, so that they must not be copied to new
/// bytes.
const COMPUTED: &[&str] = &["security.ima", "security.evm"];

/// Maximum size of an extended attribute's value, and of the list of names, in bytes. These are the kernel's
/// own limits.
const MOST: usize = 64 << 10;

/// Extended attributes and file attributes of a file, a directory or a link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attributes {
    /// The extended attributes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extended: BTreeMap<String, Hex>,
    /// The file attributes that an administrator sets (`FS_*_FL`).
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u32,
}

// serde passes the field by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(flags: &u32) -> bool {
    *flags == 0
}

/// Bytes that the ledger has in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex(Vec<u8>);

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        hex.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` isn't hexadecimal");
        if text.len() % 2 != 0 || !text.is_ascii() {
            return Err(wrong());
        }
        let bytes = (0..text.len()).step_by(2);
        bytes
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// An attribute that forbids changes, even to root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// `chattr +i`
    Immutable,
    /// `chattr +a`
    AppendOnly,
}

/// True if the error means that the file system doesn't support this kind of attribute, or that the file
/// doesn't exist any more.
fn has_none(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NODATA | Errno::NOTSUP | Errno::NOSYS | Errno::NOTTY | Errno::INVAL | Errno::NOENT
    )
}

/// Returns a path of an entry that the kernel resolves from the open directory.
fn through_handle(dir: &Dir, leaf: &str) -> String {
    format!("/proc/self/fd/{}/{leaf}", dir.fd().as_raw_fd())
}

impl Attributes {
    /// Reads the attributes of an entry in `dir`, or of `dir` itself if `leaf` is `.`. Doesn't follow a link.
    pub(crate) fn at(dir: &Dir, leaf: &str) -> Result<Self> {
        let path = through_handle(dir, leaf);
        let shown = dir.path_of(leaf);
        let mut buffer = vec![0; MOST];
        let length = match llistxattr(&path, &mut buffer[..]) {
            Ok(length) => length,
            Err(errno) if has_none(errno) => 0,
            Err(errno) => return Err(errno).at("read the extended attributes of", &shown),
        };
        let mut extended = BTreeMap::new();
        for name in buffer[..length].split(|byte| *byte == 0) {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            if name.is_empty() || COMPUTED.contains(&name) {
                continue;
            }
            let mut value = vec![0; MOST];
            match lgetxattr(&path, name, &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    extended.insert(name.to_owned(), Hex(value));
                }
                Err(errno) if has_none(errno) => {}
                Err(errno) => return Err(errno).at("read the extended attributes of", &shown),
            }
        }
        // Opening a device or a pipe can have side effects, so only regular files and directories are opened.
        let flags = match dir.open(leaf) {
            Ok(Some(file)) => flags_of(&file),
            _ if leaf == "." => flags_of(dir.fd()),
            _ => IFlags::empty(),
        };
        Ok(Self {
            extended,
            flags: (flags & KEPT).bits(),
        })
    }

    /// Returns the attributes adapted to a mode that will be set: an ACL gets the permissions of the mode.
    pub(super) fn with(mut self, meta: Meta) -> Self {
        if meta.listed_mode().is_some() {
            // The ACLs of other systems (NFSv4, NTFS) represent the mode too, so the old ACL would undo the
            // new mode.
            let posix = "system.posix_acl_";
            let is_mode = |name: &str| name.starts_with("system.") && !name.starts_with(posix);
            self.extended.retain(|name, _| !is_mode(name));
        }
        let acl = self.extended.get(ACCESS).and_then(|acl| Acl::parse(&acl.0));
        if let (Some(acl), Some(mode)) = (acl, meta.listed_mode()) {
            self.extended
                .insert(ACCESS.to_owned(), Hex(acl.with_mode(mode).to_bytes()));
        }
        self
    }

    /// Sets the file attributes of a new, empty file. Some of them can't be set once the file has content.
    pub(super) fn give_flags(&self, file: impl AsFd, path: &str) -> Result<()> {
        let now = flags_of(&file);
        let kept = IFlags::from_bits_retain(self.flags) & KEPT;
        if now & KEPT == kept {
            return Ok(());
        }
        ioctl_setflags(&file, (now - KEPT) | kept).at("keep the file attributes of", path)
    }

    /// Sets the extended attributes that differ from those of an open file. Call this after setting owner and
    /// mode: `chown` removes capabilities, and `chmod` changes an ACL's mask.
    pub(super) fn give_extended(&self, file: impl AsFd, path: &str) -> Result<()> {
        let open = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        for (name, value) in &self.extended {
            let mut now = vec![0; MOST];
            let same = rustix::fs::getxattr(&open, name.as_str(), &mut now[..])
                .is_ok_and(|length| now[..length] == value.0);
            if !same {
                fsetxattr(&file, name.as_str(), &value.0, XattrFlags::empty())
                    .at(&format!("keep the extended attribute `{name}` of"), path)?;
            }
        }
        // A new file inherits an ACL from its folder. The other attributes of a new file come from the kernel
        // and its security modules, so they stay.
        let mut buffer = vec![0; MOST];
        let length = listxattr(&open, &mut buffer[..]).unwrap_or(0);
        let inherited = buffer[..length]
            .split(|byte| *byte == 0)
            .any(|name| name == ACCESS.as_bytes());
        if inherited && !self.extended.contains_key(ACCESS) {
            fremovexattr(&file, ACCESS).at("remove the inherited ACL of", path)?;
        }
        Ok(())
    }

    /// Sets the extended attributes of a new link before it is renamed into place.
    pub(crate) fn give_link(&self, dir: &Dir, leaf: &str, path: &str) -> Result<()> {
        for (name, value) in &self.extended {
            let link = through_handle(dir, leaf);
            let mut now = vec![0; MOST];
            let same = lgetxattr(&link, name.as_str(), &mut now[..])
                .is_ok_and(|length| now[..length] == value.0);
            if !same {
                lsetxattr(&link, name.as_str(), &value.0, XattrFlags::empty())
                    .at(&format!("keep the extended attribute `{name}` of"), path)?;
            }
        }
        Ok(())
    }
}

fn flags_of(file: impl AsFd) -> IFlags {
    // If the file system has no file attributes, the call fails.
    ioctl_getflags(file).unwrap_or(IFlags::empty())
}

impl Dir {
    /// Returns an entry's access ACL, or `None` if it has no ACL with a mask.
    pub(crate) fn acl(&self, leaf: &str) -> Option<Acl> {
        let mut value = vec![0; 1024];
        let path = through_handle(self, leaf);
        let length = match lgetxattr(&path, ACCESS, &mut value[..]) {
            Err(Errno::RANGE) => {
                value.resize(MOST, 0);
                lgetxattr(&path, ACCESS, &mut value[..]).ok()?
            }
            outcome => outcome.ok()?,
        };
        Acl::parse(&value[..length])
    }

    /// Returns the file attribute that forbids changes of an entry in this directory, if there is one. If
    /// `leaf` is `.`, checks this directory itself.
    pub(crate) fn locked(&self, leaf: &str) -> Option<Locked> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let found = statx(self.fd(), leaf, flags, StatxFlags::empty())
            .ok()?
            .stx_attributes;
        if found.contains(StatxAttributes::IMMUTABLE) {
            Some(Locked::Immutable)
        } else if found.contains(StatxAttributes::APPEND) {
            Some(Locked::AppendOnly)
        } else {
            None
        }
    }
}
