//! Units that stop or start each other: services that conflict, and a stopped service that its socket starts
//! again.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ServiceObserved, ServiceSpec, ServiceState};
use plumb_api::{Address, Spec};

use super::{ObserveContext, systemd};
use crate::error::Result;
use crate::sys::Sys;

/// Fails if starting this unit would make systemd stop another unit that should run according to git.
pub(super) fn check(
    cx: &ObserveContext<'_>,
    address: &Address,
    observed: &ServiceObserved,
) -> Result<()> {
    let unit = observed.unit(address.name());
    let mut rivals = systemd::related(cx.sys, &unit, "Conflicts");
    rivals.extend(systemd::related(cx.sys, &unit, "ConflictedBy"));
    let runs = |spec: &Spec| matches!(spec, Spec::Service(spec) if spec.state == Some(ServiceState::Started));
    let mut wanted = cx.inputs.desired.iter().filter(|(other, leaf)| {
        *other != address && runs(&leaf.spec) && rivals.contains(&ServiceSpec::unit(other.name()))
    });
    match wanted.next() {
        None => Ok(()),
        Some((other, _)) => Err(AgentError::new(
            ErrorCode::Refused,
            format!(
                "{address} and {other} can't both run: {unit} conflicts with {} (`Conflicts=`), and systemd would end one to start the other",
                ServiceSpec::unit(other.name())
            ),
        )
        .hint(format!("say `state: stopped` for {address} or {other}"))),
    }
}

/// Returns the active units, such as sockets, that can start this unit.
pub(super) fn active_triggers(sys: &Sys, unit: &str) -> Vec<String> {
    let triggers = systemd::related(sys, unit, "TriggeredBy");
    if triggers.is_empty() {
        return triggers;
    }
    let shown = systemd::show(sys, &triggers).unwrap_or_default();
    let is_active = |trigger: &String| {
        let shown = shown.get(trigger);
        shown.is_some_and(|shown| shown.is("ActiveState", "active"))
    };
    triggers.into_iter().filter(is_active).collect()
}

/// Returns a warning if active units can start a unit again that was just stopped.
pub(super) fn started_again(sys: &Sys, unit: &str) -> Option<String> {
    let triggers = active_triggers(sys, unit);
    if triggers.is_empty() {
        return None;
    }
    Some(format!(
        "{unit} was stopped, but {} can start it again: stop that too, or leave out `state`",
        triggers.join(", ")
    ))
}
