//! `directory`.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{DirectoryObserved, DirectorySpec, FileType, Mode, Presence};
use plumb_api::{Address, Kind, Observed, Spec};

use super::at_path::{self, ROOT, Wish};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, Sandbox,
    each, wrong_type,
};
use crate::error::Result;
use crate::sys::{Attributes, FileKind, Meta};

pub(crate) struct Directories;

impl Provider for Directories {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Directory(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let wish = Wish {
                content: false,
                owner: spec.owner.as_ref(),
                group: spec.group.as_ref(),
                mode: spec.mode.is_some(),
            };
            let found = at_path::observe(cx, item.address.name(), wish)?;
            Ok(Observed::Directory(DirectoryObserved {
                file_type: found.file_type,
                owner: found.owner,
                group: found.group,
                mode: found.mode,
            }))
        };
        items.iter().map(one).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let path = change.address.name();
        at_path::check_change(cx, path, FileKind::Directory, change)?;
        // If Plumb created a directory and others have put files into it, the directory stays, and that is no
        // error.
        if !change.spec.wants_absent() || change.original.is_some() {
            return Ok(());
        }
        match cx.sys.root().directory(path)? {
            Some(dir) => {
                let stays = |name: &String| !leaves(cx, &format!("{path}/{name}"));
                if dir.list()?.iter().any(stays) {
                    Err(not_empty(path))
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Directories {
    fn full_spec(&self) -> Spec {
        Spec::Directory(DirectorySpec {
            owner: ROOT.parse().ok(),
            group: ROOT.parse().ok(),
            mode: "0755".parse().ok(),
            ..DirectorySpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let absent = DirectoryObserved::default();
        let original = match original {
            Observed::Directory(original) if original.file_type == FileType::Directory => original,
            _ => &absent,
        };
        Spec::Directory(DirectorySpec {
            state: if original.file_type == FileType::Directory {
                Presence::Present
            } else {
                Presence::Absent
            },
            owner: original.owner.clone(),
            group: original.group.clone(),
            mode: original.mode,
            ..DirectorySpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        match original {
            Observed::Directory(original) => at_path::describe(original.file_type, None),
            _ => None,
        }
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Directory(spec) = work.spec else {
        return wrong_type(work.address);
    };
    if spec.state == Presence::Absent {
        remove(cx, work)
    } else {
        put(cx, spec, work)
    }
}

/// True if the run removes the file, directory or link at this path before it removes the directory around
/// it.
fn leaves(cx: &ObserveContext<'_>, path: &str) -> bool {
    let inputs = &cx.inputs;
    let kinds = [Kind::File, Kind::Directory, Kind::Link];
    kinds
        .iter()
        .filter_map(|kind| Address::new(*kind, path).ok())
        .any(|address| match inputs.desired.get(&address) {
            Some(leaf) => leaf.spec.wants_absent(),
            None => inputs.ledger.entry(&address).is_some(),
        })
}

fn not_empty(path: &str) -> AgentError {
    AgentError::new(
        ErrorCode::Refused,
        format!("{path} isn't empty, so it isn't removed"),
    )
    .hint("what is in it isn't managed: remove it on the host, or leave the directory out of git")
}

fn remove(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let path = work.address.name();
    let Some((dir, leaf)) = cx.sys.root().parent(path)? else {
        return Ok(Effect::Done);
    };
    match dir.look(leaf)? {
        Some(found) if found.kind != FileKind::Directory => {
            return Err(at_path::in_the_way(path, found.kind, "absent"));
        }
        Some(_) if !dir.remove_directory(leaf)? => {
            if work.original.is_some() {
                // Plumb created this directory, but it isn't empty: its entries belong to others, so it
                // stays.
                return Ok(Effect::Left);
            }
            return Err(not_empty(path));
        }
        _ => {}
    }
    at_path::keep_for_sync(cx, dir)?;
    at_path::forget_owner(cx, path);
    at_path::remove_made(cx, work.original)?;
    Ok(Effect::Done)
}

fn put(cx: &mut ApplyContext<'_>, spec: &DirectorySpec, work: &ItemChange<'_>) -> Result<Effect> {
    let path = work.address.name();
    let (dir, leaf, _) = cx.sys.root().make_parent(path)?;
    let before = dir.look(leaf)?;
    match &before {
        Some(found) if found.kind != FileKind::Directory => {
            return Err(at_path::in_the_way(path, found.kind, "a directory"));
        }
        Some(_) => {}
        // Only root can access a new directory until its owner and group are set.
        None => dir.make_directory(leaf, 0o700)?,
    }
    let this = dir.sub(leaf)?;
    let (owner, group) = (spec.owner.as_ref(), spec.group.as_ref());
    let (uid, gid) = at_path::ids(cx.sys, &cx.accounts, owner, group, before.as_ref(), path)?;
    let found = this.itself()?;
    let listed = spec.mode.map(Mode::bits);
    let meta = match before {
        Some(_) => Meta::over(&found, uid, gid, listed),
        None => Meta::over(&found, uid, gid, Some(listed.unwrap_or(0o755))),
    };
    let original = work
        .original
        .and_then(|original| original.attributes.clone());
    let kept = match original {
        Some(original) => original,
        None => Attributes::at(&dir, leaf)?,
    };
    meta.give_over(this.fd(), &found, kept, path)?;
    at_path::keep_for_sync(cx, dir)?;
    at_path::note_owner(cx, path, owner, group);
    Ok(Effect::Done)
}
