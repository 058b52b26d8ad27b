//! Observes, writes and removes the file at a path, for all resource types that have one.

use std::collections::BTreeMap;
use std::io::Read;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Content, FileObserved, FileType, Mode, Principal};

use super::{ApplyContext, Identity, Item, ItemChange, ObserveContext};
use crate::book::{Original, Owner, Record};
use crate::error::{At, Result};
use crate::sys::{
    Accounts, Attributes, Candidate, Dir, FileKind, FileStat, Locked, Meta, Spot, Sys, copy_hashed,
    replace, split,
};

/// Owner of sandbox paths without a recorded owner, and of new files for which the spec sets no owner.
pub(crate) const ROOT: &str = "root";

/// Selects the fields of a path to observe.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub content: bool,
    pub owner: Option<&'a Principal>,
    pub group: Option<&'a Principal>,
    pub mode: bool,
}

pub(crate) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::File,
        FileKind::Directory => FileType::Directory,
        FileKind::Link => FileType::Link,
        FileKind::Other => FileType::Other,
    }
}

/// Describes a file in a phrase for people. Returns `None` if nothing was there.
pub(super) fn describe(file_type: FileType, content: Option<&Content>) -> Option<String> {
    match file_type {
        FileType::Absent => None,
        FileType::File => Some(match content {
            Some(content) => format!("a file of {} bytes", content.size),
            None => "a file".to_owned(),
        }),
        FileType::Directory => Some("a directory".to_owned()),
        FileType::Link => Some("a symbolic link".to_owned()),
        FileType::Other => Some("something that is neither file, directory nor link".to_owned()),
    }
}

/// Returns the identities of paths. Two paths are the same thing if they have the same last component and
/// their folders are the same directory, even if links or mounts give it several names.
pub(super) fn identities(cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
    // The first path of a folder represents all of its paths.
    let mut names: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    let mut folders: BTreeMap<&str, &str> = BTreeMap::new();
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let (folder, leaf) = split(item.address.name());
        let name = *folders.entry(folder).or_insert_with(|| {
            let dir = cx.sys.root().directory(folder).ok().flatten();
            match dir.and_then(|dir| dir.itself().ok()) {
                Some(found) => *names.entry((found.device, found.inode)).or_insert(folder),
                None => folder,
            }
        });
        all.push(Identity::new(format!(
            "{}/{leaf}",
            name.trim_end_matches('/')
        )));
    }
    all
}

/// Observes the fields of a path that `wish` selects.
pub(crate) fn observe(cx: &ObserveContext<'_>, path: &str, wish: Wish<'_>) -> Result<FileObserved> {
    let Some((dir, leaf)) = cx.sys.root().parent(path)? else {
        return Ok(FileObserved::default());
    };
    let Some(mut found) = dir.look(leaf)? else {
        return Ok(FileObserved::default());
    };
    let mut content = None;
    if wish.content && found.kind == FileKind::File {
        // The file may be replaced before it is opened, so use the status of the opened file.
        if let Some(mut file) = dir.open(leaf)? {
            found = dir.look_at(&file, leaf)?;
            content = Some(copy_hashed(&mut file, &mut std::io::sink()).at("read", path)?);
        }
    }
    let (owner, group) = owners(cx, path, &found, wish);
    let mode = |found: &FileStat| match dir.acl(leaf) {
        Some(acl) if found.kind != FileKind::Link => acl.mode(found.mode),
        _ => found.mode,
    };
    Ok(FileObserved {
        file_type: file_type(found.kind),
        content,
        block: false,
        owner,
        group,
        mode: wish.mode.then(|| Mode::from_bits(mode(&found))),
    })
}

