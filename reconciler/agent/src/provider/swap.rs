//! `swap`: a `.swap` unit, its file, and what the kernel swaps to.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{Mode, Presence, SwapObserved, SwapSpec};
use plumb_api::{Address, Observed, Spec};

use super::at_path::{self, Bytes, Put, ROOT};
use super::own_unit::{OwnUnit, UnitState};
use super::{
    ApplyContext, Effect, GiveBack, Item, ItemChange, ObserveContext, Provider, each, mount_table,
    swap_file, wrong_type,
};
use crate::error::{At, Result};
use crate::sys::{FileKind, Program, Sys};

pub(crate) struct Swaps;

impl Provider for Swaps {
    fn creation_path(&self, address: &Address) -> Option<String> {
        let is_file = SwapSpec::device(address.name()).is_none();
        is_file.then(|| address.name().to_owned())
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        items.iter().map(|item| observe(cx.sys, item)).collect()
    }

    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Swap(spec), Observed::Swap(found)) = (change.spec, change.observed) else {
            return wrong_type(change.address);
        };
        let name = change.address.name();
        at_path::check_change(cx, &unit_of(name).path(), FileKind::File, change)?;
        if spec.original.is_some() {
            return Ok(());
        }
        if let Some(line) = &found.fstab {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!(
                    "{} and /etc/fstab both decide about {name}: {line}",
                    change.address
                ),
            )
            .hint("remove the line of /etc/fstab, or the `swap` from git"));
        }
        match (spec.state, SwapSpec::device(name), spec.size) {
            (Presence::Absent, _, _) => Ok(()),
            (Presence::Present, Some(device), _) => check_device(cx.sys, name, &device, found),
            (Presence::Present, None, Some(size)) => check_file(cx, change, found, size.bytes()),
            (Presence::Present, None, None) => wrong_type(change.address),
        }
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Swaps {
    fn full_spec(&self) -> Spec {
        Spec::Swap(SwapSpec::default())
    }

    fn restore_spec(&self, original: &Observed, _managed: Option<&Spec>) -> Spec {
        let original = match original {
            Observed::Swap(original) => original.clone(),
            _ => SwapObserved::default(),
        };
        Spec::Swap(SwapSpec {
            state: original.presence(),
            original: Some(Box::new(original)),
            ..SwapSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Swap(original) = original else {
            return None;
        };
        match (&original.active, &original.file, &original.unit) {
            (Some(_), _, _) => Some("swap that was on".to_owned()),
            (None, Some(file), _) => Some(format!("a file of {} bytes", file.size)),
            (None, None, Some(_)) => Some("a unit that isn't active".to_owned()),
            (None, None, None) => None,
        }
    }
}

fn unit_of(name: &str) -> OwnUnit {
    OwnUnit::new(SwapSpec::unit_name(name))
}

fn state_of(observed: &SwapObserved) -> UnitState {
    UnitState {
        text: observed.unit.clone(),
        enabled: observed.enabled,
    }
}

fn observe(sys: &Sys, item: &Item<'_>) -> Result<Observed> {
    let Spec::Swap(_) = item.spec else {
        return wrong_type(item.address);
    };
    let name = item.address.name();
    let place = SwapSpec::place(name);
    let unit = unit_of(name);
    let fstab = sys.text("/etc/fstab").unwrap_or_default();
    let concerns = |source: &str, _: &str, file_system: &str| {
        let is_same = source == name || mount_table::is_same(&SwapSpec::place(source), &place);
        file_system == "swap" && is_same
    };
    Ok(Observed::Swap(SwapObserved {
        unit: unit.text(sys)?,
        enabled: unit.is_enabled(sys, &SwapSpec::TARGETS),
        active: active(&place)?,
        file: match SwapSpec::device(name) {
            Some(_) => None,
            None => swap_file::observe(sys, &place)?,
        },
        fstab: mount_table::fstab_line(&fstab, concerns),
    }))
}

/// Returns the priority of a swap in the kernel, if it is on.
fn active(place: &str) -> Result<Option<i32>> {
    let table = "/proc/swaps";
    let text = std::fs::read_to_string(table).at("read", table)?;
    Ok(priority_in(&text, |path| mount_table::is_same(path, place)))
}

/// Returns the priority of the swap in the kernel's table whose path is the right one.
fn priority_in(table: &str, is_it: impl Fn(&str) -> bool) -> Option<i32> {
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let path = mount_table::unescape(words.next()?);
        is_it(&path).then(|| words.next_back()?.parse().ok())?
    })
}

/// Fails unless `mkswap` made the device, or it is swapped to already.
fn check_device(sys: &Sys, name: &str, device: &str, found: &SwapObserved) -> Result<()> {
    if found.active.is_some() {
        return Ok(());
    }
    if std::fs::metadata(device).is_err() {
        let message = format!("the host has no device {name}");
        let hint = "`lsblk --fs` on the host lists its devices";
        return Err(AgentError::new(ErrorCode::NotFound, message).hint(hint));
    }
    match mount_table::type_on(sys, device)?.as_str() {
        "swap" => Ok(()),
        found => {
            let has = match found {
                "" => "nothing that `blkid` knows".to_owned(),
                found => format!("a file system of the type {found}"),
            };
            Err(AgentError::new(
                ErrorCode::Refused,
                format!("{name} has {has}, not swap: Plumb formats no device"),
            )
            .hint(format!("`mkswap {device}` on the host erases it")))
        }
    }
}

