//! Checks the files of a source before they are put in place, and gives them their owner and mode.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::SetIds;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fchown, openat2};
use rustix::io::Errno;

use super::SourceType;
use super::record::{Member, Node, Stamp};
use crate::error::{At, Result};
use crate::sys::{Dir, FileKind, FileStat, copy_hashed};

/// Maximum depth of folders.
const MAX_DEPTH: usize = 60;

/// Maximum number of files. The record has an entry for each.
const MAX_MEMBERS: usize = 200_000;

/// First bytes of a file that stands for one on a Git LFS server.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The set-user-id and set-group-id bits.
const SET_IDS: u32 = 0o6000;

/// Permission bits that files of a source never get.
const OTHERS_WRITE: u32 = 0o022;

/// The owner of a source's files, and what they may be.
pub(super) struct Rules<'a> {
    pub uid: u32,
    pub gid: u32,
    pub source_type: SourceType,
    /// The final folder, for messages.
    pub path: &'a str,
}

/// Checks all files of a source, and gives them their owner and mode. Returns them by their relative path.
pub(super) fn inspect(tree: &Dir, rules: &Rules<'_>) -> Result<BTreeMap<String, Member>> {
    // Before any file gets another owner or mode: with a hard link, a file outside of the folder would get them.
    let mut linked = Linked::new();
    count_links(tree, "", 0, rules, &mut linked)?;
    for (seen, links, path) in linked.values() {
        if seen != links {
            return Err(rules.refuse(path, "is a hard link to a file outside of the folder"));
        }
    }
    let mut walk = Walk {
        tree,
        rules,
        members: BTreeMap::new(),
    };
    walk.folder(tree, "")?;
    Ok(walk.members)
}

/// Files with several links, by inode: the number of links that were found, the number of all links, and a path.
type Linked = BTreeMap<u64, (u64, u64, String)>;

/// Counts the links to the files in a folder and below it. Changes nothing.
fn count_links(
    dir: &Dir,
    prefix: &str,
    depth: usize,
    rules: &Rules<'_>,
    linked: &mut Linked,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(rules.refuse(prefix, "is nested too deeply"));
    }
    for name in dir.list_all()? {
        let path = join(prefix, &name);
        match dir.look(&name)? {
            Some(found) if found.kind == FileKind::Directory => {
                count_links(&dir.sub(&name)?, &path, depth + 1, rules, linked)?;
            }
            Some(found) if found.links > 1 => {
                let fresh = (0, found.links, path);
                linked.entry(found.inode).or_insert(fresh).0 += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    }
}

impl Rules<'_> {
    fn refuse(&self, member: &str, what: &str) -> AgentError {
        let source = match self.source_type {
            SourceType::Archive(_) => "archive",
            SourceType::Commit => "commit",
        };
        AgentError::new(
            ErrorCode::Refused,
            format!(
                "the {source} for {} is refused: `{member}` {what}",
                self.path
            ),
        )
        .hint(format!("use another {source}"))
    }
}

struct Walk<'a> {
    tree: &'a Dir,
    rules: &'a Rules<'a>,
    members: BTreeMap<String, Member>,
}

