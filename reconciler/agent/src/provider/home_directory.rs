//! Creates a user's home by copying `/etc/skel`. The home appears at its path as a whole or not at all.

use std::io::Read;

use plumb_api::report::{AgentError, ErrorCode};
use rustix::fs::{AtFlags, Gid, Mode, StatVfsMountFlags, Uid, chownat, fchmod, fchown, symlinkat};

use super::{ApplyContext, at_path};
use crate::error::{At, Result, fail};
use crate::sys::{
    Dir, FileKind, Program, Sys, UserLine, copy_hashed, create_new, remove_tree, split,
};

/// Maximum depth of the folders in `/etc/skel` that are copied.
const MAX_DEPTH: u32 = 32;

/// True if there is a folder at the path of a home, or a link that may lead to one.
pub(super) fn exists(sys: &Sys, home: &str) -> bool {
    let found = sys.root().look(home.trim_end_matches('/'));
    found.is_ok_and(|found| found.is_some_and(|found| is_home(found.kind)))
}

fn is_home(kind: FileKind) -> bool {
    matches!(kind, FileKind::Directory | FileKind::Link)
}

/// Creates the home of a user. An existing folder stays as it is: nothing is copied into it.
pub(super) fn make(cx: &mut ApplyContext<'_>, user: &UserLine) -> Result<()> {
    place(cx, user).map_err(|error| {
        AgentError::new(
            error.code,
            format!(
                "the home {} of user `{}` can't be made: {}",
                user.home, user.name, error.message
            ),
        )
        .hint("the user is there; the home is made at the next try after this is mended")
    })
}

fn place(cx: &mut ApplyContext<'_>, user: &UserLine) -> Result<()> {
    let sys = cx.sys;
    let path = user.home.trim_end_matches('/');
    match sys.root().look(path)? {
        Some(found) if is_home(found.kind) => return Ok(()),
        Some(found) => return Err(at_path::in_the_way(path, found.kind, "a directory")),
        None => {}
    }
    check_writable(sys, path)?;
    let (dir, leaf, _) = sys.root().make_parent(path)?;
    // Every attempt uses the same name, so that it finds and removes the leftovers of a killed run.
    let temporary = format!(".plumb-home-{leaf}");
    remove_tree(&dir, &temporary)?;
    dir.make_directory(&temporary, 0o700)?;
    let new = dir.sub(&temporary)?;
    let owner = if sys.is_sandbox() {
        None
    } else {
        Some((Uid::from_raw(user.uid), Gid::from_raw(user.gid)))
    };
    if let Some(skeleton) = sys.root().directory(&skeleton(sys))? {
        copy_tree(&skeleton, &new, owner, 0)?;
    }
    own(&new, owner, mode(sys))?;
    new.sync()?;
    rustix::fs::renameat(dir.fd(), temporary.as_str(), dir.fd(), leaf).at("make", path)?;
    at_path::keep_for_sync(cx, dir)?;
    let name = user.name.parse().ok();
    at_path::note_owner(cx, path, name.as_ref(), name.as_ref());
    if !sys.is_sandbox() && sys.exists("/sys/fs/selinux/enforce") {
        Program::new("restorecon", ["-R", path]).check(sys)?;
    }
    Ok(())
}

/// Fails if the nearest existing folder above a home is on a read-only file system.
fn check_writable(sys: &Sys, path: &str) -> Result<()> {
    let mut folder = split(path).0;
    loop {
        if let Some(dir) = sys.root().directory(folder)? {
            if dir.room()?.f_flag.contains(StatVfsMountFlags::RDONLY) {
                return fail(
                    ErrorCode::ReadOnly,
                    format!("the file system of {folder} is mounted read-only"),
                );
            }
            return Ok(());
        }
        folder = split(folder).0;
    }
}

/// Returns the folder whose contents are copied to new homes.
fn skeleton(sys: &Sys) -> String {
    let defaults = sys.text("/etc/default/useradd").unwrap_or_default();
    defaults
        .lines()
        .find_map(|line| line.strip_prefix("SKEL="))
        .map_or("/etc/skel", |path| path.trim().trim_matches('"'))
        .to_owned()
}

/// Returns the mode for a new home: `HOME_MODE` from `/etc/login.defs` or, without it, the mode according to
/// `UMASK`.
fn mode(sys: &Sys) -> u32 {
    let definitions = sys.text("/etc/login.defs").unwrap_or_default();
    let number = |name: &str| {
        definitions.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(name)).then_some(())?;
            u32::from_str_radix(words.next()?, 8).ok()
        })
    };
    number("HOME_MODE")
        .or_else(|| number("UMASK").map(|umask| 0o777 & !umask))
        .unwrap_or(0o755)
        & 0o7777
}

type OwnerIds = Option<(Uid, Gid)>;

fn own(file: &Dir, owner: OwnerIds, mode: u32) -> Result<()> {
    let path = file.path_of("");
    if let Some((uid, gid)) = owner {
        fchown(file.fd(), Some(uid), Some(gid)).at("set the owner of", &path)?;
    }
    fchmod(file.fd(), Mode::from_raw_mode(mode)).at("set the mode of", &path)
}

/// Copies files, folders and links recursively. Skips sockets, pipes and devices.
fn copy_tree(from: &Dir, to: &Dir, owner: OwnerIds, depth: u32) -> Result<()> {
    if depth > MAX_DEPTH {
        return fail(
            ErrorCode::Refused,
            format!("{} is nested too deeply", from.path_of("")),
        );
    }
    for name in from.list()? {
        let Some(found) = from.look(&name)? else {
            continue;
        };
        let path = to.path_of(&name);
        match found.kind {
            FileKind::Directory => {
                to.make_directory(&name, 0o700)?;
                let below = to.sub(&name)?;
                copy_tree(&from.sub(&name)?, &below, owner, depth + 1)?;
                own(&below, owner, found.mode & 0o1777)?;
            }
            FileKind::File => {
                let Some(file) = from.open(&name)? else {
                    continue;
                };
                let mut copy = create_new(to, &name)?;
                copy_hashed(&mut file.take(found.size), &mut copy).at("write", &path)?;
                if let Some((uid, gid)) = owner {
                    fchown(&copy, Some(uid), Some(gid)).at("set the owner of", &path)?;
                }
                fchmod(&copy, Mode::from_raw_mode(found.mode & 0o1777))
                    .at("set the mode of", &path)?;
                copy.sync_all().at("write", &path)?;
            }
            FileKind::Link => {
                let Some(target) = from.target(&name)? else {
                    continue;
                };
                symlinkat(target.as_str(), to.fd(), name.as_str()).at("make the link", &path)?;
                if let Some((uid, gid)) = owner {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    chownat(to.fd(), name.as_str(), Some(uid), Some(gid), flags)
                        .at("set the owner of", &path)?;
                }
            }
            FileKind::Other => {}
        }
    }
    Ok(())
}
