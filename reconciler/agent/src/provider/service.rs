//! `service`: a unit that runs, is enabled or is masked.

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{RunState, ServiceObserved, ServiceSpec, ServiceState, Stale, UnitSpec};
use plumb_api::{Observed, Spec};
use serde::{Deserialize, Serialize};

use super::systemd::Shown;
use super::unit_state::{check_install, check_known, read};
use super::{
    ApplyContext, Effect, GiveBack, Identity, Inquiry, Item, ItemChange, Lane, ObserveContext,
    Provider, RefusedField, Sandbox, Settling, each, wrong_type,
};
use super::{aliases, rivalry, service_links, start, systemd};
use crate::error::Result;
use crate::sys::{FileKind, Sys};

pub(crate) struct Services;

impl Provider for Services {
    fn sandbox(&self) -> Sandbox {
        Sandbox::Supported
    }

    fn inquiry(&self) -> Inquiry {
        Inquiry::Programs("systemd")
    }

    fn lane(&self) -> Lane {
        Lane::Last(0)
    }

    /// An alias has the identity of its unit, even if the alias exists only while the unit is enabled.
    fn identities(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Identity> {
        let shown = if cx.sys.is_sandbox() {
            None
        } else {
            cx.systemd().ok()
        };
        let one = |item: &Item<'_>| {
            let unit = ServiceSpec::unit(item.address.name());
            if masks(item.spec) && aliases::is_vendor_alias(cx.sys, &unit) {
                return Identity::of_name(item.address);
            }
            match shown.and_then(|shown| shown.get(&unit)?.id()) {
                Some(id) => Identity::new(ServiceSpec::name_of(id)),
                None => Identity::of_name(item.address),
            }
        };
        items.iter().map(one).collect()
    }

