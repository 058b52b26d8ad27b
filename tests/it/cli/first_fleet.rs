//! `docs/first-fleet.md`, as far as it goes without a git server and a controller.

use std::path::Path;

use super::enroll::Machine;
use super::environment::Environment;

/// The commands of a step of the page.
fn commands(step: u8) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/first-fleet.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begin = page.find(&format!("**{step}. ")).unwrap();
    let rest = &page[begin..];
    let end = rest
        .find(&format!("**{}. ", step + 1))
        .unwrap_or(rest.len());
    rest[..end]
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_is_true_word_by_word() {
    let env = Environment::new();
    env.key("alice");
    env.be("alice");
    let machine = Machine::new(3);
    let mut folder = ".";
    let mut ran = Vec::new();
    for command in [1, 2, 3].into_iter().flat_map(commands) {
        let script = if command.starts_with("git config --global user.signingkey") {
            // Alice has hers already.
            continue;
        } else if command.starts_with("plumb enroll ") {
            // Her machine is here, and she has looked at its console.
            let here = format!("127.0.0.1 --port {} --yes", machine.port);
            assert!(command.contains(" 192.0.2.7 "), "{command}");
            command.replace("192.0.2.7", &here)
        } else if command.starts_with("plumb plan ") || command.starts_with("git push ") {
            // Nobody lets her in there, and there is no server.
            continue;
        } else {
            command.replace("~/", "../")
        };
        let mut shell = env.command("sh", folder);
        shell.args([
            "-ec",
            &format!("plumb() {{ \"$PLUMB\" \"$@\"; }}\n{script}"),
        ]);
        let run = Environment::run(shell);
        assert_eq!(run.code, 0, "{command}: {}{}", run.stdout, run.stderr);
        if command == "cd fleet" {
            folder = "fleet";
        }
        ran.push(command);
    }
    for part in [
        "plumb init --minimal fleet",
        "rm hosts/*.yaml",
        "plumb check",
        "plumb render box",
    ] {
        assert!(ran.iter().any(|command| command == part), "{part}: {ran:?}");
    }
    env.plumb("fleet", &["check"])
        .exits(0)
        .stdout_has(&["1 host: no errors"]);
    env.plumb("fleet", &["render", "box"])
        .exits(0)
        .stdout_has(&["no role at no site"]);
}

#[test]
fn a_machine_beside_the_examples_breaks_none_of_them() {
    let env = Environment::new();
    env.fleet();
    Machine::new(4).enroll(&env, "box", &[]).exits(0);
    env.plumb("fleet", &["check"])
        .exits(0)
        .stdout_has(&["5 hosts: no errors"]);
}
