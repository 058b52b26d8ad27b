//! `timer`: expands into a service unit, a timer unit, and the state of the timer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_api::Kind;
use plumb_api::period::Period;
use plumb_api::resource::{Manage, Principal, Schedule, ServiceSpec, TimerSpec};

use super::credentials::{self, address, secret_file};
use super::{ExpandContext, Outcome, Part, TypedResource, each};

/// The sandboxing directives of every job's service; the documentation of the type lists them.
const HARDENING: &str = "PrivateTmp=yes
NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
";

/// Expands each resource into units of its own.
pub(super) fn expand(all: &[TypedResource<'_, TimerSpec>], _: &ExpandContext<'_>) -> Vec<Outcome> {
    each(all, |one| parts(one.name, one.spec))
}

/// Creates the spec of a timer that runs a program as root, for composites with a timer.
pub(super) fn job(run: Vec<String>, schedule: &Schedule) -> TimerSpec {
    TimerSpec {
        run,
        schedule: schedule.clone(),
        user: None,
        on_failure: None,
        environment: BTreeMap::new(),
        credentials: BTreeMap::new(),
        after: Vec::new(),
        manage: Manage::Always,
    }
}

/// Returns the units of a job and of its timer, and the state of the timer.
pub(super) fn parts(name: &str, spec: &TimerSpec) -> Vec<Part> {
    let unit = |ending: &str, text: String| {
        Part::new(Kind::Unit, format!("{name}.{ending}"))
            .field("content", text)
            .field("vendorUnit", "refuse")
    };
    let files = spec.credentials.iter();
    let files: Vec<(String, Part)> = files
        .map(|(key, secret)| {
            let file = credential(name, key);
            (address(&file), secret_file(&file, secret))
        })
        .collect();
    let mut after = vec![format!("unit:{name}.service")];
    after.extend(files.iter().map(|(address, _)| address.clone()));
    let state = Part::new(Kind::Service, format!("{name}.timer"))
        .field("state", "started")
        .field("enabled", true)
        .field("after", after);
    let program = spec.run.first().map(|program| {
        Part::program(
            &format!("timer-{name}"),
            program,
            spec.user.as_ref().map(Principal::as_str),
        )
    });
    let mut parts = vec![
        unit("service", service(name, spec)),
        unit("timer", timer(name, spec)),
        state,
    ];
    parts.extend(program);
    parts.extend(files.into_iter().map(|(_, part)| part));
    parts
}

/// Returns the name of the file of a credential.
fn credential(timer: &str, key: &str) -> String {
    format!("{timer}.timer.{key}")
}

fn service(name: &str, spec: &TimerSpec) -> String {
    let mut text =
        format!("# Written by plumb.\n[Unit]\nDescription={name}, run by {name}.timer\n");
    // Limits how often systemd starts a job that fails at once.
    text.push_str("StartLimitIntervalSec=10s\nStartLimitBurst=5\n");
    if let Some(on_failure) = &spec.on_failure {
        let _ = writeln!(text, "OnFailure={}", ServiceSpec::unit(on_failure));
    }
    text.push_str("\n[Service]\nType=oneshot\n");
    if let Some(user) = &spec.user {
        let _ = writeln!(text, "User={user}");
    }
    for (name, value) in &spec.environment {
        let _ = writeln!(text, "Environment={}", quoted(&format!("{name}={value}")));
    }
    for key in spec.credentials.keys() {
        let file = credentials::path(&credential(name, key));
        let _ = writeln!(text, "LoadCredential={key}:{file}");
    }
    let words: Vec<String> = spec
        .run
        .iter()
        .map(|word| quoted(word).replace('$', "$$"))
        .collect();
    let _ = writeln!(text, "ExecStart={}", words.join(" "));
    text.push_str(HARDENING);
    text
}

fn timer(name: &str, spec: &TimerSpec) -> String {
    let schedule = &spec.schedule;
    let mut text =
        format!("# Written by plumb.\n[Unit]\nDescription=Times of {name}.service\n\n[Timer]\n");
    let mut line = |directive: &str, period: Option<Period>| {
        if let Some(period) = period {
            let _ = writeln!(text, "{directive}={}ms", period.duration().as_millis());
        }
    };
    line("OnBootSec", schedule.on_boot);
    line("OnUnitActiveSec", schedule.every);
    // `OnUnitActiveSec` counts from the last start, so a schedule with nothing else needs a first start.
    let first = schedule
        .every
        .filter(|_| schedule.on_boot.is_none() && schedule.calendar.is_none());
    line("OnActiveSec", first);
    line("RandomizedDelaySec", schedule.random_delay);
    if let Some(calendar) = &schedule.calendar {
        let _ = writeln!(text, "OnCalendar={calendar}");
    }
    if schedule.persistent {
        text.push_str("Persistent=yes\n");
    }
    text.push_str("\n[Install]\nWantedBy=timers.target\n");
    text
}

/// Quotes a word as in systemd.service(5) and escapes its specifiers.
pub(super) fn quoted(word: &str) -> String {
    let escaped = word
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_words_for_systemd() {
        assert_eq!(quoted(r#"a "b" \ 100%"#), r#""a \"b\" \\ 100%%""#);
    }
}
