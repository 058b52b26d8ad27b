//! What is in force by revoke/ tags, to the commands that say or change what trust/ has.

use super::revoke::without_carol;
use crate::cli::environment::Environment;

/// The row of a table that begins so.
#[track_caller]
fn row<'t>(text: &'t str, begins: &str) -> &'t str {
    text.lines()
        .find(|line| line.starts_with(begins))
        .unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_revoked_key_is_marked_and_isnt_counted() {
    let (env, carol) = without_carol();
    let run = env.trust(&["show"]).exits(0).stdout_has(&[&format!(
        "{carol} (carol.pub; revoked by a revoke/ tag since 20"
    )]);
    let to_change = row(&run.stdout, "trust/**");
    assert!(
        to_change.contains("alice, bob") && !to_change.contains("carol"),
        "{to_change}"
    );
    let json = env.trust(&["show", "-o", "json"]).exits(0).json();
    assert!(json["revoked"][&carol].is_string(), "{json}");
    env.trust(&["check"]).exits(0).stdout_has(&[
        &format!("the key {carol} of carol is revoked by a revoke/ tag since 20"),
        "** can be changed by alice or bob alone",
    ]);
    // A second clone knows it as far as it has fetched, whatever it has checked out.
    let bob = env.fingerprint("bob");
    for name in ["alice", "bob"] {
        env.be(name);
        env.trust(&["revoke", &bob, "--yes"]).exits(0);
    }
    env.trust(&["check"])
        .exits(1)
        .matches("revoked/a_revoked_key_is_marked_and_isnt_counted");
    let json = env.trust(&["check", "-o", "json"]).exits(1).json();
    assert_eq!(json["unsatisfiable"][0]["usable"], 1, "{json}");
    // Nothing is hidden where git knows no introduction.
    env.git("fleet", &["config", "--unset", "plumb.introduction"]);
    env.trust(&["check"]).exits(1);
}

#[test]
fn a_revoked_key_comes_back_by_no_command() {
    let (env, carol) = without_carol();
    env.trust(&["remove", "carol"]).exits(0);
    env.commit("Carol has left", &["-S"]);
    env.approved_by("bob");
    let policy = env.read("fleet/trust/policy.yaml");
    let refused = format!("({carol}) wouldn't count: it is revoked by");
    env.trust(&["add", "carol", "--key", "../carol.pub", "--group", "ops"])
        .exits(1)
        .stderr_has(&[&refused, "create another key"]);
    env.trust(&["rotate", "bob", "--key", "../carol.pub"])
        .exits(1)
        .stderr_has(&[&refused]);
    assert_eq!(env.read("fleet/trust/policy.yaml"), policy);
}

#[test]
fn a_policy_that_nobody_could_meet_without_revoked_keys_isnt_written() {
    let (env, _) = without_carol();
    let policy = env.read("fleet/trust/policy.yaml");
    env.trust(&["remove", "bob"])
        .exits(1)
        .matches("revoked/a_policy_that_nobody_could_meet_without_revoked_keys_isnt_written");
    assert_eq!(env.read("fleet/trust/policy.yaml"), policy);
    // Where too few are left already, whoever makes it better is let through, and told what is left.
    let bob = env.fingerprint("bob");
    for name in ["alice", "bob"] {
        env.be(name);
        env.trust(&["revoke", &bob, "--yes"]).exits(0);
    }
    env.be("alice");
    env.key("new");
    let run = env
        .trust(&["rotate", "bob", "--key", "../new.pub", "--old", &bob])
        .exits(0)
        .matches("revoked/a_policy_that_nobody_could_meet_without_revoked_keys_isnt_written-2");
    assert!(!run.stdout.contains("plumb approve"), "{}", run.stdout);
    env.trust(&["check"]).exits(0);
}

#[test]
fn too_few_are_made_enough_one_by_one() {
    let env = Environment::new();
    env.three();
    let all = "[fleet.yaml], need: [{from: ops, count: 2}]";
    env.edit(
        "fleet/trust/policy.yaml",
        all,
        "[fleet.yaml], need: [{from: ops, count: 3}]",
    );
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"trust/**\"], need: [{from: ops, count: 2}]",
        "[\"trust/**\"], need: [{from: ops, count: 3}]",
    );
    env.commit("Three for fleet.yaml", &["-S"]);
    env.approved_by("bob");
    for key in ["bob", "carol"] {
        let key = env.fingerprint(key);
        for name in ["alice", "bob", "carol"] {
            env.be(name);
            env.trust(&["revoke", &key, "--yes"]).exits(0);
        }
    }
    env.be("alice");
    env.trust(&["remove", "carol"]).exits(1);
    for name in ["dave", "erin"] {
        env.key(name);
        let file = format!("../{name}.pub");
        env.trust(&["add", name, "--key", &file, "--group", "ops"])
            .exits(0);
    }
    env.trust(&["check"]).exits(0);
    env.trust(&["remove", "dave"]).exits(1);
}
