//! Fleets that are written in a test's text, and what `plumb check` says about them.

use std::fmt::Write as _;

use serde_json::Value;

use super::environment::Environment;

/// The object of a fleet without settings.
pub(super) const FLEET: &str = "kind: Fleet\nmetadata: {name: home}\n";

/// The diagnostics of a fleet.
pub(super) struct Found {
    /// The diagnostics as `-o json` has them.
    pub(super) all: Vec<Value>,
    /// The diagnostics as text, without snippets: a line each, and indented lines for what belongs to it.
    pub(super) text: String,
}

/// Checks the fleet in a folder. The text for people must be there as well.
#[track_caller]
pub(super) fn check(env: &Environment, folder: &str) -> Found {
    let run = env.plumb(folder, &["check", "-o", "json"]);
    assert!(run.code == 0 || run.code == 1, "{}", run.stderr);
    assert_eq!(run.stderr, "");
    let all = run.json()["diagnostics"].as_array().unwrap().clone();
    let people = env.plumb(folder, &["check", "--color", "never"]);
    assert_eq!((people.code, people.stderr.as_str()), (run.code, ""));
    for one in &all {
        let code = one["code"].as_str().unwrap();
        assert!(people.stdout.contains(code), "{code}\n{}", people.stdout);
    }
    Found {
        text: all.iter().map(plain).collect(),
        all,
    }
}

/// Writes a diagnostic as its `Display` does, and the hosts that it concerns.
fn plain(one: &Value) -> String {
    let place = |of: &Value| {
        format!(
            "{}:{}:{}",
            of["file"].as_str().unwrap(),
            of["line"],
            of["column"]
        )
    };
    let text = |field: &str| one[field].as_str().unwrap_or_default();
    let mut out = format!(
        "{}: {}[{}]: {}\n",
        place(one),
        text("severity"),
        text("code"),
        text("message")
    );
    for label in one["related"].as_array().into_iter().flatten() {
        let message = label["message"].as_str().unwrap_or_default();
        let _ = writeln!(out, "  {}: {message}", place(&label["span"]));
    }
    if one["hint"].is_string() {
        let _ = writeln!(out, "  hint: {}", text("hint"));
    }
    out
}

/// Returns the names of the hosts of a diagnostic.
pub(super) fn hosts(one: &Value) -> Vec<&str> {
    let all = one["hosts"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}