fn owners(
    cx: &ObserveContext<'_>,
    path: &str,
    found: &FileStat,
    wish: Wish<'_>,
) -> (Option<Principal>, Option<Principal>) {
    if cx.sys.is_sandbox() {
        let owner = cx.owners.get(path);
        let or_root = |known: Option<&Principal>| known.cloned().or_else(|| ROOT.parse().ok());
        let translate = |known: Option<Principal>, wish: &Principal, same: bool| {
            if same { Some(wish.clone()) } else { known }
        };
        let user = wish.owner.and_then(|wish| {
            let known = or_root(owner.map(|owner| &owner.user));
            let id = |name: &Principal| cx.accounts.uid_of(name);
            let same = known
                .as_ref()
                .is_some_and(|known| known == wish || id(known).is_some() && id(known) == id(wish));
            translate(known, wish, same)
        });
        let group = wish.group.and_then(|wish| {
            let known = or_root(owner.map(|owner| &owner.group));
            let id = |name: &Principal| cx.accounts.gid_of(name);
            let same = known
                .as_ref()
                .is_some_and(|known| known == wish || id(known).is_some() && id(known) == id(wish));
            translate(known, wish, same)
        });
        return (user, group);
    }
    (
        wish.owner
            .and_then(|wish| cx.accounts.owner(found.uid, wish)),
        wish.group
            .and_then(|wish| cx.accounts.group_owner(found.gid, wish)),
    )
}

/// The bytes to write to a file.
#[derive(Clone, Copy)]
pub(crate) enum Bytes {
    /// Keep the file's bytes and don't replace the file. A new file is empty.
    Stay,
    /// Keep the file's bytes, which have this content. If anybody but the file's new owner could have it open
    /// for writing, copy the bytes to a new file, which such a process can't access.
    Renew(Content),
    /// Write this content.
    New(Content),
}

/// The desired state of a path.
pub(crate) struct Put<'a> {
    pub bytes: Bytes,
    pub owner: Option<&'a Principal>,
    pub group: Option<&'a Principal>,
    pub mode: Option<Mode>,
    /// A program and its arguments. The new file is put in place only if this program accepts it.
    pub validate: &'a [String],
    /// Attributes of the original, if the change restores it. Otherwise the file keeps its own attributes.
    pub attributes: Option<&'a Attributes>,
}

/// Returns the uid and gid to set. Without a desired owner or group, an existing file keeps its own, and a
/// new one gets root's. In a sandbox both are `None`. Fails if the host doesn't have the owner or group.
pub(crate) fn ids(
    sys: &Sys,
    accounts: &Accounts,
    owner: Option<&Principal>,
    group: Option<&Principal>,
    found: Option<&FileStat>,
    path: &str,
) -> Result<(Option<u32>, Option<u32>)> {
    let unknown = |what: &str, name: &Principal| {
        AgentError::new(
            ErrorCode::NotFound,
            format!("{path} is to belong to the {what} `{name}`, which this host doesn't know"),
        )
        .hint(format!(
            "add `{what}: {{{name}: {{}}}}`, or put `after` the package that makes it"
        ))
    };
    let uid = match owner {
        Some(owner) => Some(
            accounts
                .uid_of(owner)
                .ok_or_else(|| unknown("user", owner))?,
        ),
        None => Some(found.map_or(0, |found| found.uid)),
    };
    let gid = match group {
        Some(group) => Some(
            accounts
                .gid_of(group)
                .ok_or_else(|| unknown("group", group))?,
        ),
        None => Some(found.map_or(0, |found| found.gid)),
    };
    Ok(if sys.is_sandbox() {
        (None, None)
    } else {
        (uid, gid)
    })
}

/// In a sandbox, records the owner of a path in the ledger.
pub(crate) fn note_owner(
    cx: &mut ApplyContext<'_>,
    path: &str,
    owner: Option<&Principal>,
    group: Option<&Principal>,
) {
    if !cx.sys.is_sandbox() || (owner.is_none() && group.is_none()) {
        return;
    }
    let Ok(root) = ROOT.parse::<Principal>() else {
        return;
    };
    let before = cx.owners.get(path);
    let owner = Owner {
        user: owner
            .or(before.map(|owner| &owner.user))
            .unwrap_or(&root)
            .clone(),
        group: group
            .or(before.map(|owner| &owner.group))
            .unwrap_or(&root)
            .clone(),
    };
    if before != Some(&owner) {
        cx.owners.insert(path.to_owned(), owner.clone());
        cx.records.push(Record::Owned {
            path: path.to_owned(),
            owner: Some(owner),
        });
    }
}

