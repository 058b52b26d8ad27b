//! `service`: state, enablement, mask; and the restart as state.
//!
//! The ledger keeps, per service, a mark of each input at the service's last start: a digest of the
//! input's spec (without what only orders it) and of the generation of its last change by us. The
//! generation moves in the journal before the change itself, so whenever a run is cut off, an input
//! that may have changed has another mark than the running unit knows, and the unit is stale.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ServiceObserved, ServiceSpec, ServiceState, Stale};
use plumb_api::{Address, Digest, Kind, Observed, Spec};

use super::systemd::{self, Shown};
use super::unit;
use super::{Effect, Hands, Item, Provider, View, Work, each, not_in_a_sandbox, wrong_type};
use crate::book::{Desired, Ledger, Moment};
use crate::error::{At, Result, fail};
use crate::sys::{FileKind, Sys, boot_id};

pub(crate) struct Services;

/// What the inputs of services are, as desired and as the ledger has them.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub desired: &'a Desired,
    pub ledger: &'a Ledger,
}

impl Inputs<'_> {
    /// The inputs whose change restarts a service: those it names, and the units and drop-ins that
    /// feed it, those to be taken away included.
    fn restarting(&self, address: &Address, spec: &ServiceSpec) -> BTreeSet<Address> {
        let desired = self.desired.iter().map(|(address, _)| address);
        let feeding = desired.chain(self.ledger.resources.keys()).filter(|other| {
            other.kind() == Kind::Unit && Kind::Unit.feeds(other.name()).contains(address)
        });
        spec.restart_on.iter().chain(feeding).cloned().collect()
    }

    fn mark(&self, input: &Address) -> Option<Digest> {
        let entry = self.ledger.entry(input);
        let spec = match self.desired.get(input) {
            Some(leaf) => Some(&leaf.spec),
            None => entry?.spec.as_ref(),
        };
        let mut json = match spec {
            Some(spec) => spec.to_json().ok()?,
            None => serde_json::Value::Null,
        };
        if let Some(fields) = json.as_object_mut() {
            // These say when and how it is put there, not what the service reads.
            for field in ["after", "manage", "validate"] {
                fields.remove(field);
            }
        }
        let generation = entry.map_or(0, |entry| entry.generation);
        Digest::of("input", &(json, generation)).ok()
    }

    /// The marks of all inputs of a service, as they are now.
    pub(crate) fn marks(&self, address: &Address, spec: &ServiceSpec) -> BTreeMap<Address, Digest> {
        let reloading = spec.reload_on.iter().cloned();
        self.restarting(address, spec)
            .into_iter()
            .chain(reloading)
            .filter_map(|input| self.mark(&input).map(|mark| (input, mark)))
            .collect()
    }

    /// What a running service lacks.
    fn stale(&self, address: &Address, spec: &ServiceSpec, active_since: u64) -> Stale {
        let recorded = self
            .ledger
            .entry(address)
            .and_then(|entry| entry.inputs.as_ref());
        let moved = |input: &Address| match recorded.and_then(|marks| marks.get(input)) {
            Some(mark) => self.mark(input).as_ref() != Some(mark),
            // Never recorded: it moved if we changed it after the unit was started.
            None => self
                .ledger
                .entry(input)
                .and_then(|entry| entry.changed.as_ref())
                .is_some_and(|changed| after_start(changed, active_since)),
        };
        let restarting = self.restarting(address, spec);
        let taken_away = recorded.into_iter().flatten().any(|(input, _)| {
            input.kind() == Kind::Unit
                && Kind::Unit.feeds(input.name()).contains(address)
                && !restarting.contains(input)
        });
        if taken_away || restarting.iter().any(moved) {
            Stale::Restart
        } else if spec.reload_on.iter().any(moved) {
            Stale::Reload
        } else {
            Stale::No
        }
    }
}

/// Whether something happened after a unit's start, by the clock of this boot: whatever happened in
/// another boot was before it.
fn after_start(changed: &Moment, active_since: u64) -> bool {
    changed.boot == boot_id() && changed.micros >= active_since
}

/// The marks that a service has after a change: all as they were when it began if the service was
/// started, those of `reloadOn` if it was reloaded, those that had none if nothing of the sort was done.
pub(crate) fn inputs_after(
    spec: &ServiceSpec,
    before: Option<&BTreeMap<Address, Digest>>,
    now: BTreeMap<Address, Digest>,
    effect: Effect,
) -> BTreeMap<Address, Digest> {
    if effect == Effect::Started {
        return now;
    }
    let mut kept = before.cloned().unwrap_or_default();
    for (input, mark) in now {
        let reloaded = effect == Effect::Reloaded && spec.reload_on.contains(&input);
        if reloaded || !kept.contains_key(&input) {
            kept.insert(input, mark);
        }
    }
    kept
}

