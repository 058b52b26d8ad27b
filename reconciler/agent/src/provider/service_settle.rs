//! Waits until units have settled. A unit counts as started when it has stayed active for its `settle` time.

use std::time::Duration;

use plumb_api::plan::FieldChange;
use plumb_api::report::{AgentError, ErrorCode};
use plumb_api::resource::{RunState, ServiceSpec, ServiceState};
use plumb_api::{Observed, Spec};

use super::inputs::LastStart;
use super::rivalry;
use super::service::Services;
use super::settling::{Poll, Settling, SettlingItem};
use super::systemd::{self, PATIENCE, Shown};
use super::unit_state::{UnderWay, active_for, read};
use crate::error::{Result, fail};
use crate::sys::Sys;

/// Delay between two polls of a unit that is starting or stopping.
const PAUSE: Duration = Duration::from_millis(100);

impl Settling for Services {
    fn has_to_settle(&self, fields: &[FieldChange]) -> bool {
        let runs = |change: &FieldChange| matches!(change.field.as_str(), "state" | "inputs");
        fields.iter().any(runs)
    }

    fn poll(&self, sys: &Sys, items: &[SettlingItem<'_>]) -> Result<Vec<Poll>> {
        let units: Vec<String> = items.iter().filter_map(unit_of).collect();
        let snapshot = systemd::show(sys, &units)?;
        let one = |item: &SettlingItem<'_>| {
            let spec = spec_of(item)?;
            let shown = snapshot.get(&unit_of(item)?)?;
            Some(judge(shown, spec, item.since.elapsed()))
        };
        Ok(items
            .iter()
            .map(|item| one(item).unwrap_or(Poll::Failed))
            .collect())
    }

    fn error(&self, sys: &Sys, item: &SettlingItem<'_>) -> AgentError {
        match state_of(sys, item) {
            Ok((unit, shown, spec)) => explain(sys, &unit, &shown, spec, item.since.elapsed()),
            Err(error) => error,
        }
    }
}

fn spec_of<'a>(item: &SettlingItem<'a>) -> Option<&'a ServiceSpec> {
    match item.spec {
        Spec::Service(spec) => Some(spec),
        _ => None,
    }
}

fn unit_of(item: &SettlingItem<'_>) -> Option<String> {
    match item.observed {
        Observed::Service(observed) => Some(observed.unit(item.address.name())),
        _ => None,
    }
}

fn state_of<'a>(sys: &Sys, item: &SettlingItem<'a>) -> Result<(String, Shown, &'a ServiceSpec)> {
    let (Some(unit), Some(spec)) = (unit_of(item), spec_of(item)) else {
        return super::wrong_type(item.address);
    };
    match systemd::show(sys, std::slice::from_ref(&unit))?.remove(&unit) {
        Some(shown) => Ok((unit, shown, spec)),
        None => fail(ErrorCode::NotFound, format!("systemd shows no unit {unit}")),
    }
}

fn run_state(shown: &Shown, spec: &ServiceSpec) -> RunState {
    let observed = read(shown, LastStart::ThisBoot, spec);
    observed.state.unwrap_or(RunState::Stopped)
}

/// Returns whether a unit has settled, may still settle or has failed. `elapsed` is the time since its
/// change.
fn judge(shown: &Shown, spec: &ServiceSpec, elapsed: Duration) -> Poll {
    let settle = spec.settle();
    let state = run_state(shown, spec);
    let soon = Poll::Waits {
        patience: PATIENCE,
        pause: PAUSE,
    };
    if spec.state == Some(ServiceState::Stopped) {
        return match state {
            RunState::Stopped | RunState::Failed => Poll::Settled,
            _ => soon,
        };
    }
    match state {
        RunState::Started if ended(shown) => Poll::Settled,
        RunState::Started => match settle.checked_sub(elapsed.min(active_for(shown))) {
            None | Some(Duration::ZERO) => Poll::Settled,
            Some(rest) => Poll::Waits {
                patience: settle + PATIENCE,
                pause: rest.min(Duration::from_secs(1)),
            },
        },
        RunState::Restarting => Poll::Waits {
            patience: settle.max(PATIENCE),
            pause: PAUSE,
        },
        RunState::Starting | RunState::Reloading | RunState::Stopping => soon,
        RunState::Stopped | RunState::Failed => Poll::Failed,
    }
}