/// In a sandbox, removes the recorded owner of a path from the ledger.
pub(crate) fn forget_owner(cx: &mut ApplyContext<'_>, path: &str) {
    if cx.owners.remove(path).is_some() {
        cx.records.push(Record::Owned {
            path: path.to_owned(),
            owner: None,
        });
    }
}

/// Returns the error for a path at which there is another kind of file than the desired one.
pub(crate) fn in_the_way(path: &str, kind: FileKind, wanted: &str) -> AgentError {
    let what = match kind {
        FileKind::File => "a file",
        FileKind::Directory => "a directory",
        FileKind::Link => "a symbolic link",
        FileKind::Other => "a device, a pipe or a socket",
    };
    AgentError::new(
        ErrorCode::Refused,
        format!("{path} is {what}, and is to be {wanted}: it isn't replaced"),
    )
    .hint("move it away on the host, or change its type in the manifest")
}

/// The effect of a change on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Creates, replaces or removes the entry in its folder.
    Entry,
    /// Changes only the owner, group or mode of the existing file.
    Metadata,
}

impl Touch {
    /// Returns the effect of a change, according to its fields.
    pub(crate) fn of(change: &ItemChange<'_>) -> Self {
        let entry = ["state", "content", "target"];
        if entry.iter().any(|field| change.changes(field)) {
            Self::Entry
        } else {
            Self::Metadata
        }
    }
}

/// Fails if a change at a path can't succeed:
/// - another kind of file is at the path,
/// - an immutable or append-only attribute protects the file or its folder,
/// - the file has several hard links, or
/// - the host doesn't have the desired owner or group.
pub(crate) fn check_change(
    cx: &ObserveContext<'_>,
    path: &str,
    wanted: FileKind,
    change: &ItemChange<'_>,
) -> Result<()> {
    let touch = Touch::of(change);
    let absent = change.spec.wants_absent();
    let owners = change.spec.owners();
    let Some((dir, leaf)) = cx.sys.root().parent(path)? else {
        check_folder_above(cx.sys, path)?;
        return ids(cx.sys, &cx.accounts, owners.user, owners.group, None, path).map(|_| ());
    };
    let found = dir.look(leaf)?;
    if let Some(found) = &found {
        if found.kind != wanted {
            let wanted = match (absent, wanted) {
                (true, _) => "absent",
                (_, FileKind::Directory) => "a directory",
                (_, FileKind::Link) => "a link",
                _ => "a file",
            };
            return Err(in_the_way(path, found.kind, wanted));
        }
        if found.kind == FileKind::File && !absent {
            check_hard_links(path, found)?;
        }
        if let Some(locked) = dir.locked(leaf) {
            return Err(protected(path, locked));
        }
    }
    if touch == Touch::Entry {
        // The agent renames even a new file into place, which an append-only folder doesn't allow.
        if let Some(locked) = dir.locked(".") {
            return Err(protected(split(path).0, locked));
        }
    }
    if !absent {
        ids(
            cx.sys,
            &cx.accounts,
            owners.user,
            owners.group,
            found.as_ref(),
            path,
        )?;
    }
    Ok(())
}

/// Fails if an attribute protects the nearest existing folder above a path, in which missing folders would
/// have to be created.
fn check_folder_above(sys: &Sys, path: &str) -> Result<()> {
    let mut folder = path;
    while folder != "/" {
        folder = split(folder).0;
        if let Some(dir) = sys.root().directory(folder)? {
            return match dir.locked(".") {
                Some(locked) => Err(protected(folder, locked)),
                None => Ok(()),
            };
        }
    }
    Ok(())
}

/// Returns the error for a file or a folder that an attribute protects.
fn protected(path: &str, locked: Locked) -> AgentError {
    let (word, flag) = match locked {
        Locked::Immutable => ("immutable", 'i'),
        Locked::AppendOnly => ("append-only", 'a'),
    };
    AgentError::new(
        ErrorCode::Refused,
        format!("{path} is {word} (`chattr +{flag}`), so nothing is changed there"),
    )
    .hint(format!(
        "run `chattr -{flag} {path}` on the host, or leave it out of the manifest"
    ))
}

fn check_hard_links(path: &str, found: &FileStat) -> Result<()> {
    if found.links <= 1 {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::Refused,
        format!("{path} has {} hard links: the same file is elsewhere too, under a name that isn't managed", found.links),
    )
    .hint(format!("`find / -xdev -samefile {path}` shows where; copy it in place of the link")))
}

