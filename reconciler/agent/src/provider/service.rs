//! `service`: run state, enablement, mask.

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ServiceSpec, ServiceState, Stale};
use plumb_api::{Observed, Spec};

use super::systemd;
use super::unit_state::{check_install, check_known, read};
use super::{
    ApplyContext, Effect, GiveBack, Inquiry, Item, ItemChange, Lane, ObserveContext, Provider,
    Sandbox, each, wrong_type,
};
use super::{service_links, start};
use crate::error::Result;

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
            let mut observed = read(shown, cx.inputs.last_start(item.address), spec.state);
            if observed.state == Some(ServiceState::Started) {
                let since = shown
                    .micros("ActiveEnterTimestampMonotonic")
                    .max(shown.micros("ExecMainStartTimestampMonotonic"));
                observed.stale = cx.inputs.stale(item.address, item.spec, since);
            }
            Ok(Observed::Service(observed))
        };
        items.iter().map(one).collect()
    }

    fn joins(&self, spec: &Spec, fields: &[FieldChange]) -> bool {
        matches!(spec, Spec::Service(spec) if start::is_start(spec, fields))
    }

    /// A running unit that isn't stale has read its inputs, whoever started it.
    fn has_read_inputs(&self, observed: &Observed) -> bool {
        matches!(
            observed,
            Observed::Service(found)
                if found.state == Some(ServiceState::Started) && found.stale == Stale::No
        )
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
        if work.len() > 1 && !cx.sys.is_sandbox() {
            return start::together(cx.sys, work);
        }
        each(cx, work, one)
    }

    fn give_back(&self) -> Option<&dyn GiveBack> {
        Some(self)
    }
}

impl GiveBack for Services {
    fn full_spec(&self) -> Spec {
        Spec::Service(ServiceSpec::default())
    }

    fn restore_spec(&self, original: &Observed, managed: Option<&Spec>) -> Spec {
        let (Observed::Service(original), Some(Spec::Service(managed))) = (original, managed)
        else {
            return Spec::Service(ServiceSpec::default());
        };
        // A unit that systemd didn't know came from Plumb or a package of Plumb's: it goes, so it stops.
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

    fn describe(&self, original: &Observed) -> Option<String> {
        let Observed::Service(original) = original else {
            return None;
        };
        if !original.known {
            return None;
        }
        let runs = match original.state {
            Some(ServiceState::Started) => "running",
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
    let unit = ServiceSpec::unit(work.address.name());
    if cx.sys.is_sandbox() {
        return service_links::apply(cx.sys, &unit, work, spec);
    }
    let sys = cx.sys;
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
            // systemd refuses to start a unit that failed too often in a row.
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
