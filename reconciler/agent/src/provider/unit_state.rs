//! Derives a unit's state from the properties that systemd shows, and checks if a change of it is possible.

use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{RunState, ServiceObserved, ServiceSpec, ServiceState, Stale};

use super::ItemChange;
use super::inputs::LastStart;
use super::systemd::Shown;
use crate::error::Result;
use crate::sys::monotonic_micros;

/// Maximum time that Plumb waits, over several runs, for a unit to start, stop or reload, even if the unit
/// has a longer time limit. After that, the unit counts as failed.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// Derives a service's state from systemd's properties. A oneshot that has run and ended counts as started
/// unless the spec is `stopped`. A oneshot with `RemainAfterExit` is active until somebody stops it.
pub(super) fn read(shown: &Shown, last_start: LastStart, spec: &ServiceSpec) -> ServiceObserved {
    let masked = shown.is("LoadState", "masked");
    let known = !shown.is("LoadState", "not-found");
    let ends_by_itself = shown.is("Type", "oneshot") && !shown.is("RemainAfterExit", "yes");
    let has_run = shown.is("Result", "success")
        && (last_start == LastStart::ThisBoot
            || shown.micros("ExecMainStartTimestampMonotonic") > 0);
    let restarts = shown.micros("NRestarts") > 0;
    let state = match shown.get("ActiveState") {
        // A unit that systemd restarted after a failure may fail again.
        "active" if restarts && active_for(shown) < spec.settle() => RunState::Restarting,
        "active" => RunState::Started,
        "reloading" | "refreshing" => RunState::Reloading,
        "activating" if restarts || shown.get("SubState").starts_with("auto-restart") => {
            RunState::Restarting
        }
        "activating" => RunState::Starting,
        "deactivating" | "maintenance" => RunState::Stopping,
        "failed" => RunState::Failed,
        _ if shown.micros("Job") > 0 => RunState::Starting,
        _ if ends_by_itself && has_run && spec.state != Some(ServiceState::Stopped) => {
            RunState::Started
        }
        _ => RunState::Stopped,
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
        state: Some(state),
        enabled,
        masked,
        stale: Stale::No,
        alias_of: None,
    }
}

fn since(shown: &Shown, timestamp: &str) -> Duration {
    let now = monotonic_micros();
    Duration::from_micros(now.saturating_sub(shown.micros(timestamp)))
}

/// Returns the time for which a unit has been active.
pub(super) fn active_for(shown: &Shown) -> Duration {
    since(shown, "ActiveEnterTimestampMonotonic")
}

/// The time that a unit has spent on changing its state, and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Time since the unit began to start, stop or reload.
    pub(super) spent: Duration,
    /// Maximum time that Plumb waits, over several runs, for the unit to complete the change.
    pub(super) limit: Duration,
}

impl UnderWay {
    /// Reads the times of a unit that is starting, stopping or reloading.
    pub(super) fn of(shown: &Shown, state: RunState) -> Self {
        let (begin, limit) = match state {
            RunState::Stopping => ("ActiveExitTimestampMonotonic", "TimeoutStopUSec"),
            RunState::Reloading => ("StateChangeTimestampMonotonic", "TimeoutStartUSec"),
            _ => ("InactiveExitTimestampMonotonic", "TimeoutStartUSec"),
        };
        let spent = match shown.get("ActiveState") {
            // The unit's job hasn't begun, because it waits for another unit.
            "inactive" | "failed" => Duration::ZERO,
            _ => since(shown, begin),
        };
        let own = match shown.micros(limit) {
            0 | u64::MAX => LONGEST_WAIT,
            micros => Duration::from_micros(micros),
        };
        Self {
            spent,
            limit: own.min(LONGEST_WAIT),
        }
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

/// Fails if the change enables or disables a unit that has no `[Install]` section or that a generator
/// creates.
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
        format!(
            "{unit} can't be enabled or disabled: its file has no [Install] section, or a generator makes it at each boot"
        ),
    )
    .hint("leave out `enabled`, or add the section with a `unit` of your own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> ServiceObserved {
        read(
            &Shown::of(pairs),
            LastStart::Unknown,
            &ServiceSpec::default(),
        )
    }