/// Writes a file, or changes the metadata of an existing one.
pub(crate) fn put(cx: &mut ApplyContext<'_>, path: &str, put: &Put<'_>) -> Result<()> {
    place(cx, path, put, None)
}

/// Writes a file with bytes that the agent itself generated.
pub(crate) fn put_bytes(
    cx: &mut ApplyContext<'_>,
    path: &str,
    put: &Put<'_>,
    bytes: &[u8],
) -> Result<()> {
    place(cx, path, put, Some(bytes))
}

fn place(cx: &mut ApplyContext<'_>, path: &str, put: &Put<'_>, bytes: Option<&[u8]>) -> Result<()> {
    let (dir, leaf, _) = cx.sys.root().make_parent(path)?;
    let found = dir.look(leaf)?;
    match &found {
        Some(found) if found.kind != FileKind::File => {
            return Err(in_the_way(path, found.kind, "a file"));
        }
        Some(found) => check_hard_links(path, found)?,
        None => {}
    }
    let (uid, gid) = ids(
        cx.sys,
        &cx.accounts,
        put.owner,
        put.group,
        found.as_ref(),
        path,
    )?;
    let listed = put.mode.map(Mode::bits);
    let kept = match (put.attributes, &found) {
        (Some(attributes), _) => Some(attributes.clone()),
        (None, Some(_)) => Some(Attributes::at(&dir, leaf)?),
        (None, None) => None,
    };
    let (content, mut reader): (Content, Box<dyn Read + '_>) = match (put.bytes, &found) {
        (bytes, Some(before)) if stays(bytes, before, uid) => {
            let file = same(&dir, leaf, before, path)?;
            let now = dir.look_at(&file, leaf)?;
            check_hard_links(path, &now)?;
            let kept = kept.unwrap_or_default();
            Meta::over(&now, uid, gid, listed).give_over(&file, &now, kept, path)?;
            note_owner(cx, path, put.owner, put.group);
            return Ok(());
        }
        (Bytes::Renew(content), Some(before)) => {
            (content, Box::new(same(&dir, leaf, before, path)?))
        }
        (Bytes::Stay, _) => (Content::of(b""), Box::new(std::io::empty())),
        (Bytes::New(content) | Bytes::Renew(content), _) => match bytes {
            Some(bytes) => (content, Box::new(bytes)),
            None => (content, cx.content(&content, path)?),
        },
    };
    let meta = match (put.bytes, &found) {
        (Bytes::Renew(_), Some(before)) => Meta::over(before, uid, gid, listed),
        _ => Meta::anew(found.as_ref(), uid, gid, listed),
    };
    let spot = Spot {
        dir: &dir,
        leaf,
        temporary: cx.temporary,
        before: found,
        kept,
    };
    let mut check = |candidate: Candidate<'_>| validate(cx, put.validate, candidate, path);
    replace(&spot, &mut reader, Some(content), meta, &mut check).map_err(|error| {
        match (put.bytes, error.code) {
            // The agent copied the bytes from the file itself, which has changed since it was observed.
            (Bytes::Renew(_), ErrorCode::MissingContent) => replaced(path),
            _ => error,
        }
    })?;
    drop(reader);
    keep_for_sync(cx, dir)?;
    note_owner(cx, path, put.owner, put.group);
    Ok(())
}

/// True if the file may be changed without replacing it: either its bytes aren't managed, or only its owner,
/// who stays the same, could have it open for writing.
fn stays(bytes: Bytes, before: &FileStat, uid: Option<u32>) -> bool {
    match bytes {
        Bytes::Stay => true,
        Bytes::Renew(_) => before.mode & 0o022 == 0 && uid.is_none_or(|uid| uid == before.uid),
        Bytes::New(_) => false,
    }
}

/// Opens the file that was observed. Fails if another file is at the path now.
fn same(dir: &Dir, leaf: &str, before: &FileStat, path: &str) -> Result<std::fs::File> {
    if let Some(file) = dir.open(leaf)? {
        if dir.look_at(&file, leaf)?.is(before) {
            return Ok(file);
        }
    }
    Err(replaced(path))
}

