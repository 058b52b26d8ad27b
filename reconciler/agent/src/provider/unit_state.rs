//! The state of a unit as systemd shows it, and checks of what can be asked of it.

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{ServiceObserved, ServiceSpec, ServiceState, Stale};

use super::ItemChange;
use super::inputs::LastStart;
use super::systemd::Shown;
use crate::error::Result;

/// Derives a service's state from systemd's properties. A oneshot that has run and ended meets both `started`
/// and `stopped`, so `wanted` decides; one with `RemainAfterExit` is active until somebody stops it.
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
        // A unit that waits for its restart after a failure isn't running.
        "activating" => !shown.is("SubState", "auto-restart"),
        "inactive" => ends_by_itself && has_run && wanted != Some(ServiceState::Stopped),
        _ => false,
    };
    let enabled = match shown.get("UnitFileState") {
        "enabled" => Some(true),
        "disabled" | "enabled-runtime" | "linked" | "linked-runtime" | "masked"
        | "masked-runtime" => Some(false),
        // A unit that doesn't exist doesn't start at boot.
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

/// Fails if the spec starts or enables a unit that systemd doesn't know.
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

/// Fails if the spec enables or disables a unit without an `[Install]` section.
pub(super) fn check_install(
    unit: &str,
    work: &ItemChange<'_>,
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
