//! What a new user meets first: help, wrong command lines, nobody there, colour.

use std::process::Stdio;

use super::environment::{Environment, binary};

const COMMANDS: [&str; 21] = [
    "init",
    "demo",
    "enroll",
    "check",
    "render",
    "explain",
    "diff",
    "verify",
    "approve",
    "trust",
    "plan",
    "adopt",
    "apply",
    "get",
    "describe",
    "events",
    "reconcile",
    "forget",
    "notify",
    "controller",
    "completion",
];

#[test]
fn every_command_has_help() {
    let env = Environment::new();
    for command in COMMANDS {
        let run = env.plumb(".", &[command, "--help"]).exits(0);
        assert!(
            run.stdout.contains("Usage: plumb"),
            "{command}: {}",
            run.stdout
        );
        assert!(run.stderr.is_empty());
    }
    env.plumb(".", &[])
        .exits(2)
        .stderr_has(&["Usage: plumb", "plumb demo"]);
    env.plumb(".", &["chekc"]).exits(2).stderr_has(&["check"]);
    env.plumb(".", &["completion", "bash"])
        .exits(0)
        .stdout_has(&["_plumb"]);
}

#[test]
fn without_a_controller_it_is_said_where_one_was_looked_for() {
    let env = Environment::new();
    for args in [
        &["get", "hosts"][..],
        &["events"],
        &["notify"],
        &["describe", "host", "linda"],
        &["apply"],
    ] {
        let run = env.plumb(".", args).exits(1);
        assert!(run.stdout.is_empty());
        run.stderr_has(&["no controller answers at", "plumb.sock", "--socket"]);
    }
}

#[test]
fn a_wrong_configuration_is_shown_with_its_line() {
    let env = Environment::new();
    env.write(
        "controller.yaml",
        "kind: Controller\nspec:\n  source: {url: /srv/fleet.git, ref: main}\n  introduction: {commit: HEAD}\n  lisen: 127.0.0.1:9180\n",
    );
    env.plumb(".", &["controller", "--config", "controller.yaml"])
        .exits(1)
        .stderr_has(&["controller.yaml:5:", "lisen", "listen"]);
    env.write(
        "controller.yaml",
        "kind: Controller\nspec:\n  source: {url: /srv/fleet.git, ref: main}\n  introduction: {commit: HEAD}\n",
    );
    env.plumb(".", &["controller", "--config", "controller.yaml"])
        .exits(1)
        .matches("errors/a_wrong_configuration_is_shown_with_its_line");
    env.plumb(".", &["controller", "--config", "nowhere.yaml"])
        .exits(1)
        .matches("errors/a_wrong_configuration_is_shown_with_its_line-2");
}

#[test]
fn colour_is_for_terminals_or_who_asks() {
    let env = Environment::new();
    env.fleet();
    let plain = env.plumb("fleet", &["trust", "show"]).exits(0).stdout;
    assert!(!plain.contains('\u{1b}'));
    let colored = env
        .plumb("fleet", &["trust", "show", "--color", "always"])
        .exits(0)
        .stdout;
    assert!(colored.contains('\u{1b}'));
}

#[test]
fn yaml_is_the_same_document() {
    let env = Environment::new();
    env.fleet();
    let yaml = env.plumb("fleet", &["check", "-o", "yaml"]).exits(0).stdout;
    assert_eq!(yaml.trim(), "diagnostics: []");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let env = Environment::new();
    env.fleet();
    let mut child = env
        .command(binary(), "fleet")
        .args(["render", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn enrolling_where_nobody_answers_writes_nothing() {
    let env = Environment::new();
    env.fleet();
    // Port 1 of the loopback: nobody listens there.
    env.plumb(
        "fleet",
        &[
            "enroll",
            "new",
            "--address",
            "127.0.0.1",
            "--port",
            "1",
            "--yes",
        ],
    )
    .exits(1)
    .matches("errors/enrolling_where_nobody_answers_writes_nothing");
    assert!(!env.path("fleet/hosts/new.yaml").exists());
    env.plumb(".", &["enroll", "new", "--address", "127.0.0.1"])
        .exits(1)
        .matches("errors/enrolling_where_nobody_answers_writes_nothing-2");
}