impl Provider for Services {
    fn observe(&self, view: &View<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Service(spec) = item.spec else {
                return wrong_type(item.address);
            };
            if view.sys.is_sandbox() {
                return sandbox_observe(view.sys, item.address, spec).map(Observed::Service);
            }
            let name = ServiceSpec::unit(item.address.name());
            let Some(shown) = view.systemd()?.get(&name) else {
                return Err(AgentError::new(
                    ErrorCode::Unsupported,
                    format!("{name} is a template: it can't run by itself"),
                )
                .hint("name an instance, such as getty@tty1"));
            };
            let mut observed = read(shown);
            if observed.state == Some(ServiceState::Started) {
                let since = shown
                    .micros("ActiveEnterTimestampMonotonic")
                    .max(shown.micros("ExecMainStartTimestampMonotonic"));
                observed.stale = view.inputs.stale(item.address, spec, since);
            }
            Ok(Observed::Service(observed))
        };
        items.iter().map(one).collect()
    }

    fn everything(&self) -> Spec {
        Spec::Service(ServiceSpec::default())
    }

    fn back(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let (Observed::Service(original), Some(Spec::Service(managed))) = (original, managed)
        else {
            return Spec::Service(ServiceSpec::default());
        };
        // A unit that wasn't known was made by us or by a package of ours: it goes, so it stops.
        let state = if original.known {
            original.state
        } else {
            Some(ServiceState::Stopped)
        };
        let enabled = if original.known {
            original.enabled
        } else {
            Some(false)
        };
        Spec::Service(ServiceSpec {
            state: managed.state.and(state),
            enabled: managed.enabled.and(enabled),
            masked: managed.masked.map(|_| original.masked),
            ..ServiceSpec::default()
        })
    }

    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>> {
        each(hands, work, one)
    }
}

/// What systemd's properties come to.
fn read(shown: &Shown) -> ServiceObserved {
    let masked = shown.is("LoadState", "masked");
    let known = !shown.is("LoadState", "not-found");
    let oneshot = shown.is("Type", "oneshot");
    let has_run =
        shown.is("Result", "success") && shown.micros("ExecMainStartTimestampMonotonic") > 0;
    let started = match shown.get("ActiveState") {
        "active" | "reloading" | "refreshing" => true,
        // Waiting to be started again after a failure is not running.
        "activating" => !shown.is("SubState", "auto-restart"),
        "inactive" => oneshot && has_run,
        _ => false,
    };
    let enabled = match shown.get("UnitFileState") {
        "enabled" => Some(true),
        "disabled" | "enabled-runtime" | "linked" | "linked-runtime" | "masked"
        | "masked-runtime" => Some(false),
        // What doesn't exist doesn't start at boot.
        _ if !known => Some(false),
        _ => None,
    };
    ServiceObserved {
        known,
        state: Some(if started {
            ServiceState::Started
        } else {
            ServiceState::Stopped
        }),
        enabled,
        masked,
        stale: Stale::No,
    }
}