    fn observe(&self, cx: &ObserveContext<'_>, items: &[Item<'_>]) -> Vec<Result<Observed>> {
        let one = |item: &Item<'_>| {
            let Spec::Service(spec) = item.spec else {
                return wrong_type(item.address);
            };
            if cx.sys.is_sandbox() {
                return service_links::observe(cx.sys, item.address, spec).map(Observed::Service);
            }
            let name = ServiceSpec::unit(item.address.name());
            let Some(shown) = cx.systemd()?.get(&name) else {
                return Err(AgentError::new(
                    ErrorCode::Unsupported,
                    format!("{name} is a template: it can't run by itself"),
                )
                .hint("name an instance, such as getty@tty1"));
            };
            observe(cx, item, spec, shown).map(Observed::Service)
        };
        items.iter().map(one).collect()
    }

    /// Fails if systemd would stop another unit that should run according to git. A unit that systemd doesn't
    /// know is no error here, because a package of the same plan may install it.
    fn check_change(&self, cx: &ObserveContext<'_>, change: &ItemChange<'_>) -> Result<()> {
        let (Spec::Service(spec), Observed::Service(observed)) = (change.spec, change.observed)
        else {
            return wrong_type(change.address);
        };
        if cx.sys.is_sandbox() {
            return Ok(());
        }
        let starts = change.changes("state") && spec.state == Some(ServiceState::Started);
        if starts {
            rivalry::check(cx, change.address, observed)?;
        }
        Ok(())
    }

    /// If a unit can't be enabled, the agent still starts it.
    fn refused_fields(
        &self,
        cx: &ObserveContext<'_>,
        change: &ItemChange<'_>,
    ) -> Vec<RefusedField> {
        let (Spec::Service(spec), Observed::Service(observed)) = (change.spec, change.observed)
        else {
            return Vec::new();
        };
        if cx.sys.is_sandbox() {
            return Vec::new();
        }
        let unit = observed.unit(change.address.name());
        let refused = |error| RefusedField {
            field: "enabled",
            error,
        };
        let enabled = check_install(&unit, change, spec, observed);
        enabled.err().map(refused).into_iter().collect()
    }

    fn joins(&self, spec: &Spec, fields: &[FieldChange]) -> bool {
        matches!(spec, Spec::Service(spec) if start::is_start(spec, fields))
    }

    /// A running unit that isn't stale has read its inputs, whoever started it.
    fn has_read_inputs(&self, observed: &Observed) -> bool {
        matches!(
            observed,
            Observed::Service(found)
                if found.state == Some(RunState::Started) && found.stale == Stale::No
        )
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        if work.len() > 1 && !cx.sys.is_sandbox() {
            return start::together(cx.sys, work);
        }
        each(cx, work, one)
    }

    fn settling(&self) -> Option<&dyn Settling> {
        Some(self)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

fn observe(
    cx: &ObserveContext<'_>,
    item: &Item<'_>,
    spec: &ServiceSpec,
    shown: &Shown,
) -> Result<ServiceObserved> {
    let address = item.address;
    let name = ServiceSpec::unit(address.name());
    let mut observed = read(shown, cx.inputs.last_start(address), spec);
    observed.alias_of = shown.id().filter(|id| *id != name).map(str::to_owned);
    let unit = observed.unit(address.name());
    if !observed.known {
        // Enablement links that a removed unit left behind would start the unit as soon as it exists again.
        observed.enabled = Some(!aliases::enablement_links(cx.sys, &unit)?.is_empty());
    } else if observed.enabled.is_none() && shown.is("UnitFileState", "generated") {
        observed.enabled = aliases::script_is_enabled(cx.sys, &unit);
    }
    if observed.state.is_some_and(RunState::is_live) {
        let since = shown
            .micros("InactiveExitTimestampMonotonic")
            .max(shown.micros("ExecMainStartTimestampMonotonic"));
        let own = Observed::Service(observed.clone()).own_address();
        observed.stale = cx.inputs.stale(address, own.as_ref(), item.spec, since);
    }
    Ok(observed)
}

impl GiveBack for Services {
    fn full_spec(&self) -> Spec {
        Spec::Service(ServiceSpec::default())
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let Observed::Service(original) = original else {
            return Spec::Service(ServiceSpec::default());
        };
        // If the ledger doesn't know which fields a failed run changed, restore all of them.
        let all = ServiceSpec {
            state: Some(ServiceState::Started),
            enabled: Some(true),
            masked: Some(true),
            ..ServiceSpec::default()
        };
        let managed = match managed {
            Some(Spec::Service(managed)) => managed,
            _ => &all,
        };
        // If systemd didn't know the unit originally, Plumb or a package that Plumb installed created it. It
        // will be removed, so stop it first.
        let ran = original.known && original.state.is_some_and(RunState::is_live);
        let state = if ran {
            ServiceState::Started
        } else {
            ServiceState::Stopped
        };
        let enabled = if original.known {
            original.enabled
        } else {
            Some(false)
        };
        Spec::Service(ServiceSpec {
            // An original without a state is one of a sandbox, where nothing runs.
            state: managed
                .state
                .filter(|_| original.state.is_some() || !original.known)
                .map(|_| state),
            enabled: managed.enabled.and(enabled),
            masked: managed.masked.map(|_| original.masked),
            ..ServiceSpec::default()
        })
    }

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Service(original) = original else {
            return None;
        };
        if !original.known {
            return None;
        }
        let runs = match original.state {
            Some(state) if state.is_live() => "running",
            _ => "stopped",
        };
        let boot = match (original.masked, original.enabled) {
            (true, _) => ", masked",
            (false, Some(true)) => ", enabled",
            (false, Some(false)) => ", disabled",
            (false, None) => "",
        };
        Some(format!("a unit that was {runs}{boot}"))
    }

    fn lasting(&self, mut observed: Observed) -> Observed {
        if let Observed::Service(service) = &mut observed {
            service.stale = Stale::No;
        }
        observed
    }
}

fn one(cx: &mut ApplyContext<'_>, work: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Service(spec), Observed::Service(observed)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    if cx.sys.is_sandbox() {
        let unit = ServiceSpec::unit(work.address.name());
        return service_links::apply(cx.sys, &unit, work, spec);
    }
    let unit = observed.unit(work.address.name());
    let sys = cx.sys;
    check_known(&unit, spec, observed)?;
    let masking = work.changes("masked");
    if masking && spec.masked == Some(false) {
        control(sys, "unmask", &unit)?;
    }
    if work.changes("state") || work.changes("inputs") || work.changes("enabled") {
        systemd::reload_outdated(sys, std::slice::from_ref(&unit))?;
    }
    if work.changes("enabled") && spec.enabled == Some(true) {
        control(sys, "enable", &unit)?;
    }
    let effect = run(sys, &unit, work, spec, observed)?;
    if work.changes("enabled") && spec.enabled == Some(false) {
        if observed.known {
            control(sys, "disable", &unit)?;
        } else {
            remove_links(sys, &unit)?;
        }
    }
    if masking && spec.masked == Some(true) {
        if work.original.is_some() && has_file(sys, &unit)? {
            // The mask is the original of the unit file at that path. It comes back when the unit file is
            // given back.
            return Ok(Effect::Left);
        }
        let name = ServiceSpec::unit(work.address.name());
        if aliases::is_vendor_alias(sys, &name) {
            // Mask only the alias that a package installs, not its unit: masking `ctrl-alt-del.target` must
            // not mask `reboot.target`.
            control(sys, "mask", &name)?;
        } else {
            control(sys, "mask", &unit)?;
        }
    }
    if work.changes("state") && spec.state == Some(ServiceState::Stopped) {
        let warning = rivalry::started_again(sys, &unit);
        cx.warnings.extend(warning);
    }
    Ok(effect)
}

