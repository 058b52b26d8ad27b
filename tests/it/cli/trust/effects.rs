//! Rules by `hosts`, as the command line and the server's hook judge them.

use crate::cli::environment::Environment;

/// Returns a fleet of alice and bob, in which terminals need both.
fn fleet() -> (Environment, String) {
    let env = Environment::new();
    env.key("alice");
    env.key("bob");
    env.be("alice");
    let keys = ["--ssh-key", "alice=alice.pub", "--ssh-key", "bob=bob.pub"];
    env.plumb(".", &[&["init", "--minimal", "fleet"][..], &keys].concat())
        .exits(0);
    env.edit(
        "fleet/trust/policy.yaml",
        "    - {paths: [fleet.yaml]",
        "    - {hosts: role=terminal, need: [{from: ops, count: 2}]}\n    - {paths: [fleet.yaml]",
    );
    let first = env.commit("A fleet", &["-S"]);
    env.git("fleet", &["config", "plumb.introduction", &first]);
    (env, first)
}

#[test]
fn change_that_reaches_a_selected_host_needs_the_approvals_of_its_rule() {
    let (env, first) = fleet();
    env.plumb("fleet", &["trust", "show"])
        .exits(0)
        .stdout_has(&["hosts role=terminal"]);
    env.edit(
        "fleet/hosts/local-nas.yaml",
        "kind: Host",
        "# A NAS.\nkind: Host",
    );
    let other = env.commit("Say what it is", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(0);
    env.edit("fleet/files/journald.conf", "2G", "1G");
    let reaches = env.commit("Smaller journals", &["-S"]);
    env.plumb("fleet", &["verify"]).exits(3).stdout_has(&[
        "the rule hosts role=terminal (linda) has 1 of 2 from ops",
        "ops: bob could give it",
    ]);
    let json = env
        .plumb("fleet", &["verify", "-o", "json"])
        .exits(3)
        .json();
    assert_eq!(json["accepted"], other.as_str());
    // The server's hook judges the same; a change that waits may be pushed.
    env.git(".", &["init", "--quiet", "--bare", "server.git"]);
    env.git("server.git", &["config", "plumb.introduction", &first]);
    let update = format!("{} {reaches} refs/heads/main\n", "0".repeat(40));
    env.git(
        "fleet",
        &[
            "push",
            "--quiet",
            "../server.git",
            "main:refs/heads/candidate",
        ],
    );
    env.plumb_reading("server.git", &["hook", "pre-receive"], &update)
        .exits(0)
        .stderr_has(&["hosts role=terminal (linda)"]);
    env.be("bob");
    env.plumb("fleet", &["approve", "HEAD", "--yes"]).exits(0);
    env.plumb("fleet", &["verify"]).exits(0);
}