fn one(hands: &mut Hands<'_>, work: &Work<'_>) -> Result<Effect> {
    let (Spec::Service(spec), Observed::Service(observed)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    let unit = ServiceSpec::unit(work.address.name());
    if hands.sys.is_sandbox() {
        return sandbox_apply(hands.sys, &unit, work, spec);
    }
    let sys = hands.sys;
    let run = |verb: &str| {
        let output = systemd::control(sys, &[verb, "--", &unit])?;
        if output.status == 0 {
            Ok(())
        } else {
            Err(systemd::failure(sys, &unit, verb, &output))
        }
    };
    let will_be_known = observed.known || spec.masked == Some(true);
    let wants_something = spec.state == Some(ServiceState::Started) || spec.enabled == Some(true);
    if !will_be_known && wants_something {
        return Err(
            AgentError::new(ErrorCode::NotFound, format!("systemd knows no unit {unit}"))
                .hint("add its `unit`, or put the service `after` the package that brings it"),
        );
    }
    let masking = work.changes("masked");
    if masking && spec.masked == Some(false) {
        run("unmask")?;
    }
    if work.changes("enabled") && observed.enabled.is_none() && spec.masked != Some(true) {
        return Err(AgentError::new(
            ErrorCode::Unsupported,
            format!("{unit} can't be enabled or disabled: it has no [Install] section"),
        )
        .hint("leave out `enabled`, or add the section with a `unit` of your own"));
    }
    if work.changes("enabled") && spec.enabled == Some(true) {
        run("enable")?;
    }
    let mut effect = Effect::Done;
    if work.changes("state") {
        if spec.state == Some(ServiceState::Started) {
            // Something that failed too often in a row would be refused for that alone.
            let _ = systemd::control(sys, &["reset-failed", "--", &unit]);
            run("start")?;
            effect = Effect::Started;
        } else if observed.known {
            run("stop")?;
        }
    } else if work.changes("inputs") {
        if observed.stale == Stale::Restart {
            run("restart")?;
            effect = Effect::Started;
        } else {
            run("reload-or-restart")?;
            effect = Effect::Reloaded;
        }
    }
    if work.changes("enabled") && spec.enabled == Some(false) && observed.known {
        run("disable")?;
    }
    if masking && spec.masked == Some(true) {
        run("mask")?;
    }
    Ok(effect)
}

/// In a sandbox nothing runs: enablement is links, a mask is a link to `/dev/null`.
fn sandbox_observe(sys: &Sys, address: &Address, spec: &ServiceSpec) -> Result<ServiceObserved> {
    if spec.state.is_some() {
        return Err(not_in_a_sandbox("running services")
            .hint("in a sandbox a service may say `enabled` and `masked`, not `state`"));
    }
    let unit = ServiceSpec::unit(address.name());
    let masked = link(sys, &unit::path(&unit))?.as_deref() == Some("/dev/null");
    let text = unit_text(sys, &unit);
    let wanted = text.as_deref().map(install_links).unwrap_or_default();
    let mut there = 0;
    for folder in &wanted {
        if link(sys, &unit::path(&format!("{folder}/{unit}")))?.is_some() {
            there += 1;
        }
    }
    let enabled = match &text {
        Some(_) if wanted.is_empty() => None,
        Some(_) => Some(there == wanted.len()),
        None => Some(false),
    };
    Ok(ServiceObserved {
        known: text.is_some(),
        state: None,
        enabled,
        masked,
        stale: Stale::No,
    })
}

fn link(sys: &Sys, path: &str) -> Result<Option<String>> {
    match sys.root().parent(path)? {
        Some((dir, leaf)) => dir.target(leaf),
        None => Ok(None),
    }
}

fn unit_text(sys: &Sys, unit: &str) -> Option<String> {
    [
        "/etc/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]
    .iter()
    .find_map(|folder| sys.text(&format!("{folder}/{unit}")))
}

/// The folders in which `[Install]` wants a link.
fn install_links(text: &str) -> Vec<String> {
    let mut folders = Vec::new();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let ending = match (section, key.trim()) {
            ("[Install]", "WantedBy") => "wants",
            ("[Install]", "RequiredBy") => "requires",
            _ => continue,
        };
        let good = |target: &&str| {
            target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
        };
        folders.extend(
            value
                .split_whitespace()
                .filter(good)
                .map(|target| format!("{target}.{ending}")),
        );
    }
    folders
}

fn sandbox_apply(sys: &Sys, unit: &str, work: &Work<'_>, spec: &ServiceSpec) -> Result<Effect> {
    let root = sys.root();
    let put = |path: &str, target: &str| {
        let (dir, leaf, _) = root.make_parent(path)?;
        match dir.look(leaf)? {
            Some(found) if found.kind != FileKind::Link => {
                return Err(super::at_path::in_the_way(path, found.kind, "a link"));
            }
            Some(_) => {
                dir.unlink(leaf)?;
            }
            None => {}
        }
        rustix::fs::symlinkat(target, dir.fd(), leaf).at("make the link", path)?;
        dir.sync()
    };
    let take = |path: &str| match root.parent(path)? {
        Some((dir, leaf)) if dir.target(leaf)?.is_some() => {
            dir.unlink(leaf)?;
            dir.sync()
        }
        _ => Ok(()),
    };
    if work.changes("masked") && spec.masked == Some(false) {
        take(&unit::path(unit))?;
    }
    if work.changes("enabled") {
        let text = unit_text(sys, unit).unwrap_or_default();
        let folders = install_links(&text);
        if folders.is_empty() && spec.enabled == Some(true) {
            return fail(
                ErrorCode::NotFound,
                format!("{unit} can't be enabled: no such unit with an [Install] section"),
            );
        }
        for folder in folders {
            let path = unit::path(&format!("{folder}/{unit}"));
            if spec.enabled == Some(true) {
                put(&path, &unit::path(unit))?;
            } else {
                take(&path)?;
            }
        }
    }
    if work.changes("masked") && spec.masked == Some(true) {
        put(&unit::path(unit), "/dev/null")?;
    }
    Ok(Effect::Done)
}
