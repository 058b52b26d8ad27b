//! What others have put into a folder, and what becomes of it when the folder is exchanged.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{Gid, Mode, RenameFlags, Uid, fchmod, fchown, renameat, renameat_with};

use super::changed::{below, split};
use super::record::{Member, Node, TreeRecord};
use crate::error::{At, Result};
use crate::sys::{Dir, FileKind, copy_hashed};

/// Finds what others have in the old folder.
pub(super) struct Others<'a> {
    /// The record of what Plumb put into the old folder.
    pub record: Option<&'a TreeRecord>,
    /// Paths that other resources manage. They stay as they are.
    pub elsewhere: &'a BTreeSet<String>,
    /// The new folder before the exchange.
    pub tree: &'a Dir,
    /// The final path, for messages.
    pub path: &'a str,
}

impl Others<'_> {
    /// Returns the paths that move into the new folder. Takes them out of `members`, the new folder's files.
    /// Fails if something of others is where the source has something else.
    pub(super) fn find(
        &self,
        old: &Dir,
        members: &mut BTreeMap<String, Member>,
    ) -> Result<Vec<String>> {
        let mut carried = Vec::new();
        self.folder(old, "", members, &mut carried)?;
        Ok(carried)
    }

    fn folder(
        &self,
        old: &Dir,
        prefix: &str,
        members: &mut BTreeMap<String, Member>,
        carried: &mut Vec<String>,
    ) -> Result<()> {
        for name in old.list_all()? {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}/{name}")
            };
            let Some(found) = old.look(&name)? else {
                continue;
            };
            let is_directory = found.kind == FileKind::Directory;
            let is_ours = self.record.is_some_and(|record| record.has(&path));
            if self.elsewhere.contains(&path) && !is_directory {
                members.remove(&path);
                carried.push(path);
                continue;
            }
            if is_ours {
                if is_directory {
                    self.folder(&old.sub(&name)?, &path, members, carried)?;
                }
                continue;
            }
            match members.get(&path).map(|member| member.node.clone()) {
                None => carried.push(path),
                Some(Node::Directory) if is_directory => {
                    members.remove(&path);
                    let sub = old.sub(&name)?;
                    self.adopt(&sub, &path)?;
                    self.folder(&sub, &path, members, carried)?;
                }
                Some(node) if is_same(old, &name, &node)? => {
                    members.remove(&path);
                    carried.push(path);
                }
                Some(_) => return Err(self.in_the_way(&path)),
            }
        }
        Ok(())
    }

    /// Gives a folder of the source the owner and mode of the one that others have there.
    fn adopt(&self, theirs: &Dir, path: &str) -> Result<()> {
        match below(self.tree, path)? {
            Some(ours) => give(&ours, theirs),
            None => Ok(()),
        }
    }

    fn in_the_way(&self, path: &str) -> AgentError {
        AgentError::new(
            ErrorCode::Refused,
            format!(
                "{}/{path} isn't Plumb's, and differs from what is to be there: it isn't replaced",
                self.path
            ),
        )
        .hint("move it away on the host")
    }
}

/// True if the file or link of others is the same as that of the source.
fn is_same(old: &Dir, name: &str, node: &Node) -> Result<bool> {
    match node {
        Node::Directory => Ok(false),
        Node::Link(target) => Ok(old.target(name)?.as_ref() == Some(target)),
        Node::File(content) => {
            let Some(mut file) = old.open(name)? else {
                return Ok(false);
            };
            let path = old.path_of(name);
            Ok(copy_hashed(&mut file, &mut std::io::sink()).at("read", &path)? == *content)
        }
    }
}

/// Gives a folder the owner and mode of another one.
pub(super) fn give(to: &Dir, from: &Dir) -> Result<()> {
    let found = from.itself()?;
    let (uid, gid) = (Uid::from_raw(found.uid), Gid::from_raw(found.gid));
    let path = to.path_of("");
    fchown(to.fd(), Some(uid), Some(gid)).at("set the owner of", &path)?;
    fchmod(to.fd(), Mode::from_raw_mode(found.mode)).at("set the mode of", &path)
}

/// Moves what others have from the old folder to the new one. What was moved already is left out.
pub(super) fn carry(old: &Dir, new: &Dir, carried: &[String]) -> Result<()> {
    for path in carried {
        let (parent, leaf) = split(path);
        let Some(from) = below(old, parent)? else {
            continue;
        };
        if from.look(leaf)?.is_none() {
            continue;
        }
        let to = make(old, new, parent)?;
        renameat(from.fd(), leaf, to.fd(), leaf).at("keep", &to.path_of(leaf))?;
    }
    Ok(())
}

/// Opens a folder of the new tree, and makes it like that of the old tree if it is missing.
fn make(old: &Dir, new: &Dir, path: &str) -> Result<Dir> {
    let (mut from, mut to) = (old.sub(".")?, new.sub(".")?);
    for name in path.split('/').filter(|name| !name.is_empty()) {
        from = from.sub(name)?;
        if to.look(name)?.is_none() {
            to.make_directory(name, 0o700)?;
            give(&to.sub(name)?, &from)?;
        }
        to = to.sub(name)?;
    }
    Ok(to)
}

/// Leaves out a number of leading folders: moves everything below them into a new folder `to`. What isn't in
/// such a folder is left out, as `tar --strip-components` does.
pub(super) fn strip(stage: &Dir, tree: &str, to: &str, path: &str) -> Result<()> {
    stage.make_directory(to, 0o700)?;
    let (from, into) = (stage.sub(tree)?, stage.sub(to)?);
    for folder in from.list_all()? {
        let is_directory = from
            .look(&folder)?
            .is_some_and(|found| found.kind == FileKind::Directory);
        if !is_directory {
            continue;
        }
        let sub = from.sub(&folder)?;
        for name in sub.list_all()? {
            renameat_with(sub.fd(), &*name, into.fd(), &*name, RenameFlags::NOREPLACE).map_err(
                |_| {
                    AgentError::new(
                        ErrorCode::Refused,
                        format!("the archive for {path} has `{name}` in two of the folders that `strip` leaves out"),
                    )
                    .hint("lower `strip`")
                },
            )?;
        }
    }
    Ok(())
}
