//! Folders whose files come from a source: an archive, or a commit.
//!
//! The agent puts the files of a source into a folder beside the final one, checks them, gives them their owner
//! and mode, and then exchanges the two folders in one step. It records the digest of each file outside of the
//! folder. Everything in the folder that isn't in the record belongs to others: it moves into the new folder
//! and stays when the resource is removed.

mod changed;
mod inspect;
mod others;
mod provider;
mod record;
mod swap;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use plumb_api::Kind;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Principal, SetIds, TreeObserved};

pub(super) use self::provider::{TreeSpec, Trees};
use self::record::TreeRecord;
use super::at_path;
use super::{ApplyContext, Effect, ItemChange, ObserveContext};
use crate::book::{Desired, Home};
use crate::error::Result;
use crate::sys::{Dir, FileKind, split};

/// The type of a source, which decides what its files may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceType {
    /// An archive: links stay inside the folder.
    Archive(SetIds),
    /// A commit: links are as in the repository, and Git LFS pointers are refused.
    Commit,
}

/// The files to put into a folder.
pub(super) struct Source<'a> {
    /// The name of the source: a digest or a commit.
    pub id: String,
    /// The number of leading folders to leave out.
    pub strip: u8,
    pub kind: SourceType,
    pub owner: Option<&'a Principal>,
    pub group: Option<&'a Principal>,
}

/// The folder in which the files of a source are prepared. Only root can access it.
pub(super) struct Stage {
    dir: Dir,
}

/// Name of the prepared files in the stage.
const TREE: &str = "tree";

impl Stage {
    /// Returns the folder for working files.
    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns the path of a working file.
    pub(super) fn path_of(&self, leaf: &str) -> String {
        self.dir.path_of(leaf)
    }

    /// Returns the path of the folder for the source's files.
    pub(super) fn tree(&self) -> String {
        self.dir.path_of(TREE)
    }
}

/// Returns the name of the stage beside a folder. Each folder has its own, because after an interruption its
/// stage may hold the files of others.
fn stage_name(path: &str) -> String {
    let digest = plumb_api::Digest::of_bytes(path.as_bytes()).to_string();
    format!(".plumb-tree-{}", &digest[..12])
}

/// Returns the paths below a folder that other desired resources manage, relative to the folder.
fn managed_elsewhere(desired: &Desired, path: &str) -> BTreeSet<String> {
    let below = format!("{path}/");
    let own = desired.iter().filter(|(address, _)| {
        let kinds = [
            Kind::File,
            Kind::Link,
            Kind::Directory,
            Kind::Archive,
            Kind::Git,
        ];
        kinds.contains(&address.kind())
    });
    own.filter_map(|(address, _)| address.name().strip_prefix(&below))
        .map(str::to_owned)
        .collect()
}

/// Observes a folder.
pub(super) fn observe(
    cx: &ObserveContext<'_>,
    path: &str,
    owner: Option<&Principal>,
    group: Option<&Principal>,
) -> Result<TreeObserved> {
    let found = cx.sys.root().look(path)?;
    let file_type = found.map_or_else(Default::default, |found| at_path::file_type(found.kind));
    let record = match Home::open(cx.sys)? {
        Some(home) => TreeRecord::load(&home, path)?,
        None => None,
    };
    let Some(record) = record else {
        return Ok(TreeObserved {
            file_type,
            ..TreeObserved::default()
        });
    };
    let elsewhere = managed_elsewhere(cx.inputs.desired, path);
    let mut changed = match cx.sys.root().directory(path) {
        Ok(Some(root)) => changed::changed(&record, &root, &elsewhere)?,
        _ => Vec::new(),
    };
    if record.swap.is_some() {
        // A run was interrupted: the stage may still hold files of others.
        changed.push(stage_name(path));
    }
    Ok(TreeObserved {
        file_type,
        source: Some(record.source),
        strip: record.strip,
        owner: owner.and_then(|wish| cx.accounts.owner(record.uid, wish)),
        group: group.and_then(|wish| cx.accounts.group_owner(record.gid, wish)),
        changed,
    })
}

/// Fails if the host would refuse the change.
pub(super) fn check_change(cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
    let path = change.address.name();
    at_path::check_change(cx, path, FileKind::Directory, change)?;
    if change.spec.wants_absent() {
        return Ok(());
    }
    check_parent(cx.sys, path)
}

/// Fails if others than root may write to the folder around `path`. They could lead the programs that unpack
/// elsewhere.
fn check_parent(sys: &crate::sys::Sys, path: &str) -> Result<()> {
    let (mut parent, _) = split(path);
    // A missing folder will be root's.
    while parent != "/" && matches!(sys.root().directory(parent), Ok(None)) {
        parent = split(parent).0;
    }
    if sys.root().is_roots_alone(parent) {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::UnsafePath,
        format!("others than root may write to {parent}, so nothing is unpacked there"),
    )
    .hint(format!(
        "run `chown root {parent}` and `chmod go-w {parent}` on the host, or choose a folder of root's"
    )))
}

/// Makes a change: puts the files of a source into a folder, or removes them. `fill` writes the files of the
/// source into the stage.
pub(super) fn apply(
    cx: &mut ApplyContext<'_>,
    change: &ItemChange<'_>,
    source: &Source<'_>,
    fill: impl FnOnce(&mut ApplyContext<'_>, &Stage) -> Result<()>,
) -> Result<Effect> {
    let path = change.address.name();
    let record = TreeRecord::load(cx.home, path)?;
    if let Some(record) = &record {
        swap::finish(cx, record)?;
    }
    if change.spec.wants_absent() {
        if let Some(record) = &record {
            let elsewhere = managed_elsewhere(cx.desired, path);
            swap::remove(cx, record, &elsewhere)?;
        }
        at_path::remove_made(cx, change.original)?;
        return Ok(Effect::Done);
    }
    check_parent(cx.sys, path)?;
    let (parent, _, _) = cx.sys.root().make_parent(path)?;
    let name = stage_name(path);
    crate::sys::remove_tree(&parent, &name)?;
    parent.make_directory(&name, 0o700)?;
    let stage = Stage {
        dir: parent.sub(&name)?,
    };
    stage.dir.make_directory(TREE, 0o700)?;
    let put = fill(cx, &stage).and_then(|()| swap::install(cx, path, source, &stage, record));
    crate::sys::remove_tree(&parent, &name)?;
    at_path::keep_for_sync(cx, parent)?;
    put.map(|()| Effect::Done)
}