    fn state(pairs: &[(&str, &str)]) -> RunState {
        of(pairs).state.unwrap()
    }

    #[test]
    fn every_active_state_of_systemd_has_its_own() {
        let active = |name| state(&[("ActiveState", name)]);
        assert_eq!(active("active"), RunState::Started);
        assert_eq!(active("reloading"), RunState::Reloading);
        assert_eq!(active("activating"), RunState::Starting);
        assert_eq!(active("deactivating"), RunState::Stopping);
        assert_eq!(active("failed"), RunState::Failed);
        assert_eq!(active("inactive"), RunState::Stopped);
        assert_eq!(
            state(&[("ActiveState", "inactive"), ("Job", "17")]),
            RunState::Starting,
            "its job waits"
        );
        let again = [("ActiveState", "activating"), ("SubState", "auto-restart")];
        assert_eq!(state(&again), RunState::Restarting);
        let again = [
            ("ActiveState", "activating"),
            ("SubState", "start"),
            ("NRestarts", "2"),
        ];
        assert_eq!(
            state(&again),
            RunState::Restarting,
            "it ended, and tries again"
        );
    }

    #[test]
    fn a_unit_that_was_started_again_counts_once_it_has_settled() {
        let now = monotonic_micros();
        let entered = |ago: u64| (now - ago).to_string();
        let active = |entered: &str, restarts| {
            state(&[
                ("ActiveState", "active"),
                ("NRestarts", restarts),
                ("ActiveEnterTimestampMonotonic", entered),
            ])
        };
        assert_eq!(active(&entered(100_000), "3"), RunState::Restarting);
        assert_eq!(active(&entered(5_000_000), "3"), RunState::Started);
        assert_eq!(active(&entered(100_000), "0"), RunState::Started);
    }

    #[test]
    fn a_oneshot_that_has_run_is_started_and_stopped() {
        let oneshot = [
            ("Type", "oneshot"),
            ("ActiveState", "inactive"),
            ("Result", "success"),
        ];
        assert_eq!(state(&oneshot), RunState::Stopped, "it hasn't run yet");
        let mut has_run = oneshot.to_vec();
        has_run.push(("ExecMainStartTimestampMonotonic", "5"));
        assert_eq!(state(&has_run), RunState::Started);
        let stopped = ServiceSpec {
            state: Some(ServiceState::Stopped),
            ..ServiceSpec::default()
        };
        let seen = read(&Shown::of(&has_run), LastStart::ThisBoot, &stopped);
        assert_eq!(
            seen.state,
            Some(RunState::Stopped),
            "it ran, and it doesn't run"
        );
        has_run.push(("RemainAfterExit", "yes"));
        assert_eq!(state(&has_run), RunState::Stopped, "somebody stopped it");
        let forgotten = read(
            &Shown::of(&oneshot),
            LastStart::ThisBoot,
            &ServiceSpec::default(),
        );
        assert_eq!(
            forgotten.state,
            Some(RunState::Started),
            "systemd forgot it, the ledger didn't"
        );
    }

    #[test]
    fn enablement_and_masks_are_read() {
        let missing = of(&[("LoadState", "not-found"), ("ActiveState", "inactive")]);
        assert_eq!((missing.known, missing.enabled), (false, Some(false)));
        let orphan = of(&[("LoadState", "not-found"), ("ActiveState", "active")]);
        assert_eq!(
            orphan.state,
            Some(RunState::Started),
            "it runs without a file"
        );
        assert_eq!(of(&[("UnitFileState", "static")]).enabled, None);
        assert!(of(&[("LoadState", "masked"), ("UnitFileState", "masked")]).masked);
    }

    #[test]
    fn a_wait_has_the_units_limit_and_ours() {
        let limit = |micros: &str| {
            let shown = Shown::of(&[("ActiveState", "activating"), ("TimeoutStartUSec", micros)]);
            UnderWay::of(&shown, RunState::Starting).limit
        };
        assert_eq!(limit("20000000"), Duration::from_secs(20));
        assert_eq!(limit("600000000"), LONGEST_WAIT);
        assert_eq!(limit("18446744073709551615"), LONGEST_WAIT, "infinity");
        assert_eq!(limit("0"), LONGEST_WAIT);
    }
}
