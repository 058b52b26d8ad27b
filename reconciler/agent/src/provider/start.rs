//! Enables and starts several services together: with three calls of `systemctl` and at most one reload of
//! systemd for all of them, so that systemd starts them in parallel.

use plumb_api::plan::FieldChange;
use plumb_api::report::AgentError;
use plumb_api::resource::{RunState, ServiceSpec, ServiceState};
use plumb_api::{Observed, Spec};

use super::inputs::LastStart;
use super::systemd::{self, Shown, Snapshot};
use super::unit_state::{check_known, read};
use super::{Effect, ItemChange, wrong_type};
use crate::error::Result;
use crate::sys::{Output, Sys, monotonic_micros};

/// True if a change only starts or enables a service. The order of such changes doesn't matter, except for
/// orders that the unit files declare and systemd follows itself.
pub(super) fn is_start(spec: &ServiceSpec, fields: &[FieldChange]) -> bool {
    fields.iter().all(|change| match change.field.as_str() {
        "state" => spec.state == Some(ServiceState::Started),
        "enabled" => spec.enabled == Some(true),
        _ => false,
    })
}

/// One of the services that are started together, with its result so far.
struct StartingService<'a, 'w> {
    work: &'a ItemChange<'w>,
    unit: String,
    outcome: Result<Effect>,
}

/// Enables and starts all services. Returns one result per service, in the order of `work`.
pub(super) fn together(sys: &Sys, work: &[ItemChange<'_>]) -> Vec<Result<Effect>> {
    let mut all: Vec<StartingService<'_, '_>> = work
        .iter()
        .map(|work| StartingService {
            work,
            unit: unit_of(work),
            outcome: check(work),
        })
        .collect();
    let units: Vec<String> = all.iter().map(|one| one.unit.clone()).collect();
    if let Err(error) = systemd::reload_outdated(sys, &units) {
        return all.iter().map(|_| Err(error.clone())).collect();
    }
    enable(sys, &mut those(&mut all, "enabled"));
    start(sys, &mut those(&mut all, "state"));
    all.into_iter().map(|one| one.outcome).collect()
}

fn unit_of(work: &ItemChange<'_>) -> String {
    match work.observed {
        Observed::Service(observed) => observed.unit(work.address.name()),
        _ => ServiceSpec::unit(work.address.name()),
    }
}

fn check(work: &ItemChange<'_>) -> Result<Effect> {
    let (Spec::Service(spec), Observed::Service(observed)) = (work.spec, work.observed) else {
        return wrong_type(work.address);
    };
    let unit = unit_of(work);
    check_known(&unit, spec, observed)?;
    Ok(Effect::Done)
}

/// Returns the services that haven't failed so far and whose change includes this field.
fn those<'s, 'a, 'w>(
    all: &'s mut [StartingService<'a, 'w>],
    field: &str,
) -> Vec<&'s mut StartingService<'a, 'w>> {
    all.iter_mut()
        .filter(|one| one.outcome.is_ok() && one.work.changes(field))
        .collect()
}

fn words<'s>(verb: &'s str, units: &'s [&mut StartingService<'_, '_>]) -> Vec<&'s str> {
    let units = units.iter().map(|one| one.unit.as_str());
    [verb, "--"].into_iter().chain(units).collect()
}

fn control(sys: &Sys, verb: &str, units: &[&mut StartingService<'_, '_>]) -> Result<Output> {
    systemd::control(sys, &words(verb, units))
}

fn enable(sys: &Sys, all: &mut [&mut StartingService<'_, '_>]) {
    if all.is_empty() {
        return;
    }
    match control(sys, "enable", all) {
        Ok(output) if output.status == 0 => {}
        // At least one service can't be enabled. Enable each alone to find out which. This does nothing for
        // those that were just enabled.
        Ok(_) => {
            for one in all {
                one.outcome = match systemd::control(sys, &["enable", "--", &one.unit]) {
                    Ok(output) if output.status == 0 => Ok(Effect::Done),
                    Ok(output) => Err(systemd::failure(sys, &one.unit, "enable", &output)),
                    Err(error) => Err(error),
                };
            }
        }
        Err(error) => fail_all(all, &error),
    }
}

