//! trust check.

use crate::cli::environment::Environment;

#[test]
fn a_sound_policy_is_proven_and_says_who_alone_could_change_what() {
    let env = Environment::new();
    env.fleet();
    env.trust(&["check"])
        .exits(0)
        .matches("check/a_sound_policy_is_proven_and_says_who_alone_could_change_what");
    let env = Environment::new();
    env.three();
    env.trust(&["check"])
        .exits(0)
        .matches("check/a_sound_policy_is_proven_and_says_who_alone_could_change_what-2");
    let json = env.trust(&["check", "-o", "json"]).exits(0).json();
    assert_eq!(json["serial"], 1);
    assert_eq!(json["errors"], serde_json::json!([]));
    let alone = &json["alone"][0];
    assert_eq!(alone["rule"], "**");
    assert_eq!(
        alone["identities"],
        serde_json::json!(["alice", "bob", "carol"])
    );
    // Everybody else's folder is told as what it is.
    env.plumb(".", &["trust", "check", "nowhere"])
        .exits(1)
        .matches("check/a_sound_policy_is_proven_and_says_who_alone_could_change_what-3");
    env.plumb(".", &["trust", "check", "home"]).exits(1);
}

#[test]
fn what_nobody_could_meet_is_an_error_now_or_then() {
    let env = Environment::new();
    env.three();
    env.trust(&["rotate", "bob", "--key", "../alice.pub"])
        .exits(1);
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"trust/**\"], need: [{from: ops, count: 2}]",
        "[\"trust/**\"], need: [{from: ops, count: 4}]",
    );
    env.trust(&["check"])
        .exits(1)
        .matches("check/what_nobody_could_meet_is_an_error_now_or_then");
    env.edit("fleet/trust/policy.yaml", "count: 4", "count: 2");
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.trust(&["check"]).exits(0);
    // Keys that end: not yet an error, but told; then it is one.
    for name in ["bob", "carol"] {
        let key = env.fingerprint(name);
        env.edit(
            "fleet/trust/policy.yaml",
            &format!("{{ssh: \"{key}\"}}"),
            &format!("{{ssh: \"{key}\", validBefore: 2031-06-01T00:00:00Z}}"),
        );
    }
    let soon = ["check", "--now", "2031-05-20T00:00:00Z"];
    env.trust(&soon)
        .exits(0)
        .matches("check/what_nobody_could_meet_is_an_error_now_or_then-2");
    let json = env
        .trust(&[&soon[..], &["-o", "json"]].concat())
        .exits(0)
        .json();
    assert_eq!(json["ending"][0]["identity"], "bob");
    let then = env.trust(&["check", "--now", "2031-06-02T00:00:00Z", "-o", "json"]);
    let json = then.exits(1).json();
    assert_eq!(json["unsatisfiable"][0]["usable"], 1);
}

#[test]
fn what_is_odd_is_a_warning() {
    let env = Environment::new();
    env.three();
    let policy = env.read("fleet/trust/policy.yaml");
    let policy = policy
        .replace("serial: 1", "serial: 2")
        .replace(
            "groups: {ops: [alice, bob, carol]}",
            "groups: {ops: [alice, bob], sec: [bob], idle: [alice]}",
        )
        .replace(
            "[fleet.yaml], need: [{from: ops, count: 2}]",
            "[prod/**], need: [{from: ops, count: 1}, {from: sec, count: 1}]",
        )
        .replace(
            "[\"trust/**\"], need: [{from: ops, count: 2}]",
            "[\"trust/**\"], need: [{from: ops, count: 2}, {from: sec, count: 1}]",
        )
        .replace("[\"**\"]", "[hosts, profiles]");
    env.write("fleet/trust/policy.yaml", &policy);
    env.key("dave");
    std::fs::copy(env.path("dave.pub"), env.path("fleet/trust/keys/dave.pub")).unwrap();
    let run = env.trust(&["check"]).exits(0);
    run.matches("check/what_is_odd_is_a_warning");
}

