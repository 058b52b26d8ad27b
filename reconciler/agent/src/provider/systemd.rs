//! Reads the state of units, over systemd's socket or with one `systemctl show` for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_api::report::{AgentError, ErrorCode};

use super::aliases;
use super::bus::{self, Value};
use crate::error::{Result, fail};
use crate::sys::{Output, Program, Sys};

/// Properties that are read for every unit.
const UNIT_PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,Job,\
    ConditionResult,ConditionTimestampMonotonic,StateChangeTimestampMonotonic,InactiveExitTimestampMonotonic,\
    ActiveEnterTimestampMonotonic,ActiveExitTimestampMonotonic";

/// Additional properties that are read for a service.
const SERVICE_PROPERTIES: &str = "Type,RemainAfterExit,Result,ExecMainStartTimestampMonotonic,NRestarts,\
    TimeoutStartUSec,TimeoutStopUSec";

/// Maximum time that a run waits for systemd's jobs: first for `systemctl`, then for a unit to settle. After
/// that, the job goes on in systemd, and the next run observes its result.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The properties of a unit, as systemd shows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    properties: BTreeMap<String, String>,
}

/// Units by the names under which they were requested.
pub(crate) type Snapshot = BTreeMap<String, Shown>;

impl Shown {
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            properties: pairs.iter().map(pair).collect(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    pub(crate) fn micros(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    /// Returns the unit's real name. If the unit was requested by an alias, this is another name.
    pub(crate) fn id(&self) -> Option<&str> {
        Some(self.get("Id")).filter(|id| !id.is_empty())
    }

    pub(crate) fn is_known(&self) -> bool {
        !self.is("LoadState", "not-found")
    }

    pub(crate) fn needs_reload(&self) -> bool {
        self.is("NeedDaemonReload", "yes")
    }
}

fn parse(units: &[String], text: &str) -> Snapshot {
    let mut blocks: Vec<Shown> = vec![Shown::default()];
    for line in text.lines() {
        if line.is_empty() {
            blocks.push(Shown::default());
        } else if let (Some((name, value)), Some(block)) = (line.split_once('='), blocks.last_mut())
        {
            block.properties.insert(name.to_owned(), value.to_owned());
        }
    }
    blocks.retain(|block| !block.properties.is_empty());
    units.iter().cloned().zip(blocks).collect()
}

/// True for a template such as `getty@.service`. A template has no state, and querying it is an error.
pub(crate) fn is_template(unit: &str) -> bool {
    unit.contains("@.")
}

/// Reads the states of units, except templates. If systemd doesn't know a name, but a disabled unit has it as
/// an alias, returns the state of that unit.
pub(crate) fn resolve(sys: &Sys, units: &[String]) -> Result<Snapshot> {
    let mut snapshot = show(sys, units)?;
    let unknown = |(name, shown): (&String, &Shown)| (!shown.is_known()).then(|| name.clone());
    let missing: BTreeSet<String> = snapshot.iter().filter_map(unknown).collect();
    if missing.is_empty() {
        return Ok(snapshot);
    }
    let aliases = aliases::of_disabled_units(sys, &missing);
    let real: Vec<String> = aliases.values().cloned().collect();
    let shown = show(sys, &real)?;
    for (alias, unit) in aliases {
        if let Some(shown) = shown.get(&unit).filter(|shown| shown.is_known()) {
            snapshot.insert(alias, shown.clone());
        }
    }
    Ok(snapshot)
}

/// Reads the states of units, except templates.
pub(crate) fn show(sys: &Sys, units: &[String]) -> Result<Snapshot> {
    let units: Vec<String> = units
        .iter()
        .filter(|unit| !is_template(unit))
        .cloned()
        .collect();
    if units.is_empty() {
        return Ok(Snapshot::new());
    }
    running(sys)?;
    match ask(&units) {
        Some(snapshot) => Ok(snapshot),
        None => show_by_program(sys, &units),
    }
}

/// D-Bus interface that all units have.
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";

/// Reads the states over systemd's socket. Returns `None` if that fails for any reason.
fn ask(units: &[String]) -> Option<Snapshot> {
    const SERVICE: &str = "org.freedesktop.systemd1.Service";
    let paths: Vec<String> = units.iter().map(|unit| bus::unit_path(unit)).collect();
    let mut questions = Vec::new();
    let mut places = Vec::new();
    for (unit, path) in units.iter().zip(&paths) {
        let own = SERVICE_PROPERTIES
            .split(',')
            .filter(|_| unit.strip_suffix(".service").is_some());
        let all = UNIT_PROPERTIES
            .split(',')
            .map(|name| (UNIT_INTERFACE, name))
            .chain(own.map(|name| (SERVICE, name)));
        for (interface, property) in all {
            places.push((unit, property));
            questions.push(bus::Question {
                path,
                interface,
                property,
            });
        }
    }
    let mut snapshot: Snapshot = units
        .iter()
        .map(|unit| (unit.clone(), Shown::default()))
        .collect();
    for ((unit, property), value) in places.into_iter().zip(bus::ask(&questions)?) {
        let shown = snapshot.get_mut(unit)?;
        if let Some(value) = value {
            shown
                .properties
                .insert(property.to_owned(), value.into_text());
        }
    }
    // Every unit has a load state, so its absence means that the answer wasn't understood.
    snapshot
        .values()
        .all(|shown| !shown.get("LoadState").is_empty())
        .then_some(snapshot)
}

/// True if systemd has loaded a unit from the file at this path, and the file hasn't changed since. False if
/// systemd can't be queried over its socket.
pub(crate) fn has_read(unit: &str, path: &str) -> bool {
    let object = bus::unit_path(unit);
    let question = |property| bus::Question {
        path: &object,
        interface: UNIT_INTERFACE,
        property,
    };
    let answers = bus::ask(&[question("FragmentPath"), question("NeedDaemonReload")]);
    matches!(
        answers.as_deref(),
        Some([Some(Value::Text(file)), Some(Value::Flag(false))]) if file == path
    )
}

/// Returns the words in a property of `unit`, such as the units in `TriggeredBy`. Returns none if systemd
/// can't be queried.
pub(crate) fn related(sys: &Sys, unit: &str, property: &str) -> Vec<String> {
    let question = bus::Question {
        path: &bus::unit_path(unit),
        interface: UNIT_INTERFACE,
        property,
    };
    let answer = bus::ask(&[question]).and_then(|mut answers| answers.pop().flatten());
    let text = if let Some(value) = answer {
        value.into_text()
    } else {
        let words = ["show", "--value", "-p", property, "--", unit];
        let output = systemctl(&words).limit(Duration::from_secs(30)).run(sys);
        output.map(|output| output.stdout).unwrap_or_default()
    };
    text.split_whitespace().map(str::to_owned).collect()
}

fn show_by_program(sys: &Sys, units: &[String]) -> Result<Snapshot> {
    let properties = format!("{UNIT_PROPERTIES},{SERVICE_PROPERTIES}");
    let head = ["show", "--no-pager", "-p", properties.as_str(), "--"].map(str::to_owned);
    let output = Program::new("systemctl", head.into_iter().chain(units.iter().cloned()))
        .limit(Duration::from_secs(30))
        .check(sys)?;
    let snapshot = parse(units, &output.stdout);
    if snapshot.len() != units.len() {
        return fail(
            ErrorCode::CommandFailed,
            format!(
                "systemctl showed {} of {} units",
                snapshot.len(),
                units.len()
            ),
        );
    }
    Ok(snapshot)
}

/// Fails if the host wasn't booted with systemd, or is a sandbox.
pub(crate) fn running(sys: &Sys) -> Result<()> {
    if sys.has_systemd() {
        return Ok(());
    }
    fail(
        ErrorCode::Unsupported,
        "systemd doesn't run on this host, so units can't be managed",
    )
}

/// Runs `systemctl` with these arguments.
pub(crate) fn control(sys: &Sys, words: &[&str]) -> Result<Output> {
    systemctl(words).limit(Duration::from_secs(90)).run(sys)
}

fn systemctl<'a>(words: &[&str]) -> Program<'a> {
    let all = ["--no-pager", "--no-ask-password"];
    Program::new("systemctl", all.iter().chain(words).copied())
}

/// Starts systemd jobs with `systemctl` and waits until they end. Returns `None` if they are still running
/// after [`PATIENCE`].
pub(crate) fn job(sys: &Sys, words: &[&str]) -> Result<Option<Output>> {
    match systemctl(words).limit(PATIENCE).run(sys) {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.code == ErrorCode::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reloads systemd's configuration if the file of one of these units has changed since systemd read it.
pub(crate) fn reload_outdated(sys: &Sys, units: &[String]) -> Result<()> {
    if show(sys, units)?.values().any(Shown::needs_reload) {
        reload(sys)?;
    }
    Ok(())
}

/// Makes systemd read all unit files again.
pub(crate) fn reload(sys: &Sys) -> Result<()> {
    let output = control(sys, &["daemon-reload"])?;
    if output.status == 0 {
        return Ok(());
    }
    fail(
        ErrorCode::CommandFailed,
        format!("systemd can't reload its units: {}", output.complaint()),
    )
}

/// Returns the error for a failed call of `systemctl` for a unit, with the unit's last lines in the journal.
pub(crate) fn failure(sys: &Sys, unit: &str, what: &str, output: &Output) -> AgentError {
    let message = format!("can't {what} {unit}: {}", output.complaint());
    with_journal(sys, unit, ErrorCode::CommandFailed, message)
}

/// Returns an error about a unit, with the unit's last lines in the journal.
pub(crate) fn with_journal(
    sys: &Sys,
    unit: &str,
    code: ErrorCode,
    mut message: String,
) -> AgentError {
    let said = Program::new(
        "journalctl",
        ["-u", unit, "-n", "40", "--no-pager", "-o", "cat", "-q"],
    )
    .limit(Duration::from_secs(10))
    .run(sys)
    .map(|output| last_distinct(&output.stdout, 10))
    .unwrap_or_default();
    if !said.is_empty() {
        message.push_str("\nits last lines in the journal:\n");
        message.push_str(&said);
    }
    AgentError::new(code, message).hint(format!("`journalctl -u {unit}` on the host has more"))
}

/// Returns the last lines of a text. If a line occurs several times, keeps only the last occurrence, because
/// a unit that systemd restarts again and again logs the same each time.
fn last_distinct(text: &str, count: usize) -> String {
    let mut seen = BTreeSet::new();
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty() && seen.insert(*line))
        .take(count)
        .collect();
    lines.reverse();
    crate::sys::last_lines(&lines.join("\n"), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_journal_is_told_once() {
        let text = "Started x.\nbad option\nx failed\nStarted x.\nbad option\nx failed\n";
        assert_eq!(last_distinct(text, 10), "Started x.\nbad option\nx failed");
        assert_eq!(last_distinct(text, 2), "bad option\nx failed");
    }

    #[test]
    fn blocks_belong_to_units_in_their_order() {
        let text = "Id=a.service\nActiveState=active\nLoadState=loaded\n\nId=nope.service\nLoadState=not-found\n";
        let units = ["a.service".to_owned(), "nope.service".to_owned()];
        let snapshot = parse(&units, text);
        assert!(snapshot["a.service"].is("ActiveState", "active"));
        assert!(snapshot["nope.service"].is("LoadState", "not-found"));
    }
}