/// Fails if something else is at the path of a swap file, or if none can be made there.
fn check_file(
    cx: &ObserveContext<'_>,
    change: &ItemChange<'_>,
    found: &SwapObserved,
    size: u64,
) -> Result<()> {
    let path = change.address.name();
    match cx.sys.root().look(path)? {
        Some(there) if there.kind != FileKind::File => {
            return Err(at_path::in_the_way(path, there.kind, "a swap file"));
        }
        _ => {}
    }
    let entry = cx.inputs.ledger.entry(change.address);
    let original = entry.and_then(|entry| entry.original.as_ref());
    let is_ours = original.is_some_and(
        |original| matches!(&original.observed, Observed::Swap(before) if before.file.is_none()),
    );
    match &found.file {
        Some(file) if file.is_swap_of(size) => return Ok(()),
        Some(file) if !file.signature && !is_ours => {
            return Err(AgentError::new(
                ErrorCode::Refused,
                format!("{path} is a file that `mkswap` didn't make: it isn't replaced"),
            )
            .hint(format!(
                "move {path} away on the host, or name another path"
            )));
        }
        _ => {}
    }
    let freed = found.file.as_ref().map_or(0, |file| file.size);
    swap_file::check(cx.sys, path, size, freed)
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Swap(spec), Observed::Swap(found)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    let name = work.address.name();
    let place = SwapSpec::place(name);
    let unit = unit_of(name);
    let comes = spec.state == Presence::Present;
    let wanted = match &spec.original {
        Some(original) => state_of(original),
        None => UnitState {
            text: comes.then(|| spec.unit_text(name)),
            enabled: comes,
        },
    };
    let renews = work.changes("size") || work.changes("priority");
    if found.active.is_some() && (!comes || renews) {
        swap_off(cx.sys, &place)?;
        unit.await_stop(cx.sys)?;
    }
    if SwapSpec::device(name).is_none() {
        let size = match &spec.original {
            Some(original) => original.file.as_ref().map(|file| file.size),
            None => spec.size.map(plumb_api::size::Size::bytes),
        };
        bring_file(cx, work, size)?;
    }
    unit.bring(cx, &state_of(found), &wanted)?;
    if !comes || active(&place)?.is_some() {
        return Ok(Effect::Done);
    }
    if wanted.text.is_some() {
        unit.start(cx.sys)?;
    } else {
        // It was on before Plumb without a unit of its own.
        Program::new("swapon", ["--", &place]).check(cx.sys)?;
    }
    Ok(Effect::Done)
}

/// Makes the swap file, takes it away, or takes the rights of others from it.
fn bring_file(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>, size: Option<u64>) -> Result<()> {
    let path = work.address.name();
    match size {
        Some(size) if work.changes("size") => swap_file::make(cx, path, size),
        Some(_) if work.changes("mode") => {
            let root = ROOT.parse().ok();
            let put = Put {
                bytes: Bytes::Stay,
                owner: root.as_ref(),
                group: root.as_ref(),
                mode: Some(Mode::from_bits(0o600)),
                validate: &[],
                attributes: None,
            };
            at_path::put(cx, path, &put)
        }
        None if work.changes("size") => {
            at_path::remove(cx, path, FileKind::File)?;
            at_path::remove_made(cx, work.original)
        }
        _ => Ok(()),
    }
}

/// Turns a swap off. Fails with [`ErrorCode::InUse`] if the free memory can't take back what it holds.
fn swap_off(sys: &Sys, place: &str) -> Result<()> {
    let output = Program::new("swapoff", ["--", place])
        .limit(Duration::from_secs(90))
        .run(sys)?;
    if output.status == 0 {
        return Ok(());
    }
    if output.stderr.contains("Cannot allocate memory") {
        return Err(AgentError::new(
            ErrorCode::InUse,
            format!("cannot turn off {place}: the free memory can't take back what it holds"),
        )
        .hint("end what uses memory on the host; Plumb tries again"));
    }
    Err(AgentError::new(
        ErrorCode::CommandFailed,
        format!("cannot turn off {place}: {}", output.complaint()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_priorities_from_the_kernels_table() {
        let table = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                     /swap\\040file                           file\t\t1024\t\t0\t\t-2\n\
                     /dev/vdb                                partition\t1048572\t0\t\t10\n";
        let priority = |wanted: &str| priority_in(table, |path| path == wanted);
        assert_eq!(priority("/swap file"), Some(-2));
        assert_eq!(priority("/dev/vdb"), Some(10));
        assert_eq!(priority("/dev/vda"), None);
    }
}