impl Walk<'_> {
    fn folder(&mut self, dir: &Dir, prefix: &str) -> Result<()> {
        for name in dir.list_all()? {
            let path = join(prefix, &name);
            let Some(found) = dir.look(&name)? else {
                continue;
            };
            let member = match found.kind {
                FileKind::Directory => {
                    let below = dir.sub(&name)?;
                    self.folder(&below, &path)?;
                    let mode = self.mode(&path, found.mode | 0o700)?;
                    self.give(&below, below.fd(), mode)?;
                    Member {
                        node: Node::Directory,
                        mode,
                        stamp: None,
                    }
                }
                FileKind::File => self.file(dir, &name, &path, &found)?,
                FileKind::Link => self.link(dir, &name, &path)?,
                FileKind::Other => {
                    return Err(self.rules.refuse(&path, "is a device, a pipe or a socket"));
                }
            };
            self.members.insert(path, member);
            if self.members.len() > MAX_MEMBERS {
                return Err(self
                    .rules
                    .refuse(prefix, "and others are more than 200,000 files"));
            }
        }
        Ok(())
    }

    fn file(&self, dir: &Dir, name: &str, path: &str, found: &FileStat) -> Result<Member> {
        let Some(mut file) = dir.open(name)? else {
            return Err(self.rules.refuse(path, "vanished"));
        };
        let mut head = Vec::new();
        let at = dir.path_of(name);
        file.by_ref()
            .take(LFS.len() as u64)
            .read_to_end(&mut head)
            .at("read", &at)?;
        if self.rules.source_type == SourceType::Commit && head == LFS && found.size < 1024 {
            return Err(self
                .rules
                .refuse(
                    path,
                    "is a Git LFS pointer, and only git's own files are fetched",
                )
                .hint("deliver the file by `archive`, or keep it in git itself"));
        }
        file.seek(SeekFrom::Start(0)).at("read", &at)?;
        let content = copy_hashed(&mut file, &mut std::io::sink()).at("read", &at)?;
        let mode = self.mode(path, found.mode)?;
        self.give(dir, &file, mode)?;
        let stamp = Stamp::of(&dir.look_at(&file, name)?);
        Ok(Member {
            node: Node::File(content),
            mode,
            stamp: (found.links == 1).then_some(stamp),
        })
    }

    fn link(&self, dir: &Dir, name: &str, path: &str) -> Result<Member> {
        let Some(target) = dir.target(name)? else {
            return Err(self.rules.refuse(path, "vanished"));
        };
        if matches!(self.rules.source_type, SourceType::Archive(_)) && self.leads_out(path, &target)
        {
            let what = format!("is a link to {target}, outside of the folder");
            return Err(self.rules.refuse(path, &what));
        }
        chownat(
            dir.fd(),
            name,
            Some(Uid::from_raw(self.rules.uid)),
            Some(Gid::from_raw(self.rules.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .at("set the owner of", &dir.path_of(name))?;
        Ok(Member {
            node: Node::Link(target),
            mode: 0,
            stamp: None,
        })
    }

    /// True if a link leads out of the tree: by its words, or by way of other links in the tree.
    fn leads_out(&self, path: &str, target: &str) -> bool {
        let mut depth = path.matches('/').count();
        for component in target.split('/') {
            match component {
                ".." if depth == 0 => return true,
                ".." => depth -= 1,
                "" | "." => {}
                _ => depth += 1,
            }
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let reached = openat2(self.tree.fd(), path, flags, Mode::empty(), resolve);
        // A link may dangle; its words stay inside.
        target.starts_with('/') || !matches!(reached, Ok(_) | Err(Errno::NOENT | Errno::NOTDIR))
    }

    /// Returns the permission bits for a file: those of the source, without the permission to write for
    /// others than the owner.
    fn mode(&self, path: &str, found: u32) -> Result<u32> {
        let mode = found & 0o6777 & !OTHERS_WRITE;
        if mode & SET_IDS == 0 {
            return Ok(mode);
        }
        match self.rules.source_type {
            SourceType::Archive(SetIds::Keep) => Ok(mode),
            SourceType::Commit => Ok(mode & !SET_IDS),
            SourceType::Archive(SetIds::Refuse) => Err(self
                .rules
                .refuse(path, "has the set-user-id or set-group-id bit")
                .hint("write `setIds: keep` if it is to have the bit")),
        }
    }

    fn give(&self, dir: &Dir, file: impl std::os::fd::AsFd, mode: u32) -> Result<()> {
        let path = dir.path_of("");
        let (uid, gid) = (Uid::from_raw(self.rules.uid), Gid::from_raw(self.rules.gid));
        fchown(&file, Some(uid), Some(gid)).at("set the owner of a file in", &path)?;
        fchmod(&file, Mode::from_raw_mode(mode)).at("set the mode of a file in", &path)
    }
}
