//! `unit`: a file in `/etc/systemd/system`. systemd is reloaded at most once per batch.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{
    Content, FileType, MaskLink, Mode, Presence, ServiceSpec, UnitObserved, UnitSpec, VendorUnit,
    reads,
};
use plumb_api::{Address, Kind, Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT, Wish};
use super::service_links::{put_link, remove_link};
use super::systemd;
use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, Lane, ObserveContext, Provider,
    Sandbox, each, wrong_type,
};
use crate::book::Desired;
use crate::error::{Result, fail};
use crate::sys::{FileKind, Sys};

/// Target of the link that masks a unit.
const MASK: &str = "/dev/null";

pub(crate) struct Units;

impl Provider for Units {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("systemd")
    }

    fn lane(&self) -> Lane {
        Lane::Own(Kind::Unit)
    }

    fn written(&self, change: &ItemChange<'_>) -> Option<String> {
        writes(change).then(|| UnitSpec::path_in_folder(change.address.name()))
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Unit(spec) = item.spec else {
                return wrong_type(item.address);
            };
            if spec.vendor_unit == VendorUnit::Refuse {
                check_vendor(cx.sys, item.address.name())?;
            }
            let wish = Wish {
                content: spec.content.is_some(),
                owner: None,
                group: None,
                mode: false,
            };
            let path = UnitSpec::path_in_folder(item.address.name());
            let found = at_path::observe(cx, &path, wish)?;
            Ok(Observed::Unit(UnitObserved {
                file_type: found.file_type,
                content: found.content,
                mask: mask_at(cx, item.address, found.file_type)?,
                needs_reload: needs_reload(cx, item)?,
            }))
        };
        items.iter().map(one).collect()
    }

    fn text_path(&self, address: &Address, observed: &Observed) -> Option<String> {
        let Observed::Unit(found) = observed else {
            return None;
        };
        (found.file_type == FileType::File).then(|| UnitSpec::path_in_folder(address.name()))
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        if !writes(change) {
            return Ok(());
        }
        let path = UnitSpec::path_in_folder(change.address.name());
        // The unit file may replace a mask, so a link at the path is no error.
        let found = match change.observed {
            Observed::Unit(observed) if !observed.mask.is_absent() => FileKind::Link,
            _ => FileKind::File,
        };
        at_path::check_change(cx, &path, found, change)
    }

    /// The removal of a unit file ends what runs from it.
    fn losses(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Vec<String> {
        let name = change.address.name();
        let path = UnitSpec::path_in_folder(name);
        if !change.spec.wants_absent()
            || is_defined_elsewhere(cx.sys, cx.inputs.desired, name, &path)
        {
            return Vec::new();
        }
        let units = running(cx.sys, name).into_iter();
        units.map(|unit| format!("the running {unit}")).collect()
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    /// Reloads systemd, unless it reads each of the files only now because all of them are new. A reload takes
    /// long on a small machine, and enabling a unit reloads systemd too.
    fn settle(&self, cx: &mut ApplyContext<'_>, made: &[ItemChange<'_>]) -> Result<()> {
        let is_read = |change: &ItemChange<'_>| {
            let name = change.address.name();
            creates_unit(change) && systemd::has_read(name, &UnitSpec::path_in_folder(name))
        };
        if cx.sys.is_sandbox() || !made.is_empty() && made.iter().all(is_read) {
            return Ok(());
        }
        systemd::reload(cx.sys)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Units {
    fn full_spec(&self) -> Spec {
        Spec::Unit(UnitSpec {
            content: Some(Content::of(b"")),
            ..UnitSpec::default()
        })
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let (content, mask) = match original {
            Observed::Unit(original) if original.file_type == FileType::File => {
                (original.content, MaskLink::Absent)
            }
            Observed::Unit(original) => (None, original.mask),
            _ => (None, MaskLink::Absent),
        };
        Spec::Unit(UnitSpec {
            mask,
            state: if content.is_some() || !mask.is_absent() {
                Presence::Present
            } else {
                Presence::Absent
            },
            content,
            ..UnitSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Unit(original) = original else {
            return None;
        };
        if !original.mask.is_absent() {
            return Some("a mask".to_owned());
        }
        at_path::describe(original.file_type, original.content.as_ref())
    }

    fn content(&self, original: &Observed) -> Option<Content> {
        match original {
            Observed::Unit(original) => original.content,
            _ => None,
        }
    }

    fn set_content(&self, original: &mut Observed, kept: Content) {
        if let Observed::Unit(original) = original {
            original.content = Some(kept);
        }
    }

    fn lasting(&self, mut observed: Observed) -> Observed {
        if let Observed::Unit(unit) = &mut observed {
            unit.needs_reload = false;
            // Plumb created the mask, so originally there was nothing at the path.
            if unit.mask == MaskLink::Plumb {
                unit.file_type = FileType::Absent;
                unit.mask = MaskLink::Absent;
            }
        }
        observed
    }
}

/// True if a change writes the unit file. Otherwise it only reloads systemd.
fn writes(change: &ItemChange<'_>) -> bool {
    change.changes("state") || change.changes("content")
}

/// True if a change creates the file of a unit that can be loaded, so not a drop-in or a template.
fn creates_unit(change: &ItemChange<'_>) -> bool {
    let (Spec::Unit(spec), Observed::Unit(observed)) = (change.spec, change.observed) else {
        return false;
    };
    let name = change.address.name();
    spec.state == Presence::Present
        && spec.mask.is_absent()
        && observed.file_type == FileType::Absent
        && !name.contains('/')
        && !systemd::is_template(name)
}

/// Returns whether the unit file's path is a mask, and who created it: Plumb, according to the ledger's entry
/// of the `service`, or somebody else.
fn mask_at(cx: &ObserveContext<'_>, address: &Address, found: FileType) -> Result<MaskLink> {
    let path = UnitSpec::path_in_folder(address.name());
    if found != FileType::Link || link_at(cx.sys, &path)?.as_deref() != Some(MASK) {
        return Ok(MaskLink::Absent);
    }
    let service = Address::new(Kind::Service, ServiceSpec::name_of(address.name())).ok();
    let entry = service.and_then(|service| cx.inputs.ledger.entry(&service));
    let original = entry.and_then(|entry| entry.original.as_ref());
    Ok(match original.map(|original| &original.observed) {
        Some(Observed::Service(before)) if !before.masked => MaskLink::Plumb,
        _ => MaskLink::Host,
    })
}

fn link_at(sys: &Sys, path: &str) -> Result<Option<String>> {
    match sys.root().parent(path)? {
        Some((dir, leaf)) => dir.target(leaf),
        None => Ok(None),
    }
}

/// True if systemd has read the unit before this file was changed. The file is the unit's own or one that the
/// unit reads, such as a drop-in.
fn needs_reload(cx: &ObserveContext<'_>, item: &Item<'_>) -> Result<bool> {
    if cx.sys.is_sandbox() {
        return Ok(false);
    }
    let outdated = cx
        .systemd()?
        .iter()
        .filter(|(_, shown)| shown.needs_reload());
    let own = item.spec.unit(item.address.name());
    let concerns = |(unit, _): (&String, &systemd::Shown)| {
        let service = Address::new(Kind::Service, ServiceSpec::name_of(unit));
        own.as_ref() == Some(unit) || service.is_ok_and(|service| reads(&service, item.address))
    };
    Ok({ outdated }.any(concerns))
}

/// Fails if a package has a unit of this name.
fn check_vendor(sys: &Sys, name: &str) -> Result<()> {
    let vendor = UnitSpec::VENDOR_FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{name}"))
        .find(|path| sys.exists(path));
    match vendor {
        None => Ok(()),
        Some(path) => Err(AgentError::new(
            ErrorCode::Refused,
            format!("a package brings a unit of this name: {path}"),
        )
        .hint("give yours another name, or change the package's by a drop-in")),
    }
}

/// Endings of the units that are stopped when their file goes. To stop a unit of another type would unmount a
/// file system, or end everything in a slice.
const STOPPED: [&str; 4] = [".service", ".socket", ".timer", ".path"];

/// True if a unit doesn't end with its file: the file is a drop-in, another file defines the unit, or another
/// resource decides about it.
fn is_defined_elsewhere(sys: &Sys, desired: &Desired, unit: &str, path: &str) -> bool {
    let wanted = |kind, name: &str| {
        let address = Address::new(kind, name).ok();
        address.is_some_and(|address| desired.get(&address).is_some())
    };
    sys.is_sandbox()
        || unit.contains('/')
        || check_vendor(sys, unit).is_err()
        || wanted(Kind::Service, ServiceSpec::name_of(unit))
        || wanted(Kind::File, path)
        || wanted(Kind::Link, path)
}

/// Returns the names of a unit, or of a template's instances, that run.
fn running(sys: &Sys, unit: &str) -> Vec<String> {
    let pattern = unit.replace('\\', "\\\\").replacen("@.", "@*.", 1);
    let states = "--state=active,activating,reloading,deactivating";
    let words = [
        "list-units",
        "--plain",
        "--no-legend",
        "--full",
        states,
        "--",
        &pattern,
    ];
    let listed = systemd::control(sys, &words).map(|output| output.stdout);
    let names = listed.unwrap_or_default();
    let names = names
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Stops what runs from a unit file that is about to go, for example because another unit wants it. Without
/// its file, nobody could tell what it is.
fn stop_running(cx: &mut ApplyContext<'_>, unit: &str, path: &str) -> Result<()> {
    if is_defined_elsewhere(cx.sys, cx.desired, unit, path) {
        return Ok(());
    }
    let units = running(cx.sys, unit);
    if units.is_empty() {
        return Ok(());
    }
    let all = units.join(", ");
    if !STOPPED.iter().any(|ending| unit.ends_with(ending)) {
        cx.warnings.push(format!(
            "{all} is still active, and its file {path} is removed"
        ));
        return Ok(());
    }
    let words: Vec<&str> = ["stop", "--"]
        .into_iter()
        .chain(units.iter().map(String::as_str))
        .collect();
    match systemd::job(cx.sys, &words)? {
        Some(output) if output.status == 0 => Ok(()),
        Some(output) => Err(systemd::failure(cx.sys, &units[0], "stop", &output)),
        None => fail(
            ErrorCode::UnitPending,
            format!("waiting for {all} to stop before {path} is removed"),
        ),
    }
}

/// Resets the failed state of a unit that has no file any more. Otherwise systemd would list it as failed
/// until the next boot.
fn forget_failure(sys: &Sys, unit: &str) {
    let is_drop_in = unit.contains('/');
    if sys.is_sandbox() || is_drop_in || check_vendor(sys, unit).is_err() {
        return;
    }
    if systemd::related(sys, unit, "ActiveState") == ["failed"] {
        let _ = systemd::control(sys, &["reset-failed", "--", unit]);
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let Spec::Unit(spec) = work.spec else {
        return wrong_type(work.address);
    };
    let path = UnitSpec::path_in_folder(work.address.name());
    if !spec.mask.is_absent() {
        at_path::remove(cx, &path, FileKind::File)?;
        return put_link(cx.sys, &path, MASK).map(|()| Effect::Done);
    }
    let masked = |observed: &UnitObserved| !observed.mask.is_absent();
    if matches!(work.observed, Observed::Unit(observed) if masked(observed)) {
        remove_link(cx.sys, &path)?;
    }
    if spec.state == Presence::Absent {
        stop_running(cx, work.address.name(), &path)?;
        at_path::remove(cx, &path, FileKind::File)?;
        at_path::remove_made(cx, work.original)?;
        forget_failure(cx.sys, work.address.name());
        return Ok(Effect::Done);
    }
    if writes(work) {
        let root = ROOT.parse().ok();
        let put = Put {
            bytes: spec.content.map_or(Bytes::Stay, Bytes::New),
            owner: root.as_ref(),
            group: root.as_ref(),
            mode: Some(Mode::from_bits(0o644)),
            validate: &[],
            attributes: work
                .original
                .and_then(|original| original.attributes.as_ref()),
        };
        at_path::put(cx, &path, &put)?;
    }
    Ok(Effect::Done)
}