fn start(sys: &Sys, all: &mut [&mut StartingService<'_, '_>]) {
    if all.is_empty() {
        return;
    }
    // systemd refuses to start a unit that failed too often in a short time, unless its failures are reset.
    let _ = control(sys, "reset-failed", all);
    let since = monotonic_micros();
    let output = match systemd::job(sys, &words("start", all)) {
        Ok(Some(output)) if output.status != 0 => output,
        // The run waits later for the units that are still starting, together with its other changes.
        Ok(_) => {
            for one in all {
                one.outcome = Ok(Effect::Started);
            }
            return;
        }
        Err(error) => return fail_all(all, &error),
    };
    // Find the failed units by their states. Starting each unit again could have side effects.
    let units: Vec<String> = all.iter().map(|one| one.unit.clone()).collect();
    let shown: Snapshot = match systemd::show(sys, &units) {
        Ok(shown) => shown,
        Err(error) => return fail_all(all, &error),
    };
    let blamed = |unit: &str| output.stderr.lines().any(|line| names(line, unit));
    let is_told = units.iter().any(|unit| blamed(unit));
    for one in all {
        let up = shown
            .get(&one.unit)
            .is_some_and(|shown| came_up(shown, since));
        // systemctl names each unit whose job failed. For the other units, settling shows whether they start.
        one.outcome = if up || is_told && !blamed(&one.unit) {
            Ok(Effect::Started)
        } else {
            let said = about(&output, &one.unit, &units);
            Err(systemd::failure(sys, &one.unit, "start", &said))
        };
    }
}

fn fail_all(all: &mut [&mut StartingService<'_, '_>], error: &AgentError) {
    for one in all {
        one.outcome = Err(error.clone());
    }
}

/// True if a started unit is active, or is a oneshot that has run at or after `since` and ended.
fn came_up(shown: &Shown, since: u64) -> bool {
    let spec = ServiceSpec {
        state: Some(ServiceState::Started),
        ..ServiceSpec::default()
    };
    let state = read(shown, LastStart::Unknown, &spec).state;
    let ran = !shown.is("ActiveState", "inactive")
        || shown.micros("ExecMainStartTimestampMonotonic") >= since;
    state == Some(RunState::Started) && ran
}

/// True if a line of systemctl's output contains the unit's name.
fn names(line: &str, unit: &str) -> bool {
    line.split(|c: char| c.is_whitespace() || "\"',;()".contains(c))
        .any(|word| word.trim_end_matches(['.', ':']) == unit)
}

/// Returns the output without the lines that name only other units.
fn about(output: &Output, unit: &str, units: &[String]) -> Output {
    let concerns = |line: &&str| names(line, unit) || !units.iter().any(|other| names(line, other));
    let lines: Vec<&str> = output.stderr.lines().filter(concerns).collect();
    Output {
        status: output.status,
        stdout: String::new(),
        stderr: lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> FieldChange {
        FieldChange {
            field: name.to_owned(),
            from: None,
            to: None,
        }
    }

    #[test]
    fn only_starts_are_made_together() {
        let spec = ServiceSpec {
            state: Some(ServiceState::Started),
            enabled: Some(true),
            ..ServiceSpec::default()
        };
        assert!(is_start(&spec, &[field("state"), field("enabled")]));
        for other in ["masked", "inputs"] {
            assert!(!is_start(&spec, &[field("state"), field(other)]), "{other}");
        }
        let stop = ServiceSpec {
            state: Some(ServiceState::Stopped),
            ..spec.clone()
        };
        assert!(!is_start(&stop, &[field("state")]));
        let disable = ServiceSpec {
            enabled: Some(false),
            ..spec
        };
        assert!(!is_start(&disable, &[field("enabled")]));
    }

    #[test]
    fn what_came_up_is_told_from_what_did_not() {
        let up = |pairs: &[(&str, &str)]| {
            let mut all = vec![("LoadState", "loaded"), ("Result", "success")];
            all.extend_from_slice(pairs);
            came_up(&Shown::of(&all), 100)
        };
        let started = "ExecMainStartTimestampMonotonic";
        assert!(up(&[("ActiveState", "active"), (started, "50")]));
        assert!(!up(&[("ActiveState", "failed")]));
        assert!(!up(&[
            ("ActiveState", "activating"),
            ("SubState", "auto-restart")
        ]));
        let ended = [("ActiveState", "inactive"), ("Type", "oneshot")];
        assert!(up(&[ended[0], ended[1], (started, "150")]));
        assert!(
            !up(&[ended[0], ended[1], (started, "50")]),
            "that was an earlier run"
        );
        assert!(!up(&[ended[0], ended[1]]), "what it needs failed");
    }

    #[test]
    fn each_is_told_what_was_said_of_it() {
        let output = Output {
            status: 1,
            stdout: String::new(),
            stderr: "Job for a.service failed because of this.\n\
                     See \"systemctl status a.service\" and \"journalctl -xeu a.service\" for details.\n\
                     A dependency job for b.service failed.\nFailed to connect\n"
                .to_owned(),
        };
        let units = ["a.service", "b.service", "aa.service"].map(str::to_owned);
        let said = |unit| about(&output, unit, &units).stderr;
        assert_eq!(
            said("b.service"),
            "A dependency job for b.service failed.\nFailed to connect"
        );
        assert_eq!(said("aa.service"), "Failed to connect");
        assert_eq!(said("a.service").lines().count(), 3);
    }
}
