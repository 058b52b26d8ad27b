//! `link`.

use plumb_api::resource::{FileType, LinkObserved, LinkSpec, Presence};
use plumb_api::{Observed, Spec};
use rustix::fs::{renameat, symlinkat};

use super::at_path;
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, Sandbox,
    each, wrong_type,
};
use crate::error::{At, Result};
use crate::sys::{Attributes, FileKind};

pub(crate) struct Links;

impl Provider for Links {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Link(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let mut observed = LinkObserved::default();
            if let Some((dir, leaf)) = cx.sys.root().parent(item.address.name())? {
                if let Some(found) = dir.look(leaf)? {
                    observed.file_type = at_path::file_type(found.kind);
                    if found.kind == FileKind::Link && spec.target.is_some() {
                        observed.target = dir.target(leaf)?;
                    }
                }
            }
            Ok(Observed::Link(observed))
        };
        items.iter().map(one).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        at_path::check_change(cx, change.address.name(), FileKind::Link, change)
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Links {
    fn full_spec(&self) -> Spec {
        Spec::Link(LinkSpec {
            target: Some("/".to_owned()),
            ..LinkSpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let target = match original {
            Observed::Link(original) if original.file_type == FileType::Link => {
                original.target.clone()
            }
            _ => None,
        };
        Spec::Link(LinkSpec {
            state: if target.is_some() {
                Presence::Present
            } else {
                Presence::Absent
            },
            target,
            ..LinkSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Link(original) = original else {
            return None;
        };
        match &original.target {
            Some(target) => Some(format!("a link to {target}")),
            None => at_path::describe(original.file_type, None),
        }
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Link(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let path = work.address.name();
    let Some(target) = spec
        .target
        .as_deref()
        .filter(|_| spec.state == Presence::Present)
    else {
        at_path::remove(cx, path, FileKind::Link)?;
        at_path::remove_made(cx, work.original)?;
        return Ok(Effect::Done);
    };
    let (dir, leaf, _) = cx.sys.root().make_parent(path)?;
    let found = dir.look(leaf)?;
    if let Some(found) = found.filter(|found| found.kind != FileKind::Link) {
        return Err(at_path::in_the_way(path, found.kind, "a link"));
    }
    dir.unlink(cx.temporary)?;
    symlinkat(target, dir.fd(), cx.temporary).at("make the link", path)?;
    if let Some(found) = &found {
        dir.give_link(cx.temporary, found)?;
    }
    let original = work
        .original
        .and_then(|original| original.attributes.clone());
    let kept = match (original, found) {
        (Some(original), _) => original,
        (None, Some(_)) => Attributes::at(&dir, leaf)?,
        (None, None) => Attributes::default(),
    };
    kept.give_link(&dir, cx.temporary, path)?;
    renameat(dir.fd(), cx.temporary, dir.fd(), leaf).at("put the link in place at", path)?;
    at_path::keep_for_sync(cx, dir)?;
    Ok(Effect::Done)
}
