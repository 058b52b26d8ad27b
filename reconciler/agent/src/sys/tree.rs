//! Removes a folder recursively.

use plumb_api::report::ErrorCode;

use super::root::{Dir, FileKind};
use crate::error::{Result, fail};

/// Maximum depth of folders that are removed.
const MAX_DEPTH: u32 = 64;

/// Removes a file, a link, or a folder with everything in it, never through a link. Succeeds if there is
/// nothing.
pub(crate) fn remove_tree(dir: &Dir, leaf: &str) -> Result<()> {
    remove(dir, leaf, 0)
}

fn remove(dir: &Dir, leaf: &str, depth: u32) -> Result<()> {
    let Some(found) = dir.look(leaf)? else {
        return Ok(());
    };
    if found.kind != FileKind::Directory {
        return dir.unlink(leaf).map(|_| ());
    }
    if depth > MAX_DEPTH {
        return fail(
            ErrorCode::Refused,
            format!("{} is nested too deeply", dir.path_of(leaf)),
        );
    }
    let below = dir.sub(leaf)?;
    for name in below.list()? {
        remove(&below, &name, depth + 1)?;
    }
    dir.remove_directory(leaf).map(|_| ())
}
