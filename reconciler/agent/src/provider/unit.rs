//! `unit`: a file in `/etc/systemd/system`, and one reload of systemd per batch.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{Content, FileType, Mode, Presence, UnitObserved, UnitSpec};
use plumb_api::{Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::systemd;
use super::{Effect, Hands, Item, Provider, View, Work, each, wrong_type};
use crate::error::{Result, fail};
use crate::sys::FileKind;

const FOLDER: &str = "/etc/systemd/system";

pub(crate) struct Units;

/// Where a unit's file is.
pub(crate) fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

impl Provider for Units {
    fn observe(&self, view: &View<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Unit(spec) = item.spec else {
                return wrong_type(item.address);
            };
            let wish = Wish {
                content: spec.content.is_some(),
                owner: None,
                group: None,
                mode: false,
            };
            let found = at_path::observe(view, &path(item.address.name()), wish)?;
            let needs_reload = if view.sys.is_sandbox() {
                false
            } else {
                let unit = systemd::unit_of(item.address).unwrap_or_default();
                view.systemd()?
                    .get(&unit)
                    .is_some_and(systemd::Shown::needs_reload)
            };
            Ok(Observed::Unit(UnitObserved {
                file_type: found.file_type,
                content: found.content,
                needs_reload,
            }))
        };
        items.iter().map(one).collect()
    }

    fn everything(&self) -> Spec {
        Spec::Unit(UnitSpec {
            content: Some(Content::of(b"")),
            ..UnitSpec::default()
        })
    }

    fn back(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let content = match original {
            Observed::Unit(original) if original.file_type == FileType::File => original.content,
            _ => None,
        };
        Spec::Unit(UnitSpec {
            state: if content.is_some() {
                Presence::Present
            } else {
                Presence::Absent
            },
            content,
            ..UnitSpec::default()
        })
    }

    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>> {
        each(hands, work, one)
    }

    fn settle(&self, hands: &mut Hands<'_>) -> Result<()> {
        if hands.sys.is_sandbox() {
            return Ok(());
        }
        let output = systemd::control(hands.sys, &["daemon-reload"])?;
        if output.status == 0 {
            return Ok(());
        }
        fail(
            ErrorCode::CommandFailed,
            format!("systemd can't reload its units: {}", output.complaint()),
        )
    }
}

fn one(hands: &mut Hands<'_>, work: &Work<'_>) -> Result<Effect> {
    let Spec::Unit(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let path = path(work.address.name());
    if spec.state == Presence::Absent {
        at_path::remove(hands, &path, FileKind::File)?;
        at_path::remove_made(hands, work.original)?;
        return Ok(Effect::Done);
    }
    if work.changes("state") || work.changes("content") {
        let root = ROOT.parse().ok();
        let put = Put {
            bytes: spec.content.map_or(Bytes::Stay, Bytes::New),
            owner: root.as_ref(),
            group: root.as_ref(),
            mode: Some(Mode::from_bits(0o644)),
            validate: &[],
        };
        at_path::put(hands, &path, &put)?;
    }
    Ok(Effect::Done)
}
