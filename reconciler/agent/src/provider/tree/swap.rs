//! Exchanges a folder with the prepared one, and removes the files of a record.

use std::collections::BTreeSet;

use plumb_api::report::ErrorCode;
use rustix::fs::{Mode, RenameFlags, fchmod, renameat_with};

use super::changed::{below, split};
use super::inspect::{Rules, inspect};
use super::others::{self, Others, carry};
use super::record::{Node, Origin, Swap, TreeRecord};
use super::{Source, Stage, TREE, managed_elsewhere, stage_name};
use crate::error::{At, Result, fail};
use crate::provider::{ApplyContext, at_path};
use crate::sys::{Dir, FileKind};

/// Mode of a folder that Plumb makes.
const FOLDER_MODE: u32 = 0o755;

/// Puts the prepared files in place.
pub(super) fn install(
    cx: &mut ApplyContext<'_>,
    path: &str,
    source: &Source<'_>,
    stage: &Stage,
    record: Option<TreeRecord>,
) -> Result<()> {
    let (parent, leaf, _) = cx.sys.root().make_parent(path)?;
    let (uid, gid) = at_path::ids(cx.sys, &cx.accounts, source.owner, source.group, None, path)?;
    let (uid, gid) = (uid.unwrap_or(0), gid.unwrap_or(0));
    let mut name = TREE.to_owned();
    for level in 0..source.strip {
        let next = format!("strip-{level}");
        others::strip(&stage.dir, &name, &next, path)?;
        name = next;
    }
    let tree = stage.dir.sub(&name)?;
    let rules = Rules {
        uid,
        gid,
        source_type: source.kind,
        path,
    };
    let mut members = inspect(&tree, &rules)?;
    if members.is_empty() {
        return fail(
            ErrorCode::Refused,
            format!("nothing is left for {path}: the source is empty, or `strip` is too high"),
        );
    }
    let old = parent.look(leaf)?;
    let mut carried = Vec::new();
    let mut root = Origin::Plumb;
    if let Some(found) = &old {
        if found.kind != FileKind::Directory {
            return Err(at_path::in_the_way(path, found.kind, "a directory"));
        }
        let elsewhere = managed_elsewhere(cx.desired, path);
        let others = Others {
            record: record.as_ref(),
            elsewhere: &elsewhere,
            tree: &tree,
            path,
        };
        let theirs = parent.sub(leaf)?;
        carried = others.find(&theirs, &mut members)?;
        root = record.as_ref().map_or(Origin::Before, |record| record.root);
        if root == Origin::Before {
            others::give(&tree, &theirs)?;
        }
    }
    if root == Origin::Plumb {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(gid),
        );
        rustix::fs::fchown(tree.fd(), Some(uid), Some(gid)).at("set the owner of", path)?;
        fchmod(tree.fd(), Mode::from_raw_mode(FOLDER_MODE)).at("set the mode of", path)?;
    }
    let leaving = record.map_or_else(BTreeSet::new, |record| record.paths());
    let mut next = TreeRecord {
        path: path.to_owned(),
        source: source.id.clone(),
        strip: source.strip,
        uid,
        gid,
        root,
        members,
        swap: Some(Swap {
            old: old.map_or(0, |found| found.inode),
            carried,
            leaving,
        }),
    };
    // The files must be on disk before they replace others.
    rustix::fs::syncfs(tree.fd()).at("sync", path)?;
    next.write(cx.home)?;
    let flags = match old {
        Some(_) => RenameFlags::EXCHANGE,
        None => RenameFlags::NOREPLACE,
    };
    renameat_with(stage.dir.fd(), &*name, parent.fd(), leaf, flags)
        .at("put the folder in place at", path)?;
    if let (Some(swap), Some(_)) = (&next.swap, old) {
        let (theirs, ours) = (stage.dir.sub(&name)?, parent.sub(leaf)?);
        carry(&theirs, &ours, &swap.carried)?;
    }
    parent.sync()?;
    next.swap = None;
    next.write(cx.home)
}

/// Ends an exchange that was interrupted: what others had in the old folder moves into the new one.
pub(super) fn finish(cx: &mut ApplyContext<'_>, record: &TreeRecord) -> Result<()> {
    let Some(swap) = &record.swap else {
        return Ok(());
    };
    let Some((parent, leaf)) = cx.sys.root().parent(&record.path)? else {
        return Ok(());
    };
    let stage = stage_name(&record.path);
    let (Some(stage), Some(new)) = (below(&parent, &stage)?, below(&parent, leaf)?) else {
        return Ok(());
    };
    for name in stage.list_all()? {
        let is_old = stage
            .look(&name)?
            .is_some_and(|found| found.kind == FileKind::Directory && found.inode == swap.old);
        if is_old {
            carry(&stage.sub(&name)?, &new, &swap.carried)?;
        }
    }
    Ok(())
}

/// Removes the files of a record. What others have in the folder stays.
pub(super) fn remove(
    cx: &mut ApplyContext<'_>,
    record: &TreeRecord,
    elsewhere: &BTreeSet<String>,
) -> Result<()> {
    let Some((parent, leaf)) = cx.sys.root().parent(&record.path)? else {
        return record.remove(cx.home);
    };
    crate::sys::remove_tree(&parent, &stage_name(&record.path))?;
    if let Some(root) = below(&parent, leaf)? {
        // Backwards, a folder comes after everything in it.
        for path in record.paths().iter().rev() {
            if !elsewhere.contains(path) {
                remove_member(&root, path, record)?;
            }
        }
        if record.root == Origin::Plumb {
            parent.remove_directory(leaf)?;
        }
        at_path::keep_for_sync(cx, parent)?;
    }
    record.remove(cx.home)
}

fn remove_member(root: &Dir, path: &str, record: &TreeRecord) -> Result<()> {
    let (parent, leaf) = split(path);
    let Some(dir) = below(root, parent)? else {
        return Ok(());
    };
    let Some(found) = dir.look(leaf)? else {
        return Ok(());
    };
    let was_directory = record
        .members
        .get(path)
        .is_none_or(|member| member.node == Node::Directory);
    match (found.kind, was_directory) {
        // Others may have put something into the folder; then it stays.
        (FileKind::Directory, true) => dir.remove_directory(leaf).map(|_| ()),
        (FileKind::Directory, false) => Ok(()),
        _ => dir.unlink(leaf).map(|_| ()),
    }
}
