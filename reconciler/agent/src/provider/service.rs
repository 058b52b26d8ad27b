//! `service`: state, enablement, mask.

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ServiceObserved, ServiceSpec, ServiceState, Stale};
use plumb_api::{Address, Observed, Spec};

use super::inputs::LastStart;
use super::systemd::{self, Shown};
use super::{Effect, Hands, Item, Provider, View, Work, each, not_in_a_sandbox, wrong_type};
use super::{start, unit};
use crate::error::{At, Result, fail};
use crate::sys::{FileKind, Sys};

pub(crate) struct Services;

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
            let mut observed = read(shown, view.inputs.last_start(item.address), spec.state);
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

    fn joins(&self, spec: &Spec, fields: &[FieldChange]) -> bool {
        matches!(spec, Spec::Service(spec) if start::is_start(spec, fields))
    }

    fn apply(&self, hands: &mut Hands<'_>, work: &[Work<'_>]) -> Vec<Result<Effect>> {
        if work.len() > 1 && !hands.sys.is_sandbox() {
            return start::together(hands.sys, work);
        }
        each(hands, work, one)
    }
}

/// What systemd's properties come to. A oneshot that has run and ended is both what `started` asks for
/// and what `stopped` does, so it takes what is `wanted` to say which; one that remains after its exit
/// is active until somebody stops it.
pub(super) fn read(
    shown: &Shown,
    last_start: LastStart,
    wanted: Option<ServiceState>,
) -> ServiceObserved {
    let masked = shown.is("LoadState", "masked");
    let known = !shown.is("LoadState", "not-found");
    let ends_by_itself = shown.is("Type", "oneshot") && !shown.is("RemainAfterExit", "yes");
    let has_run = shown.is("Result", "success")
        && (last_start == LastStart::ThisBoot
            || shown.micros("ExecMainStartTimestampMonotonic") > 0);
    let started = match shown.get("ActiveState") {
        "active" | "reloading" | "refreshing" => true,
        // Waiting to be started again after a failure is not running.
        "activating" => !shown.is("SubState", "auto-restart"),
        "inactive" => ends_by_itself && has_run && wanted != Some(ServiceState::Stopped),
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

/// Refuses to start or enable what isn't there.
pub(super) fn check_known(
    unit: &str,
    spec: &ServiceSpec,
    observed: &ServiceObserved,
) -> Result<()> {
    let will_be_known = observed.known || spec.masked == Some(true);
    let wants_something = spec.state == Some(ServiceState::Started) || spec.enabled == Some(true);
    if will_be_known || !wants_something {
        return Ok(());
    }
    Err(
        AgentError::new(ErrorCode::NotFound, format!("systemd knows no unit {unit}"))
            .hint("add its `unit`, or put the service `after` the package that brings it"),
    )
}

/// Refuses to enable or disable what can't be.
pub(super) fn check_install(
    unit: &str,
    work: &Work<'_>,
    spec: &ServiceSpec,
    observed: &ServiceObserved,
) -> Result<()> {
    if !work.changes("enabled") || observed.enabled.is_some() || spec.masked == Some(true) {
        return Ok(());
    }
    Err(AgentError::new(
        ErrorCode::Unsupported,
        format!("{unit} can't be enabled or disabled: it has no [Install] section"),
    )
    .hint("leave out `enabled`, or add the section with a `unit` of your own"))
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
    check_known(&unit, spec, observed)?;
    let masking = work.changes("masked");
    if masking && spec.masked == Some(false) {
        run("unmask")?;
    }
    check_install(&unit, work, spec, observed)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_units_are_read() {
        let shown = |pairs: &[(&str, &str)]| read(&Shown::of(pairs), LastStart::Unknown, None);
        let started = |pairs: &[(&str, &str)]| shown(pairs).state == Some(ServiceState::Started);
        assert!(started(&[("ActiveState", "active")]));
        assert!(!started(&[
            ("ActiveState", "activating"),
            ("SubState", "auto-restart")
        ]));
        assert!(started(&[
            ("ActiveState", "activating"),
            ("SubState", "start")
        ]));
        let oneshot = [
            ("Type", "oneshot"),
            ("ActiveState", "inactive"),
            ("Result", "success"),
        ];
        assert!(!started(&oneshot), "it hasn't run yet");
        let mut has_run = oneshot.to_vec();
        has_run.push(("ExecMainStartTimestampMonotonic", "5"));
        assert!(started(&has_run));
        let wanted = |state| read(&Shown::of(&has_run), LastStart::ThisBoot, Some(state)).state;
        for state in [ServiceState::Started, ServiceState::Stopped] {
            assert_eq!(wanted(state), Some(state), "it ran, and it doesn't run");
        }
        has_run.push(("RemainAfterExit", "yes"));
        assert!(!started(&has_run), "somebody stopped it");
        let forgotten = read(&Shown::of(&oneshot), LastStart::ThisBoot, None);
        assert_eq!(
            forgotten.state,
            Some(ServiceState::Started),
            "systemd forgot it, we didn't"
        );
        let missing = shown(&[("LoadState", "not-found"), ("ActiveState", "inactive")]);
        assert_eq!((missing.known, missing.enabled), (false, Some(false)));
        assert_eq!(shown(&[("UnitFileState", "static")]).enabled, None);
        assert!(shown(&[("LoadState", "masked"), ("UnitFileState", "masked")]).masked);
    }
}
