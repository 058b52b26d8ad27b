//! `file`.

use plumb_api::resource::{Content, FileObserved, FileSpec, FileType, Presence};
use plumb_api::{Address, Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::block;
use super::filled;
use super::in_place;
use super::systemd;
use super::{
    ApplyContext, Effect, GiveBack, Identity, Item, ItemChange, ObserveContext, Provider, Sandbox,
    wrong_type,
};
use crate::error::Result;
use crate::sys::FileKind;

/// Folder of quadlets, from which podman's generator makes services.
const QUADLETS: &str = "/etc/containers/systemd/";

pub(crate) struct Files;

impl Provider for Files {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        at_path::identities(cx, items)
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::File(spec) = item.spec else {
                return wrong_type(item.address);
            };
            if spec.block {
                return block::observe(cx, item.address.name(), spec).map(Observed::File);
            }
            let wish = Wish {
                content: spec.content.is_some(),
                owner: spec.owner.as_ref(),
                group: spec.group.as_ref(),
                mode: spec.mode.is_some(),
            };
            let path = item.address.name();
            if !spec.secrets.is_empty() {
                return filled::observe(cx, path, spec, wish).map(Observed::File);
            }
            let mut found = at_path::observe(cx, path, wish)?;
            let entry = cx.inputs.ledger.entry(item.address);
            let had = entry.and_then(|entry| entry.managed());
            let is_secret = matches!(had, Some(Spec::File(had)) if !had.secrets.is_empty());
            if is_secret && found.content != spec.content {
                // Not even a digest of a secret leaves the host.
                found.content = None;
            }
            Ok(Observed::File(found))
        };
        items.iter().map(one).collect()
    }

    fn text_path(&self, address: &Address, observed: &Observed) -> Option<String> {
        let Observed::File(found) = observed else {
            return None;
        };
        (found.file_type == FileType::File).then(|| address.name().to_owned())
    }

    fn managed_text(&self, observed: &Observed, text: String) -> String {
        match observed {
            Observed::File(found) if found.block => block::text(&text),
            _ => text,
        }
    }

    fn losses(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Vec<String> {
        let lists_mode = matches!(change.spec, Spec::File(spec) if spec.mode.is_some());
        let found = cx.sys.root().look(change.address.name()).ok().flatten();
        match found {
            Some(found) if !lists_mode && change.changes("content") => found.set_ids(),
            _ => Vec::new(),
        }
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        at_path::check_change(cx, change.address.name(), FileKind::File, change)
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        let mut refused = match in_place::refusals(cx, work) {
            Ok(refused) => refused,
            Err(error) => work
                .iter()
                .enumerate()
                .filter(|(_, change)| {
                    matches!(change.spec, Spec::File(spec) if spec.validates_in_place())
                })
                .map(|(place, _)| (place, error.clone()))
                .collect(),
        };
        work.iter()
            .enumerate()
            .map(|(place, change)| match refused.remove(&place) {
                Some(error) => Err(error),
                None => one(cx, change),
            })
            .collect()
    }

    /// systemd keeps the service that it generated from a quadlet until it reloads.
    fn settle(&self, cx: &mut ApplyContext<'_>, made: &[ItemChange<'_>]) -> Result<()> {
        let goes = |change: &ItemChange<'_>| {
            change.spec.wants_absent() && change.address.name().starts_with(QUADLETS)
        };
        if cx.sys.is_sandbox() || !made.iter().any(goes) {
            return Ok(());
        }
        systemd::reload(cx.sys)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Files {
    fn full_spec(&self) -> Spec {
        Spec::File(FileSpec {
            content: Some(Content::of(b"")),
            owner: ROOT.parse().ok(),
            group: ROOT.parse().ok(),
            mode: "0644".parse().ok(),
            ..FileSpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let absent = FileObserved::default();
        let original = match original {
            Observed::File(original) if original.file_type == FileType::File => original,
            _ => &absent,
        };
        if let Some(Spec::File(managed)) = managed {
            if managed.block {
                return Spec::File(block::restore_spec(original, managed));
            }
        }
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

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::File(original) = original else {
            return None;
        };
        at_path::describe(original.file_type, original.content.as_ref())
    }

    fn content(&self, original: &Observed) -> Option<Content> {
        match original {
            Observed::File(original) => original.content,
            _ => None,
        }
    }

    fn set_content(&self, original: &mut Observed, kept: Content) {
        if let Observed::File(original) = original {
            original.content = Some(kept);
        }
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::File(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let path = work.address.name();
    if spec.block {
        return block::apply(cx, path, spec, work);
    }
    if spec.state == Presence::Absent {
        at_path::remove(cx, path, FileKind::File)?;
        at_path::remove_made(cx, work.original)?;
        return Ok(Effect::Done);
    }
    if !spec.secrets.is_empty() {
        filled::apply(cx, path, spec, work)?;
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
        // A checker that looks at files in their places has accepted the whole batch.
        validate: if spec.validates_in_place() {
            &[]
        } else {
            &spec.validate
        },
        attributes: work
            .original
            .and_then(|original| original.attributes.as_ref()),
    };
    at_path::put(cx, path, &put)?;
    Ok(Effect::Done)
}
