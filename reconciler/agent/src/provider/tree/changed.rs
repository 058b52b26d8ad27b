//! Finds the files of a record that are missing or were changed.

use std::collections::BTreeSet;

use super::record::{Member, Node, Stamp, TreeRecord};
use crate::error::{At, Result};
use crate::sys::{Dir, FileKind, copy_hashed};

/// Maximum number of changed files that are reported. Beyond it, the rest isn't observed.
const MAX_CHANGED: usize = 20;

/// Returns the paths of members that are missing or aren't as Plumb put them there, except those in
/// `elsewhere`.
pub(super) fn changed(
    record: &TreeRecord,
    root: &Dir,
    elsewhere: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let mut folder: Option<(&str, Option<Dir>)> = None;
    for (path, member) in &record.members {
        if elsewhere.contains(path) {
            continue;
        }
        let (parent, leaf) = split(path);
        let is_open = folder.as_ref().is_some_and(|(name, _)| *name == parent);
        if !is_open {
            folder = Some((parent, below(root, parent)?));
        }
        let dir = folder.as_ref().and_then(|(_, dir)| dir.as_ref());
        let same = match dir {
            Some(dir) => is_same(member, dir, leaf, record)?,
            None => false,
        };
        if !same {
            changed.push(path.clone());
            if changed.len() == MAX_CHANGED {
                break;
            }
        }
    }
    Ok(changed)
}

/// Splits a relative path into its folder, which may be empty, and its last component.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Opens a folder below another one. Returns `None` if a component doesn't exist or isn't a folder.
pub(super) fn below(root: &Dir, path: &str) -> Result<Option<Dir>> {
    let mut dir = root.sub(".")?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match dir.look(name)? {
            Some(found) if found.kind == FileKind::Directory => dir = dir.sub(name)?,
            _ => return Ok(None),
        }
    }
    Ok(Some(dir))
}

fn is_same(member: &Member, dir: &Dir, leaf: &str, record: &TreeRecord) -> Result<bool> {
    let Some(found) = dir.look(leaf)? else {
        return Ok(false);
    };
    if (found.uid, found.gid) != (record.uid, record.gid) {
        return Ok(false);
    }
    match &member.node {
        Node::Link(target) => {
            Ok(found.kind == FileKind::Link && dir.target(leaf)?.as_ref() == Some(target))
        }
        Node::Directory => Ok(found.kind == FileKind::Directory && found.mode == member.mode),
        Node::File(content) => {
            let alike = found.kind == FileKind::File
                && found.mode == member.mode
                && found.size == content.size;
            if !alike || member.stamp == Some(Stamp::of(&found)) {
                return Ok(alike);
            }
            let Some(mut file) = dir.open(leaf)? else {
                return Ok(false);
            };
            let path = dir.path_of(leaf);
            let now = copy_hashed(&mut file, &mut std::io::sink()).at("read", &path)?;
            Ok(now == *content)
        }
    }
}