#[test]
fn a_policy_that_cant_be_read_is_an_error_with_its_place() {
    let env = Environment::new();
    env.fleet();
    env.edit(
        "fleet/trust/policy.yaml",
        "    - {paths: [\"trust/**\"], need: [{from: ops, count: 1}]}",
        "    - {paths: [\"trust/**\"], need: [{from: opps, count: 1}]}",
    );
    env.trust(&["check"])
        .exits(1)
        .matches("check/a_policy_that_cant_be_read_is_an_error_with_its_place");
    let json = env.trust(&["check", "-o", "json"]).exits(1).json();
    assert!(
        json["errors"][0].as_str().unwrap().contains("opps"),
        "{json}"
    );
    // Weaker for trust/ than for anything else.
    env.edit("fleet/trust/policy.yaml", "opps", "ops");
    env.edit(
        "fleet/trust/policy.yaml",
        "[\"**\"], need: [{from: ops, count: 1}]",
        "[\"**\"], need: [{from: ops, count: 2}]",
    );
    env.edit("fleet/trust/policy.yaml", "[\"**\"]", "[hosts]");
    env.trust(&["check"])
        .exits(1)
        .matches("check/a_policy_that_cant_be_read_is_an_error_with_its_place-2");
}

#[test]
fn a_committed_policy_without_a_higher_serial_is_named() {
    let env = Environment::new();
    env.fleet();
    let text = env.read("fleet/trust/policy.yaml");
    env.write("fleet/trust/policy.yaml", &format!("{text}# ours\n"));
    env.commit("Ours", &["-S"]);
    env.plumb("fleet", &["verify"])
        .exits(4)
        .matches("check/a_committed_policy_without_a_higher_serial_is_named");
    env.trust(&["check"])
        .exits(1)
        .matches("check/a_committed_policy_without_a_higher_serial_is_named-2");
    env.edit("fleet/trust/policy.yaml", "serial: 1", "serial: 2");
    env.trust(&["check"]).exits(0);
}

#[test]
fn emergencies_and_freezes_are_told_and_counted() {
    let env = Environment::new();
    env.three();
    let policy = env.read("fleet/trust/policy.yaml");
    let policy = policy.replace("serial: 1", "serial: 2");
    let rules =
        "    - {paths: [profiles/sshd.yaml, profiles/keys/**], need: [{from: ops, count: 2}]}";
    let emergency = "  emergency: {need: [{from: ops, count: 1}], ttl: 4h, bypasses: [freeze, counts], never: [profiles/sshd.yaml, profiles/keys]}";
    let freeze = |paths: &str| {
        format!(
            "  freeze:\n    - {{from: 2020-01-01T00:00:00Z, to: 2020-02-01T00:00:00Z, paths: [old]}}\n    - {{from: 2020-01-01T00:00:00Z, to: 2099-01-01T00:00:00Z, paths: [{paths}]}}\n    - {{from: 2098-01-01T00:00:00Z, to: 2098-02-01T00:00:00Z, paths: [hosts]}}"
        )
    };
    let whole = |paths: &str| {
        format!(
            "{}\n{rules}\n{emergency}\n{}\n",
            policy.trim_end(),
            freeze(paths)
        )
    };
    env.write("fleet/trust/policy.yaml", &whole("fleet.yaml, files"));
    let told = "1 of ops (alice, bob, carol), in a commit with the line `Emergency: WHY`, bypass freezes and the counts of the rules for 4h after signing, except for trust/, profiles/sshd.yaml, profiles/keys";
    let run = env.trust(&["check"]).exits(0).stdout_has(&[
        "fleet.yaml can be changed by nobody alone, except alice, bob or carol in an emergency",
        "profiles/sshd.yaml, profiles/keys/** can be changed by nobody alone\n",
        "trust/** can be changed by nobody alone\n",
        &format!("emergency: {told}"),
        "freeze in force until 2099-01-01T00:00:00Z: fleet.yaml, files",
        "freeze from 2098-01-01T00:00:00Z until 2098-02-01T00:00:00Z: hosts",
    ]);
    assert!(
        !run.stdout.contains("2020-02") && !run.stdout.contains("end it early"),
        "{}",
        run.stdout
    );
    env.trust(&["show"]).exits(0).stdout_has(&[
        "nobody; in an emergency alice, bob, carol",
        &format!("Emergency: {told}."),
        "Freeze in force until 2099-01-01T00:00:00Z: fleet.yaml, files",
    ]);
    // Who joins may do so too.
    env.key("dave");
    env.trust(&["add", "dave", "--key", "../dave.pub", "--group", "ops"])
        .exits(0)
        .matches("check/emergencies_and_freezes_are_told_and_counted");
    // A freeze of everything outlasts everybody.
    env.write("fleet/trust/policy.yaml", &whole("\"**\""));
    let warning = "the freeze from 2020-01-01T00:00:00Z until 2099-01-01T00:00:00Z covers trust/policy.yaml, so nobody can end it early";
    env.trust(&["check"]).exits(0).stdout_has(&[warning]);
    env.trust(&["show"]).exits(0).stdout_has(&[warning]);
    // One that frees nothing but freezes changes nobody's counts; and one may be beyond all.
    let text = whole("hosts").replace("[freeze, counts]", "[freeze]");
    env.write("fleet/trust/policy.yaml", &text);
    let run = env.trust(&["check"]).exits(0);
    assert!(!run.stdout.contains("in an emergency"), "{}", run.stdout);
    let text = text.replace(
        "emergency: {need: [{from: ops, count: 1}]",
        "emergency: {need: [{from: ops, count: 4}]",
    );
    env.write("fleet/trust/policy.yaml", &text);
    env.trust(&["check"])
        .exits(1)
        .matches("check/emergencies_and_freezes_are_told_and_counted-2");
}