/// True if a oneshot unit has run and ended.
fn ended(shown: &Shown) -> bool {
    shown.is("ActiveState", "inactive")
}

/// Returns the error for a unit that hasn't become as desired, or hasn't yet within the time limit.
fn explain(
    sys: &Sys,
    unit: &str,
    shown: &Shown,
    spec: &ServiceSpec,
    elapsed: Duration,
) -> AgentError {
    let state = run_state(shown, spec);
    if spec.state == Some(ServiceState::Stopped) && state == RunState::Started {
        return runs_again(sys, unit);
    }
    match story(unit, shown, spec, state, elapsed) {
        Story::Waits(message) => AgentError::new(ErrorCode::UnitPending, message)
            .hint("the other changes are made meanwhile, and newer intent doesn't wait for it"),
        Story::TooLong(message) => systemd::with_journal(sys, unit, ErrorCode::TimedOut, message),
        Story::Failed(message) => {
            systemd::with_journal(sys, unit, ErrorCode::CommandFailed, message)
        }
    }
}

/// Returns the error for a unit that was stopped and is running again.
fn runs_again(sys: &Sys, unit: &str) -> AgentError {
    let triggers = rivalry::active_triggers(sys, unit);
    if triggers.is_empty() {
        let message = format!("{unit} was stopped and runs again");
        return systemd::with_journal(sys, unit, ErrorCode::CommandFailed, message);
    }
    let triggers = triggers.join(", ");
    AgentError::new(
        ErrorCode::CommandFailed,
        format!("{unit} was stopped and runs again: {triggers} starts it"),
    )
    .hint(format!("stop {triggers} too, or leave out `state`"))
}

/// The message about a unit that hasn't settled.
#[derive(Debug, PartialEq, Eq)]
enum Story {
    Waits(String),
    TooLong(String),
    Failed(String),
}

fn story(
    unit: &str,
    shown: &Shown,
    spec: &ServiceSpec,
    state: RunState,
    elapsed: Duration,
) -> Story {
    let (active, sub) = (shown.get("ActiveState"), shown.get("SubState"));
    match state {
        RunState::Starting | RunState::Reloading | RunState::Stopping => {
            let way = UnderWay::of(shown, state);
            let spent = way.spent.max(elapsed);
            let (spent_s, limit_s) = (spent.as_secs(), way.limit.as_secs());
            if spent < way.limit {
                Story::Waits(format!(
                    "waiting for {unit}: {active} ({sub}) for {spent_s} s, at most {limit_s} s"
                ))
            } else {
                Story::TooLong(format!(
                    "{unit} is still {active} ({sub}) after {spent_s} s; it is waited for at most {limit_s} s"
                ))
            }
        }
        RunState::Started => Story::Waits(format!(
            "waiting for {unit}: active for {} s, settled after {} s",
            active_for(shown).min(elapsed).as_secs(),
            spec.settle().as_secs()
        )),
        RunState::Restarting => Story::Failed(format!(
            "{unit} doesn't stay up: systemd has started it again {} times, it is {active} ({sub})",
            shown.get("NRestarts")
        )),
        RunState::Stopped if condition_unmet(shown) => Story::Failed(format!(
            "{unit} wasn't started: a condition of its file isn't met (`Condition…=`)"
        )),
        RunState::Failed => Story::Failed(format!(
            "{unit} failed: {}",
            Some(shown.get("Result"))
                .filter(|result| !result.is_empty() && *result != "success")
                .unwrap_or(sub)
        )),
        RunState::Stopped => Story::Failed(format!("{unit} ended by itself: {active} ({sub})")),
    }
}

