//! `file`.

use plumb_api::resource::{Content, FileObserved, FileSpec, FileType, Presence};
use plumb_api::{Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::{Effect, Hands, Item, Provider, View, Work, each, wrong_type};
use crate::error::Result;
use crate::sys::FileKind;

pub(crate) struct Files;

impl Provider for Files {
    fn observe(&self, view: &View<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::File(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let wish = Wish {
                content: spec.content.is_some(),
                owner: spec.owner.as_ref(),
                group: spec.group.as_ref(),
                mode: spec.mode.is_some(),
            };
            at_path::observe(view, item.address.name(), wish).map(Observed::File)
        };
        items.iter().map(one).collect()
    }

    fn everything(&self) -> Spec {
        Spec::File(FileSpec {
            content: Some(Content::of(b"")),
            owner: ROOT.parse().ok(),
            group: ROOT.parse().ok(),
            mode: "0644".parse().ok(),
            ..FileSpec::default()
        })
    }

    fn back(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let absent = FileObserved::default();
        let original = match original {
            Observed::File(original) if original.file_type == FileType::File => original,
            _ => &absent,
        };
        Spec::File(FileSpec {
            state: if original.file_type == FileType::File {
                Presence::Present
            } else {
                Presence::Absent
            },
            content: original.content,
            owner: original.owner.clone(),
            group: original.group.clone(),
            mode: original.mode,
            ..FileSpec::default()
        })
    }

    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>> {
        each(hands, work, one)
    }
}

fn one(hands: &mut Hands<'_>, work: &Work<'_>) -> Result<Effect> {
    let Spec::File(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let path = work.address.name();
    if spec.state == Presence::Absent {
        at_path::remove(hands, path, FileKind::File)?;
        at_path::remove_made(hands, work.original)?;
        return Ok(Effect::Done);
    }
    let missing = work.changes("state");
    let bytes = match spec.content {
        None => Bytes::Stay,
        Some(content) if missing || work.changes("content") => Bytes::New(content),
        Some(content) => Bytes::Renew(content),
    };
    let put = Put {
        bytes,
        owner: spec.owner.as_ref(),
        group: spec.group.as_ref(),
        mode: spec.mode,
        validate: &spec.validate,
    };
    at_path::put(hands, path, &put)?;
    Ok(Effect::Done)
}