#[test]
fn what_is_asked_beside_the_rules_is_shown_and_a_heartbeat_that_nobody_takes_is_odd() {
    let env = Environment::new();
    env.three();
    env.trust(&["show"]).exits(0).matches(
        "check/what_is_asked_beside_the_rules_is_shown_and_a_heartbeat_that_nobody_takes_is_odd",
    );
    env.key("beacon");
    std::fs::copy(
        env.path("beacon.pub"),
        env.path("fleet/trust/keys/beacon.pub"),
    )
    .unwrap();
    let policy = env
        .read("fleet/trust/policy.yaml")
        .replace("serial: 1", "serial: 2")
        .replace(
            "  groups:",
            &format!(
                "    beacon: {{keys: [{{ssh: \"{}\"}}]}}\n  groups:",
                env.fingerprint("beacon")
            ),
        );
    let whole = |tag: &str| {
        format!(
            "{}\n  sideBranches: allSigned\n  approvals: {{maxAge: 3d}}\n  time: {{skew: 5m, maxAge: 2d}}\n  crypto: {{minRsaBits: 4096}}\n  freshness: {{tag: \"{tag}\", from: beacon, maxAge: 6h}}\n",
            policy.trim_end()
        )
    };
    env.write("fleet/trust/policy.yaml", &whole("alive/main/*"));
    env.trust(&["show"]).exits(0).matches(
        "check/what_is_asked_beside_the_rules_is_shown_and_a_heartbeat_that_nobody_takes_is_odd-2",
    );
    env.trust(&["check"]).exits(0).matches(
        "check/what_is_asked_beside_the_rules_is_shown_and_a_heartbeat_that_nobody_takes_is_odd-3",
    );
    for (tag, why) in [
        ("alive/main", "has no `*`"),
        ("heartbeat", "has no `*`"),
        ("heartbeat/*", "no controller sees"),
        (
            "alive/*",
            "hooks refuse some heartbeat tags named alive/*, such as alive/1",
        ),
        ("approve/main/*", "hooks refuse some heartbeat tags"),
    ] {
        env.write("fleet/trust/policy.yaml", &whole(tag));
        env.trust(&["check"])
            .exits(0)
            .stdout_has(&[why, "rename it to alive/main/*", "1 warning"]);
    }
}