/// True if systemd didn't start a unit because of an unmet condition. The timestamp excludes units that
/// systemd never tried to start.
fn condition_unmet(shown: &Shown) -> bool {
    shown.is("ConditionResult", "no") && shown.micros("ConditionTimestampMonotonic") > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::monotonic_micros;

    fn ago(micros: u64) -> String {
        (monotonic_micros() - micros).to_string()
    }

    fn started() -> ServiceSpec {
        ServiceSpec {
            state: Some(ServiceState::Started),
            ..ServiceSpec::default()
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_unit_has_started_once_it_stayed_active() {
        let entered = |micros| {
            let shown = Shown::of(&[
                ("ActiveState", "active"),
                ("ActiveEnterTimestampMonotonic", &ago(micros)),
            ]);
            judge(&shown, &started(), LONG)
        };
        assert_eq!(entered(2_000_000), Poll::Settled);
        assert!(matches!(entered(200_000), Poll::Waits { pause, .. } if pause > PAUSE));
        let old = Shown::of(&[
            ("ActiveState", "active"),
            ("ActiveEnterTimestampMonotonic", &ago(60_000_000)),
        ]);
        assert!(
            matches!(judge(&old, &started(), Duration::ZERO), Poll::Waits { .. }),
            "a reload has to settle too"
        );
    }

    #[test]
    fn a_unit_that_ended_has_failed_and_one_on_its_way_is_waited_for() {
        let judged = |active: &str, sub: &str| {
            let shown = Shown::of(&[("ActiveState", active), ("SubState", sub)]);
            judge(&shown, &started(), LONG)
        };
        assert_eq!(judged("failed", "failed"), Poll::Failed);
        assert_eq!(judged("inactive", "dead"), Poll::Failed);
        for (active, sub) in [
            ("activating", "start"),
            ("activating", "auto-restart"),
            ("deactivating", "stop-sigterm"),
            ("reloading", "reload"),
        ] {
            assert!(
                matches!(judged(active, sub), Poll::Waits { .. }),
                "{active}"
            );
        }
        let oneshot = Shown::of(&[
            ("ActiveState", "inactive"),
            ("Type", "oneshot"),
            ("Result", "success"),
        ]);
        assert_eq!(
            judge(&oneshot, &started(), Duration::ZERO),
            Poll::Settled,
            "it ran"
        );
    }

    #[test]
    fn a_stop_is_over_when_the_unit_is_inactive() {
        let stopped = ServiceSpec {
            state: Some(ServiceState::Stopped),
            ..ServiceSpec::default()
        };
        let judged = |active: &str| judge(&Shown::of(&[("ActiveState", active)]), &stopped, LONG);
        assert_eq!(judged("inactive"), Poll::Settled);
        assert_eq!(judged("failed"), Poll::Settled);
        assert!(matches!(judged("deactivating"), Poll::Waits { .. }));
    }

    fn told(pairs: &[(&str, &str)]) -> Story {
        let (shown, spec) = (Shown::of(pairs), started());
        let state = run_state(&shown, &spec);
        story("x.service", &shown, &spec, state, Duration::from_secs(5))
    }

    #[test]
    fn a_wait_names_the_unit_and_its_limit() {
        let (now, long_ago) = (ago(5_100_000), ago(95_000_000));
        let starting = |begun: &str, limit: &str| {
            told(&[
                ("ActiveState", "activating"),
                ("SubState", "start"),
                ("InactiveExitTimestampMonotonic", begun),
                ("TimeoutStartUSec", limit),
            ])
        };
        assert_eq!(
            starting(&now, "20000000"),
            Story::Waits(
                "waiting for x.service: activating (start) for 5 s, at most 20 s".to_owned()
            )
        );
        assert_eq!(
            starting(&long_ago, "18446744073709551615"),
            Story::TooLong(
                "x.service is still activating (start) after 95 s; it is waited for at most 90 s"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_failure_is_told_as_one() {
        assert_eq!(
            told(&[("ActiveState", "failed"), ("Result", "exit-code")]),
            Story::Failed("x.service failed: exit-code".to_owned())
        );
        let again = told(&[
            ("ActiveState", "activating"),
            ("SubState", "auto-restart"),
            ("NRestarts", "4"),
        ]);
        assert_eq!(
            again,
            Story::Failed(
                "x.service doesn't stay up: systemd has started it again 4 times, it is activating (auto-restart)"
                    .to_owned()
            )
        );
        let untried = [("ActiveState", "inactive"), ("ConditionResult", "no")];
        assert!(matches!(told(&untried), Story::Failed(text) if text.contains("ended by itself")));
        let tried = ("ConditionTimestampMonotonic", "5");
        let condition = told(&[untried[0], untried[1], tried]);
        assert!(
            matches!(condition, Story::Failed(text) if text.contains("a condition of its file"))
        );
    }
}