fn replaced(path: &str) -> AgentError {
    AgentError::new(
        ErrorCode::PreconditionFailed,
        format!("{path} was replaced just now"),
    )
}

/// Adds a directory with changed entries to those that the batch syncs at its end.
pub(crate) fn keep_for_sync(cx: &mut ApplyContext<'_>, dir: Dir) -> Result<()> {
    let this = dir.itself()?;
    for other in &cx.unsynced {
        let other = other.itself()?;
        if (other.device, other.inode) == (this.device, this.inode) {
            return Ok(());
        }
    }
    cx.unsynced.push(dir);
    Ok(())
}

/// Subfolder of the agent's folder for copies of candidates. It is used for files in folders where others
/// could swap the candidate.
const CANDIDATES: &str = "candidates";

/// Runs the program `words` on a candidate, and fails unless it accepts the candidate. A sandbox runs no
/// program and accepts every candidate.
///
/// If only root can write to the candidate's folder, the program gets the candidate in that folder, so that
/// relative includes work. In other folders somebody could replace the candidate before the program opens it.
/// There, the program gets a copy of the same bytes in the agent's folder, with the file's name.
fn validate(
    cx: &ApplyContext<'_>,
    words: &[String],
    mut candidate: Candidate<'_>,
    path: &str,
) -> Result<()> {
    if words.is_empty() || cx.sys.is_sandbox() {
        return Ok(());
    }
    let (folder, leaf) = split(path);
    if cx.sys.root().is_roots_alone(folder) {
        return accepts(cx.sys, words, &candidate.path, path);
    }
    let private = cx.home.folder(CANDIDATES)?;
    let copy = candidate.copy_to(&private, leaf)?;
    let outcome = accepts(cx.sys, words, &copy, path);
    private.unlink(leaf)?;
    outcome
}

/// Fails unless the program accepts the candidate.
fn accepts(sys: &Sys, words: &[String], candidate: &str, path: &str) -> Result<()> {
    let [program, args @ ..] = words else {
        return Ok(());
    };
    let args = args
        .iter()
        .map(|arg| if arg == "%s" { candidate } else { arg });
    let output = crate::sys::Program::new(program, args).run(sys)?;
    if output.status == 0 {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::ValidateFailed,
        format!(
            "`{}` doesn't accept the new {path}, so it isn't put in place: {}",
            words.join(" "),
            output.complaint().replace(candidate, path)
        ),
    )
    .hint("correct the content in the repository"))
}

/// Removes a file or a link. Succeeds if there is none.
pub(crate) fn remove(cx: &mut ApplyContext<'_>, path: &str, wanted: FileKind) -> Result<()> {
    let Some((dir, leaf)) = cx.sys.root().parent(path)? else {
        return Ok(());
    };
    match dir.look(leaf)? {
        Some(found) if found.kind != wanted => {
            return Err(in_the_way(path, found.kind, "absent"));
        }
        Some(_) => {
            dir.unlink(leaf)?;
            keep_for_sync(cx, dir)?;
        }
        None => {}
    }
    forget_owner(cx, path);
    Ok(())
}

/// Removes the folders that Plumb created above a resource, if they are empty.
pub(crate) fn remove_made(cx: &mut ApplyContext<'_>, original: Option<&Original>) -> Result<()> {
    for folder in original
        .iter()
        .flat_map(|original| original.made.iter().rev())
    {
        let Some((dir, leaf)) = cx.sys.root().parent(folder)? else {
            continue;
        };
        let is_directory = dir
            .look(leaf)?
            .is_some_and(|found| found.kind == FileKind::Directory);
        if !is_directory || !dir.remove_directory(leaf)? {
            break;
        }
        keep_for_sync(cx, dir)?;
    }
    Ok(())
}

/// Returns the folders above a path that don't exist, topmost first.
pub(crate) fn missing_parents(sys: &Sys, path: &str) -> Vec<String> {
    path.match_indices('/')
        .filter(|(at, _)| *at > 0)
        .map(|(at, _)| &path[..at])
        .filter(|folder| matches!(sys.root().directory(folder), Ok(None)))
        .map(str::to_owned)
        .collect()
}