/// True if a spec masks its unit.
fn masks(spec: &Spec) -> bool {
    matches!(spec, Spec::Service(spec) if spec.masked == Some(true))
}

/// Starts, stops, restarts or reloads a unit, if the change requires it.
fn run(
    sys: &Sys,
    unit: &str,
    work: &ItemChange<'_>,
    spec: &ServiceSpec,
    observed: &ServiceObserved,
) -> Result<Effect> {
    if work.changes("inputs") && spec.state != Some(ServiceState::Stopped) {
        return if observed.stale == Stale::Reload {
            job(sys, "reload-or-restart", unit)?;
            Ok(Effect::Reloaded)
        } else {
            restart(sys, unit)?;
            Ok(Effect::Started)
        };
    }
    if !work.changes("state") {
        return Ok(Effect::Done);
    }
    if spec.state == Some(ServiceState::Started) {
        if observed.state != Some(RunState::Restarting) {
            // systemd refuses to start a unit that failed too often in a short time, unless its failures are
            // reset.
            let _ = systemd::control(sys, &["reset-failed", "--", unit]);
            job(sys, "start", unit)?;
        }
        return Ok(Effect::Started);
    }
    job(sys, "stop", unit)?;
    Ok(Effect::Done)
}

/// Restarts a unit. If it is a socket or path unit, stops the service that it triggers first and starts it
/// again afterwards, because systemd doesn't restart such a unit while that service runs.
fn restart(sys: &Sys, unit: &str) -> Result<()> {
    let _ = systemd::control(sys, &["reset-failed", "--", unit]);
    let endings = [".socket", ".path"];
    let Some(stem) = endings.iter().find_map(|end| unit.strip_suffix(end)) else {
        return job(sys, "restart", unit);
    };
    let triggered = format!("{stem}.service");
    let shown = systemd::show(sys, std::slice::from_ref(&triggered))?;
    let runs = shown
        .get(&triggered)
        .is_some_and(|shown| shown.is("ActiveState", "active"));
    if runs {
        job(sys, "stop", &triggered)?;
    }
    job(sys, "restart", unit)?;
    if runs {
        job(sys, "start", &triggered)?;
    }
    Ok(())
}

/// The way in which a unit takes over its changed configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reaction {
    Restart,
    Reload,
}

/// Makes a unit that runs take over its configuration. `observed` is an observation of the service `name`.
pub(crate) fn react(
    sys: &Sys,
    name: &str,
    observed: &ServiceObserved,
    reaction: Reaction,
) -> Result<()> {
    let unit = observed.unit(name);
    let runs = systemd::show(sys, std::slice::from_ref(&unit))?;
    let is_down = |shown: &systemd::Shown| {
        shown.is("ActiveState", "inactive") || shown.is("ActiveState", "deactivating")
    };
    if runs.get(&unit).is_none_or(is_down) {
        return Ok(());
    }
    match reaction {
        Reaction::Restart => restart(sys, &unit),
        Reaction::Reload => job(sys, "reload-or-restart", &unit),
    }
}

fn control(sys: &Sys, verb: &str, unit: &str) -> Result<()> {
    let output = systemd::control(sys, &[verb, "--", unit])?;
    if output.status == 0 {
        return Ok(());
    }
    Err(systemd::failure(sys, unit, verb, &output))
}

/// Starts a systemd job for a unit and waits for it for a while. The job may still be running when this
/// returns.
fn job(sys: &Sys, verb: &str, unit: &str) -> Result<()> {
    match systemd::job(sys, &[verb, "--", unit])? {
        Some(output) if output.status != 0 => Err(systemd::failure(sys, unit, verb, &output)),
        _ => Ok(()),
    }
}

/// Removes the links that enable a unit which has no file.
fn remove_links(sys: &Sys, unit: &str) -> Result<()> {
    for path in aliases::enablement_links(sys, unit)? {
        service_links::remove_link(sys, &path)?;
    }
    Ok(())
}

/// True if the administrator's folder has a file where the mask would be.
fn has_file(sys: &Sys, unit: &str) -> Result<bool> {
    let found = sys.root().look(&UnitSpec::path_in_folder(unit))?;
    Ok(found.is_some_and(|found| found.kind == FileKind::File))
}
